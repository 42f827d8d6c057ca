package engine_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

func TestSessionErrors(t *testing.T) {
	e := enginetest.Open(t)
	quiet(t, func() {
		_, err := e.NewSession(nil, engine.SessionOptions{Name: "eval"})
		refused(t, err, `session "eval"`, "empty model")
		_, err = e.NewSession([]byte("not a model"), engine.SessionOptions{Name: "eval"})
		refused(t, err, `session "eval"`)
		_, err = e.NewSession(model([]proto{value("x", engine.Float32, 2)}, []proto{value("y", engine.Float32, 2)},
			[]proto{node("NoSuchOperator", []string{"x"}, "y")}), engine.SessionOptions{})
		refused(t, err, "NoSuchOperator")

		// A run that fails: an index beyond the table.
		s := must(e.NewSession(model([]proto{value("table", engine.Float32, 4), value("i", engine.Int64, 1)}, []proto{value("y", engine.Float32, 1)},
			[]proto{node("Gather", []string{"table", "i"}, "y")}), engine.SessionOptions{Name: "lookup"}))(t)
		defer s.Close()
		i := must(e.NewTensor(engine.Int64, 1))(t)
		bind(t, s, "table", floats(t, e, []float32{1, 2, 3, 4}, 4))
		bind(t, s, "i", i)
		y := must(e.NewTensor(engine.Float32, 1))(t)
		bind(t, s, "y", y)
		if err := i.SetInt64([]int64{9}); err != nil {
			t.Fatal(err)
		}
		refused(t, s.Run(t.Context()), `session "lookup"`, "idx=9")
		if err := i.SetInt64([]int64{2}); err != nil {
			t.Fatal(err)
		}
		run(t, s) // a failed run leaves a usable session
		if got := y.GetFloat32()[0]; got != 3 {
			t.Errorf("got %v, want 3", got)
		}
	})
}

// Gradient checkpointing writes the same node twice; ORT must leave both.
func TestDisableCSE(t *testing.T) {
	e := enginetest.Open(t)
	twice := model([]proto{value("x", engine.Float32, 4)}, []proto{value("y", engine.Float32, 4)},
		[]proto{node("Tanh", []string{"x"}, "a"), node("Tanh", []string{"x"}, "b"), node("Mul", []string{"a", "b"}, "y")})
	for _, c := range []struct {
		disable bool
		want    int
	}{{false, 1}, {true, 2}} {
		path := filepath.Join(t.TempDir(), "optimized.onnx")
		s := must(e.NewSession(twice, engine.SessionOptions{DisableCSE: c.disable, Deterministic: true, OptimizedModelPath: path}))(t)
		s.Close()
		if got := bytes.Count(must(os.ReadFile(path))(t), []byte("\x22\x04Tanh")); got != c.want { // field 4 of NodeProto: op_type
			t.Errorf("DisableCSE %v: got %d Tanh nodes, want %d", c.disable, got, c.want)
		}
	}
}

func TestExternalDataAndProfile(t *testing.T) {
	e := enginetest.Open(t)
	dir := t.TempDir()
	data := []byte{0, 0, 0, 0} // four bytes before the tensor: the offset counts
	for _, v := range []float32{10, 20, 30} {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	if err := os.WriteFile(filepath.Join(dir, "weights.bin"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	graph := model([]proto{value("x", engine.Float32, 3)}, []proto{value("y", engine.Float32, 3)},
		[]proto{node("Add", []string{"x", "w"}, "y")}, external("w", engine.Float32, []int64{3}, "weights.bin", 4, 12))
	s := must(e.NewSession(graph, engine.SessionOptions{ExternalDir: dir, Profile: filepath.Join(dir, "trace")}))(t)
	y := must(e.NewTensor(engine.Float32, 3))(t)
	bind(t, s, "x", floats(t, e, []float32{1, 2, 3}, 3))
	bind(t, s, "y", y)
	run(t, s)
	s.Close()
	if got, want := y.GetFloat32(), []float32{11, 22, 33}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if found := must(filepath.Glob(filepath.Join(dir, "trace*.json")))(t); len(found) != 1 {
		t.Errorf("got %d traces, want 1", len(found))
	}
}

// Resuming to the bit needs a library that repeats itself to the bit.
func TestRunsRepeatToTheBit(t *testing.T) {
	e := enginetest.Open(t)
	const n, d = 257, 1031
	s := must(e.NewSession(model(
		[]proto{value("x", engine.Float32, n, d), value("w", engine.Float32, d, n)},
		[]proto{value("sum", engine.Float32, 1, 1)},
		[]proto{node("MatMul", []string{"x", "w"}, "xw"), node("Tanh", []string{"xw"}, "y"), node("ReduceSum", []string{"y"}, "sum")}),
		engine.SessionOptions{Deterministic: true}))(t)
	defer s.Close()
	data := make([]float32, n*d)
	for i := range data {
		data[i] = float32(math.Sin(float64(i * i % 7919)))
	}
	bind(t, s, "x", floats(t, e, data, n, d))
	bind(t, s, "w", floats(t, e, data, d, n))
	sum := must(e.NewTensor(engine.Float32, 1, 1))(t)
	bind(t, s, "sum", sum)
	run(t, s)
	want := sum.GetFloat32()[0]
	for i := range 30 {
		run(t, s)
		if got := sum.GetFloat32()[0]; math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("run %d: got %v, want %v", i+2, got, want)
		}
	}
}
