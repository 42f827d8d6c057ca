package engine_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

func TestArenaBytes(t *testing.T) {
	e := enginetest.Open(t)
	a := must(e.NewArena(1000))(t)
	if a.Bytes() != 1000 {
		t.Errorf("got %d bytes, want 1000", a.Bytes())
	}
	all := make([]byte, 1000)
	if err := a.Download(0, all); err != nil || !bytes.Equal(all, make([]byte, 1000)) {
		t.Errorf("got %v (%v), want a new arena of zeros", all, err)
	}
	if err := a.Upload(997, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	last := make([]byte, 4)
	if err := a.Download(996, last); err != nil || !bytes.Equal(last, []byte{0, 1, 2, 3}) {
		t.Errorf("got %v (%v), want [0 1 2 3]", last, err)
	}
	if err := a.Zero(); err != nil {
		t.Fatal(err)
	}
	if err := a.Download(0, all); err != nil || !bytes.Equal(all, make([]byte, 1000)) {
		t.Errorf("got %v (%v), want zeros", all, err)
	}

	for _, size := range []int64{0, -1, math.MaxInt64} {
		_, err := e.NewArena(size)
		refused(t, err, "new arena", "positive")
	}
	_, err := e.NewArena(1 << 61)
	refused(t, err, "new arena", "gradient_checkpointing")
	refused(t, a.Upload(998, []byte{1, 2, 3}), "upload", "998 to 1001", "1000")
	refused(t, a.Upload(-1, []byte{1}), "-1")
	refused(t, a.Download(1001, nil), "1001")
	a.Close()
	a.Close()
	refused(t, a.Upload(0, []byte{1}), "closed")
	refused(t, a.Zero(), "closed")
	if _, ok := a.HostFloat32(); ok {
		t.Error("got a slice of a closed arena, want none")
	}
	_, err = a.View(0, engine.Float32, 1)
	refused(t, err, "closed")
}

func TestArenaView(t *testing.T) {
	e := enginetest.Open(t)
	a := must(e.NewArena(1024))(t)
	defer a.Close()
	for _, c := range []struct {
		offset int64
		dtype  engine.DType
		shape  []int64
		word   string // in the error; empty: allowed
	}{
		{0, engine.Float32, []int64{256}, ""},
		{512, engine.Int64, []int64{8, 8}, ""},
		{1020, engine.Float32, nil, ""},
		{1024, engine.Float32, []int64{0, 9}, ""},
		{1023, engine.Bool, []int64{1}, ""},
		{512, engine.Float32, []int64{129}, "512 to 1028"},
		{-4, engine.Float32, []int64{1}, "-4"},
		{2, engine.Float32, []int64{1}, "multiple of 4"},
		{4, engine.Int64, []int64{1}, "multiple of 8"},
		{0, engine.Float32, []int64{-1}, "non-negative"},
		{0, engine.DType(8), []int64{1}, "known type"},
		{0, engine.Float32, []int64{1 << 40, 1 << 40}, "below 2^62"},
		{0, engine.Float32, []int64{1 << 59}, "range"},
	} {
		v, err := a.View(c.offset, c.dtype, c.shape...)
		if c.word != "" {
			refused(t, err, "view", c.word)
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if v.DType() != c.dtype || !slices.Equal(v.Shape(), c.shape) {
			t.Errorf("got %s %v, want %s %v", v.DType(), v.Shape(), c.dtype, c.shape)
		}
	}
}

// Views of one arena show the same memory, and writing one leaves its
// neighbours alone.
func TestViewsAreWindows(t *testing.T) {
	e := enginetest.Open(t)
	a := must(e.NewArena(3 * engine.Alignment))(t)
	defer a.Close()
	host, _ := a.HostFloat32()
	for i := range host {
		host[i] = -1
	}
	const n = engine.Alignment / 4
	middle := must(a.View(engine.Alignment, engine.Float32, n))(t)
	if err := middle.SetFloat32(slices.Repeat([]float32{5}, n)); err != nil {
		t.Fatal(err)
	}
	for i, got := range host {
		want := float32(-1)
		if i >= n && i < 2*n {
			want = 5
		}
		if got != want {
			t.Fatalf("element %d: got %v, want %v", i, got, want)
		}
	}
	middle.Close() // a view's Close leaves the arena open
	host[n] = 6
	if got := middle.GetFloat32(); got[0] != 6 {
		t.Errorf("got %v, want the arena's 6", got[0])
	}
}

func TestTensorRefuses(t *testing.T) {
	e := enginetest.Open(t)
	x := must(e.NewTensor(engine.Float32, 2, 2))(t)
	if x.Len() != 4 || x.Bytes() != 16 {
		t.Errorf("got %d elements in %d bytes, want 4 in 16", x.Len(), x.Bytes())
	}
	refused(t, x.SetFloat32(make([]float32, 3)), "3 elements", "want 4 of float32")
	refused(t, x.SetInt64(make([]int64, 4)), "int64", "want 4 of float32")
	refused(t, x.ReadFloat32(make([]float32, 5)), "5 elements")
	refused(t, x.Upload(make([]byte, 17)), "17 bytes", "at most 16")
	refused(t, x.Download(make([]byte, 17)), "17 bytes", "at most 16")
	if x.GetInt64() != nil {
		t.Error("got int64 values of a float32 tensor, want nil")
	}
	x.Close()
	x.Close()
	refused(t, x.SetFloat32(make([]float32, 4)), "closed")
	if x.GetFloat32() != nil {
		t.Error("got values of a closed tensor, want nil")
	}
	_, err := e.NewTensor(engine.Float32, 2, -1)
	refused(t, err, "new tensor", "[2 -1]")
}

func TestAlign(t *testing.T) {
	for offset, want := range map[int64]int64{0: 0, 1: 256, 255: 256, 256: 256, 257: 512} {
		if got := engine.Align(offset); got != want {
			t.Errorf("%d: got %d, want %d", offset, got, want)
		}
	}
}
