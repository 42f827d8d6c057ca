package engine

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Alignment of an arena's start in bytes. Slots that start at a multiple of it
// (see Align) never share a cache line or a vector with their neighbours, and
// it is what CUDA's own allocator gives.
const Alignment = 256

// Align rounds an offset in bytes up to the next multiple of Alignment.
func Align(offset int64) int64 { return (offset + Alignment - 1) &^ (Alignment - 1) }

// Arena is one contiguous zeroed buffer, outside Go's heap, on the engine's
// device. It is not freed by the garbage collector: Close it after the
// sessions that are bound to its views. Methods may be called from several
// goroutines as long as their byte ranges do not meet.
type Arena struct {
	device  device
	traffic *counters
	p       unsafe.Pointer // nil after Close
	bytes   int64
	cleanup *runtime.Cleanup // set for the arena of a lone tensor only
}

// NewArena allocates an arena of the given size in bytes, which must be positive.
func (e *Engine) NewArena(bytes int64) (*Arena, error) {
	if e.closed.Load() {
		return nil, fmt.Errorf("engine: new arena: the engine is closed: open another")
	}
	if bytes <= 0 || bytes > math.MaxInt64/2 {
		return nil, fmt.Errorf("engine: new arena: got %d bytes, want a positive size", bytes)
	}
	p, err := e.device.alloc(bytes)
	if err != nil {
		err = &OutOfMemoryError{Bytes: bytes, Text: err.Error()}
		return nil, fmt.Errorf("engine: new arena on %s: %w: use a smaller model or batch, or gradient_checkpointing", e.Provider, err)
	}
	return &Arena{device: e.device, traffic: &e.counters, p: p, bytes: bytes}, nil
}

// Close frees the memory. Views and slices of it must not be used afterwards;
// sessions bound to a view refuse to run. Closing twice does nothing.
func (a *Arena) Close() {
	if a.p == nil {
		return
	}
	if a.cleanup != nil {
		a.cleanup.Stop()
	}
	a.device.free(a.p, a.bytes)
	a.p = nil
}

// Bytes is the arena's size.
func (a *Arena) Bytes() int64 { return a.bytes }

// Upload copies src to the arena, starting at an offset in bytes.
func (a *Arena) Upload(offset int64, src []byte) error {
	if err := a.check("upload", offset, int64(len(src))); err != nil {
		return err
	}
	defer runtime.KeepAlive(a)
	a.traffic.uploads.Add(1)
	a.traffic.uploadBytes.Add(int64(len(src)))
	return a.device.upload(unsafe.Add(a.p, offset), src)
}

// Download copies len(dst) bytes out of the arena, starting at an offset in bytes.
func (a *Arena) Download(offset int64, dst []byte) error {
	if err := a.check("download", offset, int64(len(dst))); err != nil {
		return err
	}
	defer runtime.KeepAlive(a)
	a.traffic.downloads.Add(1)
	a.traffic.downloadBytes.Add(int64(len(dst)))
	return a.device.download(dst, unsafe.Add(a.p, offset))
}

// Zero sets every byte to 0.
func (a *Arena) Zero() error {
	if err := a.check("zero", 0, a.bytes); err != nil {
		return err
	}
	defer runtime.KeepAlive(a)
	return a.device.zero(a.p, a.bytes)
}

// HostFloat32 is the arena itself as float32 (a last incomplete element left
// out), without a copy. ok is false where the memory is not the host's, or
// closed. The slice is valid until Close.
func (a *Arena) HostFloat32() (values []float32, ok bool) {
	if a.p == nil || !a.device.host() {
		return nil, false
	}
	return unsafe.Slice((*float32)(a.p), a.bytes/4), true
}

// View is a tensor over part of the arena. offset is in bytes and a multiple
// of the element's size. Views may overlap; they cost no memory.
func (a *Arena) View(offset int64, dtype DType, shape ...int64) (*Tensor, error) {
	bytes, ok := bytesOf(dtype, shape)
	if !ok {
		return nil, fmt.Errorf("engine: view: got %s %v, want a known type and non-negative dimensions below 2^62 bytes", dtype, shape)
	}
	if err := a.check(fmt.Sprintf("view %s %v", dtype, shape), offset, bytes); err != nil {
		return nil, err
	}
	if offset%dtype.Size() != 0 {
		return nil, fmt.Errorf("engine: view %s %v: got offset %d, want a multiple of %d bytes", dtype, shape, offset, dtype.Size())
	}
	return &Tensor{arena: a, offset: offset, bytes: bytes, dtype: dtype, shape: append([]int64{}, shape...)}, nil
}

func (a *Arena) check(what string, offset, bytes int64) error {
	if a.p == nil {
		return fmt.Errorf("engine: %s: the arena is closed", what)
	}
	if offset < 0 || offset > a.bytes || bytes > a.bytes-offset {
		return fmt.Errorf("engine: %s: got bytes %d to %d, want a range within the arena's %d bytes", what, offset, offset+bytes, a.bytes)
	}
	return nil
}
