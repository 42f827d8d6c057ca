package engine

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Tensor is a typed, shaped range of an arena: a view made by Arena.View, or
// the whole of a small arena of its own, made by Engine.NewTensor.
type Tensor struct {
	arena  *Arena
	offset int64 // bytes from the arena's start
	bytes  int64
	dtype  DType
	shape  []int64
}

// NewTensor allocates a zeroed tensor in an arena of its own. Its memory is
// freed by Close, or when neither the program nor a session holds it.
func (e *Engine) NewTensor(dtype DType, shape ...int64) (*Tensor, error) {
	bytes, ok := bytesOf(dtype, shape)
	if !ok {
		return nil, fmt.Errorf("engine: new tensor: got %s %v, want a known type and non-negative dimensions below 2^62 bytes", dtype, shape)
	}
	a, err := e.NewArena(max(bytes, 1)) // an empty tensor still needs an address
	if err != nil {
		return nil, err
	}
	// No slice of this arena can be held outside this package, so the garbage
	// collector may decide when it goes.
	type memory struct {
		device device
		p      unsafe.Pointer
		bytes  int64
	}
	cleanup := runtime.AddCleanup(a, func(m memory) { m.device.free(m.p, m.bytes) }, memory{a.device, a.p, a.bytes})
	a.cleanup = &cleanup
	return a.View(0, dtype, shape...)
}

// Close frees a tensor of NewTensor at once; for a view it does nothing.
func (t *Tensor) Close() {
	if t.arena.cleanup != nil {
		t.arena.Close()
	}
}

// Element is a scalar view of element i, counted row by row.
func (t *Tensor) Element(i int) (*Tensor, error) {
	return t.arena.View(t.offset+int64(i)*t.dtype.Size(), t.dtype)
}

// DType is the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Shape is a copy of the dimensions; a scalar's is empty.
func (t *Tensor) Shape() []int64 { return append([]int64{}, t.shape...) }

// Bytes is the size of the elements together.
func (t *Tensor) Bytes() int64 { return t.bytes }

// Len is the number of elements.
func (t *Tensor) Len() int { return int(t.bytes / t.dtype.Size()) }

// Upload sets the tensor's bytes (little-endian, row-major) from their start;
// src may be shorter than the tensor.
func (t *Tensor) Upload(src []byte) error {
	if int64(len(src)) > t.bytes {
		return t.misfit("upload", int64(len(src)))
	}
	return t.arena.Upload(t.offset, src)
}

// Download reads the tensor's bytes from their start; dst may be shorter.
func (t *Tensor) Download(dst []byte) error {
	if int64(len(dst)) > t.bytes {
		return t.misfit("download", int64(len(dst)))
	}
	return t.arena.Download(t.offset, dst)
}

// SetFloat32 sets every element of a float32 tensor.
func (t *Tensor) SetFloat32(src []float32) error { return set(t, Float32, src) }

// SetInt64 sets every element of an int64 tensor.
func (t *Tensor) SetInt64(src []int64) error { return set(t, Int64, src) }

// ReadFloat32 copies every element of a float32 tensor to dst.
func (t *Tensor) ReadFloat32(dst []float32) error { return read(t, Float32, dst) }

// ReadInt64 copies every element of an int64 tensor to dst.
func (t *Tensor) ReadInt64(dst []int64) error { return read(t, Int64, dst) }

// GetFloat32 is a copy of a float32 tensor's elements. It is nil where
// ReadFloat32 gives an error: another type, or a closed arena.
func (t *Tensor) GetFloat32() []float32 {
	dst := make([]float32, t.Len())
	if t.ReadFloat32(dst) != nil {
		return nil
	}
	return dst
}

// GetInt64 is a copy of an int64 tensor's elements, or nil as in GetFloat32.
func (t *Tensor) GetInt64() []int64 {
	dst := make([]int64, t.Len())
	if t.ReadInt64(dst) != nil {
		return nil
	}
	return dst
}

func set[T float32 | int64](t *Tensor, dtype DType, src []T) error {
	if t.dtype != dtype || len(src) != t.Len() {
		return t.mismatch("set", dtype, len(src))
	}
	return t.Upload(raw(src))
}

func read[T float32 | int64](t *Tensor, dtype DType, dst []T) error {
	if t.dtype != dtype || len(dst) != t.Len() {
		return t.mismatch("read", dtype, len(dst))
	}
	return t.Download(raw(dst))
}

// raw is the memory of a slice. ORT and this program run on little-endian
// machines only (amd64, arm64), so it is the tensor's byte order too.
func raw[T float32 | int64](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(*new(T))))
}

func (t *Tensor) misfit(what string, got int64) error {
	return fmt.Errorf("engine: %s of %s %v: got %d bytes, want at most %d", what, t.dtype, t.shape, got, t.bytes)
}

func (t *Tensor) mismatch(what string, dtype DType, n int) error {
	return fmt.Errorf("engine: %s of %s %v: got %d elements of %s, want %d of %s", what, t.dtype, t.shape, n, dtype, t.Len(), t.dtype)
}

func (t *Tensor) address() unsafe.Pointer { return unsafe.Add(t.arena.p, t.offset) }
