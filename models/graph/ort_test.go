package graph_test

import (
	"encoding/binary"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// encode is a graph as the bytes of a checked ONNX model.
func encode(t testing.TB, g *graph.Graph) []byte {
	t.Helper()
	m, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
	data, err := onnx.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// runORT runs a graph in ONNX Runtime, in the types that it declares; its
// outputs are float32.
func runORT(t testing.TB, g *graph.Graph, values map[string][]float64) map[string][]float64 {
	t.Helper()
	e := enginetest.Open(t)
	model := encode(t, g)
	inputs := map[string]*engine.Tensor{}
	for _, v := range g.Inputs {
		shape := make([]int64, v.Rank())
		for d := range shape {
			shape[d] = int64(v.Dim(d))
		}
		x, err := e.NewTensor(engine.DType(v.DType.ONNX()), shape...)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if err := upload(x, v.DType, values[v.Node.Name]); err != nil {
			t.Fatal(err)
		}
		inputs[v.Node.Name] = x
	}
	outputs, err := engine.RunOnce(e, model, inputs)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string][]float64{}
	for name, y := range outputs {
		for _, x := range y.GetFloat32() {
			results[name] = append(results[name], float64(x))
		}
		y.Close()
	}
	return results
}

func upload(x *engine.Tensor, dtype graph.DType, values []float64) error {
	var raw []byte
	floats := make([]float32, len(values))
	for i, v := range values {
		floats[i] = float32(v)
		switch dtype {
		case graph.Int64:
			raw = binary.LittleEndian.AppendUint64(raw, uint64(int64(v)))
		case graph.Bool:
			raw = append(raw, byte(v))
		}
	}
	if dtype == graph.Float32 {
		return x.SetFloat32(floats)
	}
	return x.Upload(raw)
}
