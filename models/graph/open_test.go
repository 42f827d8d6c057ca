package graph_test

import (
	"slices"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// A training session learns no size of the batch: from no input but a
// parameter, from no shape that is written down. Otherwise it is the model.
func TestTrainingModelHidesTheBatch(t *testing.T) {
	g, err := graph.Build("test", func(b *graph.Builder) {
		x, scale := b.Input("x", graph.Float32, 6, 4), b.Input("scale", graph.Float32)
		w := b.Param("w", graph.Init{}, 4, 4)
		h := b.Reshape(b.MatMul(x, w), 2, 12)
		wide := b.Expand(b.Reshape(h, 2, 12, 1), 2, 12, 3)
		b.Output("y", b.Mul(wide, scale))
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.TrainingModel(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
	if got, want := opTypes(m.Graph), opTypes(plain.Graph); len(got) != len(want) || got["Reshape"] != 2 || got["Expand"] != 1 {
		t.Errorf("operators %v, want %v", got, want)
	}
	for _, in := range m.Graph.Input {
		dims := in.GetType().GetTensorType().GetShape().GetDim()
		if open := len(dims) > 0 && dims[0].Value == nil; open != (in.GetName() == "x") {
			t.Errorf("input %s: its first dimension is open %v", in.GetName(), open)
		}
	}
	shapes := map[string][]int64{}
	for _, c := range m.Graph.Initializer {
		raw, err := onnx.TensorData(c, "")
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(raw); i += 8 {
			shapes[c.GetName()] = append(shapes[c.GetName()], int64(int8(raw[i]))) // small numbers
		}
	}
	var got [][]int64
	for _, n := range m.Graph.Node {
		if n.GetOpType() == "Reshape" || n.GetOpType() == "Expand" {
			got = append(got, shapes[n.Input[1]])
		}
	}
	want := [][]int64{{-1, 12}, {-1, 12, 1}, {1, 1, 3}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("shapes are %v, want %v", got, want)
	}
}
