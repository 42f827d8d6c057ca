package engine_test

import (
	"context"
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

// affine is y = x·w + b for x [2, 3], w [3, 2] and a scalar b.
func affine() []byte {
	return model(
		[]proto{value("x", engine.Float32, 2, 3), value("w", engine.Float32, 3, 2), value("b", engine.Float32)},
		[]proto{value("y", engine.Float32, 2, 2)},
		[]proto{node("MatMul", []string{"x", "w"}, "xw"), node("Add", []string{"xw", "b"}, "y")})
}

// descent is p.new = p − lr·g over n elements.
func descent(n int64) []byte {
	return model(
		[]proto{value("p", engine.Float32, n), value("g", engine.Float32, n), value("lr", engine.Float32)},
		[]proto{value("p.new", engine.Float32, n)},
		[]proto{node("Mul", []string{"g", "lr"}, "step"), node("Sub", []string{"p", "step"}, "p.new")})
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func floats(t testing.TB, e *engine.Engine, data []float32, shape ...int64) *engine.Tensor {
	t.Helper()
	x := must(e.NewTensor(engine.Float32, shape...))(t)
	if err := x.SetFloat32(data); err != nil {
		t.Fatal(err)
	}
	return x
}

func bind(t testing.TB, s *engine.Session, name string, x *engine.Tensor) {
	t.Helper()
	if err := s.Bind(name, x); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, s *engine.Session) {
	t.Helper()
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// refused checks that an error names all of the given words on one line.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want %q in it", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("got %q, want one line", err)
	}
}

func TestRunOnce(t *testing.T) {
	e := enginetest.Open(t)
	out := must(engine.RunOnce(e, affine(), map[string]*engine.Tensor{
		"x": floats(t, e, []float32{1, 2, 3, 4, 5, 6}, 2, 3),
		"w": floats(t, e, []float32{1, 0, 0, 1, 1, 1}, 3, 2),
		"b": floats(t, e, []float32{0.5}),
	}))(t)
	if got, want := out["y"].GetFloat32(), []float32{4.5, 5.5, 10.5, 11.5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	_, err := engine.RunOnce(e, affine(), map[string]*engine.Tensor{"x": floats(t, e, make([]float32, 6), 2, 3)})
	refused(t, err, "inputs [w, b] are not bound")
}

func TestSessionDeclaresItsNames(t *testing.T) {
	e := enginetest.Open(t)
	s := must(e.NewSession(model(
		[]proto{value("ids", engine.Int64, -1, 7), value("mask", engine.Bool)},
		[]proto{value("out", engine.Float64, -1, 7)},
		[]proto{node("Identity", []string{"mask"}, "unused"), castToFloat64("ids", "out")}), engine.SessionOptions{}))(t)
	defer s.Close()
	if len(s.Inputs) != 2 || len(s.Outputs) != 1 {
		t.Fatalf("got %d inputs and %d outputs, want 2 and 1", len(s.Inputs), len(s.Outputs))
	}
	for i, want := range []engine.Info{{"ids", engine.Int64, []int64{-1, 7}}, {"mask", engine.Bool, []int64{}}, {"out", engine.Float64, []int64{-1, 7}}} {
		got := append(slices.Clone(s.Inputs), s.Outputs...)[i]
		if got.Name != want.Name || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	// An open dimension takes any size, 0 too.
	bind(t, s, "mask", must(e.NewTensor(engine.Bool))(t))
	for _, n := range []int64{3, 0, 5} {
		ids, out := must(e.NewTensor(engine.Int64, n, 7))(t), must(e.NewTensor(engine.Float64, n, 7))(t)
		data := make([]int64, n*7)
		for i := range data {
			data[i] = int64(i) - 9
		}
		if err := ids.SetInt64(data); err != nil {
			t.Fatal(err)
		}
		bind(t, s, "ids", ids)
		bind(t, s, "out", out)
		run(t, s)
		got := make([]byte, out.Bytes())
		if err := out.Download(got); err != nil {
			t.Fatal(err)
		}
		for i, want := range data {
			if x := math.Float64frombits(binary.LittleEndian.Uint64(got[8*i:])); x != float64(want) {
				t.Errorf("%d rows, element %d: got %v, want %d", n, i, x, want)
			}
		}
	}
}

// An update that writes over its own input must give the bits that separate
// buffers give.
func TestInPlaceUpdate(t *testing.T) {
	e := enginetest.Open(t)
	const n = 100_003 // several blocks for each thread, and a remainder
	start, grad := make([]float32, n), make([]float32, n)
	for i := range start {
		start[i] = float32(math.Sin(float64(i)))
		grad[i] = float32(math.Cos(float64(3 * i)))
	}
	size := engine.Align(4 * n)
	arena := must(e.NewArena(3 * size))(t)
	defer arena.Close()
	p, q := must(arena.View(0, engine.Float32, n))(t), must(arena.View(2*size, engine.Float32, n))(t)
	g := must(arena.View(size, engine.Float32, n))(t)
	lr := floats(t, e, []float32{0.37})
	s := must(e.NewSession(descent(n), engine.SessionOptions{Name: "optimizer"}))(t)
	defer s.Close()
	bind(t, s, "p", p)
	bind(t, s, "g", g)
	bind(t, s, "lr", lr)

	const steps = 5
	update := func(out *engine.Tensor) []float32 {
		if err := p.SetFloat32(start); err != nil {
			t.Fatal(err)
		}
		if err := g.SetFloat32(grad); err != nil {
			t.Fatal(err)
		}
		bind(t, s, "p.new", out)
		for range steps {
			run(t, s)
			if err := p.SetFloat32(out.GetFloat32()); err != nil { // no change where out is p
				t.Fatal(err)
			}
		}
		return p.GetFloat32()
	}
	separate, inPlace := update(q), update(p)
	for i := range separate {
		if math.Float32bits(separate[i]) != math.Float32bits(inPlace[i]) {
			t.Fatalf("element %d: got %v in place, want %v", i, inPlace[i], separate[i])
		}
	}
	want := start[1]
	for range steps {
		want -= float32(grad[1] * float32(0.37))
	}
	if inPlace[1] != want {
		t.Errorf("element 1: got %v, want %v", inPlace[1], want)
	}
}

// Runs that are queued come before the run that waits for them, each with what was
// bound when it was queued.
func TestQueuedRunsComeInTurn(t *testing.T) {
	e := enginetest.Open(t)
	s := must(e.NewSession(descent(2), engine.SessionOptions{Name: "descent"}))(t)
	defer s.Close()
	refused(t, s.Queue(t.Context()), "descent", "not bound")
	bind(t, s, "lr", floats(t, e, []float32{0.5}))
	p := floats(t, e, []float32{1, 2}, 2)
	bind(t, s, "p", p)
	bind(t, s, "p.new", p)
	for i := range 4 {
		bind(t, s, "g", floats(t, e, []float32{float32(i), 2}, 2))
		step := s.Queue
		if i == 3 {
			step = s.Run
		}
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := p.GetFloat32(), []float32{1 - 0.5*(0+1+2+3), 2 - 0.5*8}; !slices.Equal(got, want) {
		t.Errorf("four steps give %v, want %v", got, want)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused(t, s.Queue(ended), "descent", "canceled")
	s.Close()
	refused(t, s.Queue(t.Context()), "descent", "closed")
}

func TestSessionsShareAnArena(t *testing.T) {
	e := enginetest.Open(t)
	const n, chunks = 64, 9
	arena := must(e.NewArena(chunks * engine.Align(4*n)))(t)
	defer arena.Close()
	host, ok := arena.HostFloat32()
	if !ok || int64(len(host)) != arena.Bytes()/4 {
		t.Fatalf("got %d elements (%v), want the arena's %d", len(host), ok, arena.Bytes()/4)
	}
	for i := range host {
		host[i] = float32(i)
	}
	one := floats(t, e, []float32{1})
	var sessions []*engine.Session
	for c := range int64(chunks) {
		s := must(e.NewSession(descent(n), engine.SessionOptions{}))(t)
		defer s.Close()
		p := must(arena.View(c*engine.Align(4*n), engine.Float32, n))(t)
		bind(t, s, "p", p)
		bind(t, s, "g", p)
		bind(t, s, "lr", one)
		bind(t, s, "p.new", p)
		sessions = append(sessions, s)
	}
	var wait sync.WaitGroup
	errs := make([]error, len(sessions))
	for i, s := range sessions[1:] { // the first chunk stays as it is
		wait.Go(func() { errs[i] = s.Run(context.Background()) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, got := range host {
		if want := float32(i); i >= n && i%n < n {
			want = 0
			if got != want {
				t.Fatalf("element %d: got %v, want %v", i, got, want)
			}
		} else if got != want {
			t.Fatalf("element %d: got %v, want %v", i, got, want)
		}
	}
}

// A session must keep what it is bound to, though nobody else does.
func TestBoundTensorsSurviveCollection(t *testing.T) {
	e := enginetest.Open(t)
	const n = 5000
	s := must(e.NewSession(descent(n), engine.SessionOptions{}))(t)
	defer s.Close()
	ones := slices.Repeat([]float32{1}, n)
	func() {
		p := floats(t, e, ones, n)
		bind(t, s, "p", p)
		bind(t, s, "p.new", p)
		bind(t, s, "g", floats(t, e, ones, n))
		bind(t, s, "lr", floats(t, e, []float32{0.5}))
	}()
	out := must(e.NewTensor(engine.Float32, n))(t)
	for i := range 40 {
		runtime.GC()
		runtime.GC() // the second one runs cleanups that the first has found
		for range 50 {
			floats(t, e, slices.Repeat([]float32{777}, n), n) // takes what was freed by mistake
		}
		if i == 39 {
			bind(t, s, "p.new", out)
		}
		run(t, s)
	}
	for i, got := range out.GetFloat32() {
		if want := float32(1 - 40*0.5); got != want {
			t.Fatalf("element %d: got %v, want %v", i, got, want)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	e := enginetest.Open(t)
	s := must(e.NewSession(affine(), engine.SessionOptions{Name: "training"}))(t)
	defer s.Close()
	refused(t, s.Run(t.Context()), `session "training"`, "inputs [x, w, b] are not bound")
	refused(t, s.Bind("z", floats(t, e, []float32{1})), "z", "[x, w, b]", "[y]")
	refused(t, s.Bind("x", floats(t, e, make([]float32, 6), 3, 2)), "bind x", "float32 [3 2]", "float32 [2 3]")
	refused(t, s.Bind("b", floats(t, e, []float32{1}, 1)), "bind b", "float32 [1]", "float32 []")
	refused(t, s.Bind("y", must(e.NewTensor(engine.Int64, 2, 2))(t)), "bind y", "int64 [2 2]", "float32 [2 2]")
	refused(t, s.Bind("x", nil), "nil")
	bind(t, s, "x", floats(t, e, make([]float32, 6), 2, 3))
	bind(t, s, "b", floats(t, e, make([]float32, 1)))
	refused(t, s.Run(t.Context()), "inputs [w] are not bound")
	w := floats(t, e, make([]float32, 6), 3, 2)
	bind(t, s, "w", w)
	refused(t, s.Run(t.Context()), "outputs [y] are not bound")
	bind(t, s, "y", must(e.NewTensor(engine.Float32, 2, 2))(t))
	run(t, s)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refused(t, s.Run(ctx), "context canceled")
	w.Close()
	refused(t, s.Run(t.Context()), "memory of input w is closed")
	refused(t, s.Bind("w", w), "closed")
	s.Close()
	s.Close()
	refused(t, s.Run(t.Context()), "the session is closed")
	refused(t, s.Bind("x", floats(t, e, make([]float32, 6), 2, 3)), "the session is closed")
}

func TestRunsOfOneSessionWaitForEachOther(t *testing.T) {
	e := enginetest.Open(t)
	const n = 1 << 16
	s := must(e.NewSession(descent(n), engine.SessionOptions{}))(t)
	defer s.Close()
	p := must(e.NewTensor(engine.Float32, n))(t)
	bind(t, s, "p", p)
	bind(t, s, "p.new", p)
	bind(t, s, "g", floats(t, e, slices.Repeat([]float32{-1}, n), n))
	bind(t, s, "lr", floats(t, e, []float32{1}))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 25 {
				if err := s.Run(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for i, got := range p.GetFloat32() {
		if got != 200 { // every run added 1 to every element
			t.Fatalf("element %d: got %v, want 200", i, got)
		}
	}
}
