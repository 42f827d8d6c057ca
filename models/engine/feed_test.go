package engine_test

import (
	"errors"
	"slices"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

// Whether the next contents come ahead or are written in place, sessions read
// the same.
func TestFeed(t *testing.T) {
	e := enginetest.Open(t)
	other := must(e.NewTensor(engine.Float32, 3))(t)
	for _, ahead := range []bool{false, true} {
		a := must(e.NewArena(512))(t)
		defer a.Close()
		x, y := must(a.View(0, engine.Float32, 3))(t), must(e.NewTensor(engine.Float32, 3))(t)
		s := must(e.NewSession(model([]proto{value("x", engine.Float32, 3)}, []proto{value("y", engine.Float32, 3)},
			[]proto{node("Neg", []string{"x"}, "y")}), engine.SessionOptions{FixedAddresses: true}))(t)
		defer s.Close()
		bind(t, s, "x", x)
		bind(t, s, "y", y)
		f := must(e.NewFeed(a, ahead))(t)
		before := e.Traffic()
		fill := func(v float32) {
			t.Helper()
			if err := errors.Join(f.SetFloat32(x, []float32{v, 2 * v, 3 * v}), f.Send()); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, f.Deliver(), "nothing was sent")
		fill(1)
		for i := range 4 {
			v := float32(i + 1)
			if err := f.Deliver(); err != nil {
				t.Fatal(err)
			}
			if ahead {
				fill(v + 1)
			}
			run(t, s)
			if got := y.GetFloat32(); !slices.Equal(got, []float32{-v, -2 * v, -3 * v}) {
				t.Errorf("ahead %v, step %d: %v", ahead, i, got)
			}
			if !ahead {
				fill(v + 1)
			}
		}
		if got := e.Traffic().Sub(before); got.Uploads != 5 || got.UploadBytes != 5*512 {
			t.Errorf("traffic %+v", got)
		}
		refused(t, f.Send(), "sent twice")
		if _, err := f.Bytes(x); err == nil {
			t.Error("what is on its way may be written")
		}
		if err := f.Deliver(); err != nil {
			t.Fatal(err)
		}
		refused(t, f.SetFloat32(other, []float32{1, 2, 3}), "not a view of its arena")
		refused(t, f.SetFloat32(x, []float32{1}), "got 1 elements of float32, want 3 of float32")
		refused(t, f.SetInt64(x, []int64{1, 2, 3}), "elements of int64")
		f.Close()
		f.Close()
		_, err := f.Bytes(x)
		refused(t, err, "closed")
	}
	a := must(e.NewArena(64))(t)
	a.Close()
	_, err := e.NewFeed(a, true)
	refused(t, err, "the arena is closed")
}

// A run that the device records is alone on it, on one thread of the system for
// good, and is over once it has succeeded.
func TestRecordedRun(t *testing.T) {
	e := enginetest.Open(t)
	graph := model([]proto{value("x", engine.Float32, 2), value("i", engine.Int64, 1)}, []proto{value("y", engine.Float32, 1)},
		[]proto{node("Gather", []string{"x", "i"}, "y")})
	for _, fixed := range []bool{true, false} {
		recording, entries := engine.Recording(e)
		s := must(recording.NewSession(graph, engine.SessionOptions{FixedAddresses: fixed, Name: "training"}))(t)
		i := must(recording.NewTensor(engine.Int64, 1))(t)
		bind(t, s, "x", floats(t, recording, []float32{3, 5}, 2))
		bind(t, s, "i", i)
		bind(t, s, "y", must(recording.NewTensor(engine.Float32, 1))(t))
		if err := i.SetInt64([]int64{7}); err != nil {
			t.Fatal(err)
		}
		quiet(t, func() { refused(t, s.Run(t.Context()), "idx=7") }) // nothing is recorded of a run that fails
		if err := i.SetInt64([]int64{1}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			run(t, s)
		}
		s.Close()
		var alone []bool
		threads := map[int]bool{}
		for _, entry := range entries()[1:] { // less the one that made the session
			alone = append(alone, entry.Alone)
			threads[entry.Thread] = true
		}
		if want := []bool{fixed, fixed, false, false, false}; !slices.Equal(alone, want) { // the last one closes it
			t.Errorf("fixed %v: runs were alone as %v, want %v", fixed, alone, want)
		}
		if fixed && len(threads) != 1 {
			t.Errorf("a recorded session ran on %d threads", len(threads))
		}
	}
}

// What a session says of its memory is what its graph needs: three values of
// 4 MiB at once, of the five it makes.
func TestSessionMemory(t *testing.T) {
	e := enginetest.Open(t)
	const n = 1 << 20
	s := must(e.NewSession(model([]proto{value("x", engine.Float32, n)}, []proto{value("y", engine.Float32, 1)},
		[]proto{node("Tanh", []string{"x"}, "a"), node("Exp", []string{"x"}, "b"), node("Mul", []string{"a", "b"}, "c"), node("Exp", []string{"c"}, "d"), node("Tanh", []string{"d"}, "e"), node("ReduceMax", []string{"e"}, "y")}),
		engine.SessionOptions{Name: "three"}))(t)
	bind(t, s, "x", must(e.NewTensor(engine.Float32, n))(t))
	bind(t, s, "y", must(e.NewTensor(engine.Float32, 1))(t))
	run(t, s)
	run(t, s)
	m := must(s.Memory())(t)
	if m.Peak < 3*4*n || m.Peak > 3*4*n+4*n/10 || m.Held < m.Peak {
		t.Errorf("%+v, want a peak of 12 MiB, or little more", m)
	}
	s.Close()
	_, err := s.Memory()
	refused(t, err, `session "three"`, "closed")
}
