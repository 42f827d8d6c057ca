package engine

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Feed brings the next contents of an arena to the device while sessions still
// read the present ones. It is used in turns: the next contents are written,
// Send begins their way to the device and returns, and Deliver, called when no
// session reads the arena, puts them in place. The arena's addresses stay, so
// that a recorded run reads them too. Methods are called by one goroutine at a
// time.
type Feed struct {
	arena *Arena
	next  []byte   // what is written; on the device's side it has the arena's offsets
	via   conveyor // nil: next is the arena's own memory
	sent  bool
}

// NewFeed gives arena a its next contents. Unless they are to come ahead, the
// host's own memory needs no second place: then the next contents are written
// where sessions read them, after the last run and before the next.
func (e *Engine) NewFeed(a *Arena, ahead bool) (*Feed, error) {
	if err := a.check("new feed", 0, a.bytes); err != nil {
		return nil, err
	}
	if !ahead && a.device.host() {
		return &Feed{arena: a, next: unsafe.Slice((*byte)(a.p), a.bytes)}, nil
	}
	via, err := a.device.conveyor(a.bytes)
	if err != nil {
		err = &OutOfMemoryError{Bytes: a.bytes, Text: err.Error()}
		return nil, fmt.Errorf("engine: new feed on %s: %w: use a smaller batch", e.Provider, err)
	}
	return &Feed{arena: a, next: via.host(), via: via}, nil
}

// Bytes is the place of a view's next contents, good until Send.
func (f *Feed) Bytes(t *Tensor) ([]byte, error) {
	if f.next == nil {
		return nil, fmt.Errorf("engine: feed: it is closed")
	}
	if f.sent {
		return nil, fmt.Errorf("engine: feed: the contents before these are still on their way: deliver them first")
	}
	if t.arena != f.arena {
		return nil, fmt.Errorf("engine: feed: the tensor %s %v is not a view of its arena", t.dtype, t.shape)
	}
	return f.next[t.offset : t.offset+t.bytes], nil
}

// SetFloat32 writes the next contents of a float32 view.
func (f *Feed) SetFloat32(t *Tensor, src []float32) error { return feedSet(f, t, Float32, src) }

// SetInt64 writes the next contents of an int64 view.
func (f *Feed) SetInt64(t *Tensor, src []int64) error { return feedSet(f, t, Int64, src) }

func feedSet[T float32 | int64](f *Feed, t *Tensor, dtype DType, src []T) error {
	if t.dtype != dtype || len(src) != t.Len() {
		return t.mismatch("feed", dtype, len(src))
	}
	to, err := f.Bytes(t)
	copy(to, raw(src))
	return err
}

// Send begins the way of what was written, all of it, to the device.
func (f *Feed) Send() error {
	if err := f.arena.check("send", 0, f.arena.bytes); err != nil {
		return err
	}
	if f.sent {
		return fmt.Errorf("engine: feed: sent twice: deliver what was sent first")
	}
	f.arena.traffic.uploads.Add(1)
	f.arena.traffic.uploadBytes.Add(f.arena.bytes)
	if f.via != nil {
		if err := f.via.send(); err != nil {
			return err
		}
	}
	f.sent = true
	return nil
}

// Deliver puts what was sent into the arena. When it returns, it is there, and
// the next contents may be written.
func (f *Feed) Deliver() error {
	if err := f.arena.check("deliver", 0, f.arena.bytes); err != nil {
		return err
	}
	if !f.sent {
		return fmt.Errorf("engine: feed: nothing was sent: write and send the next contents first")
	}
	defer runtime.KeepAlive(f.arena)
	if f.via != nil {
		if err := f.via.deliver(f.arena.p); err != nil {
			return err
		}
	}
	f.sent = false
	return nil
}

// Close frees what the feed has beside the arena, once nothing of it is on its
// way. Closing twice does nothing.
func (f *Feed) Close() {
	if f.via != nil {
		f.via.close()
	}
	f.via, f.next = nil, nil
}
