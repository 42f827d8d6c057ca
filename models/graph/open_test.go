package graph_test

import (
	"maps"
	"slices"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// A training session learns no size of the batch or of a weight: from no input,
// from no shape that is written down. Otherwise it is the model, but for an Expand
// that the next operator does by itself.
func TestTrainingModelHidesTheBatch(t *testing.T) {
	g, err := graph.Build("test", func(b *graph.Builder) {
		x, scale := b.Input("x", graph.Float32, 6, 4), b.Input("scale", graph.Float32)
		w := b.Param("w", graph.Init{}, 4, 4)
		h := b.Reshape(b.MatMul(x, w), 2, 12)
		wide := b.Expand(b.Reshape(h, 2, 12, 1), 2, 12, 3)
		y := b.Mul(wide, scale)
		b.Output("y", y)
		b.Output("z", b.Mul(b.Expand(b.ReduceSum(scale, true), 2, 12, 3), y))
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.TrainingModel("")
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
	got, want := opTypes(m.Graph), opTypes(plain.Graph)
	if want["Expand"]--; !maps.Equal(got, want) || got["Reshape"] != 2 || got["Expand"] != 1 {
		t.Errorf("operators %v, want %v", got, want)
	}
	for _, in := range m.Graph.Input {
		dims := in.GetType().GetTensorType().GetShape().GetDim()
		if open := len(dims) > 0 && dims[0].Value == nil; open != (in.GetName() != "scale") {
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
	var written [][]int64
	for _, n := range m.Graph.Node {
		if n.GetOpType() == "Reshape" || n.GetOpType() == "Expand" {
			written = append(written, shapes[n.Input[1]])
		}
	}
	if want := [][]int64{{-1, 12}, {-1, 12, 1}, {1, 1, 3}}; !slices.EqualFunc(written, want, slices.Equal) {
		t.Errorf("shapes are %v, want %v", written, want)
	}
}

// In a training session a Transpose that moves no element in memory is a Reshape;
// one that moves some stays.
func TestTrainingModelReshapesWhatStays(t *testing.T) {
	for _, row := range []struct {
		shape, perm []int
		still       bool
	}{
		{[]int{2, 3, 1, 4}, []int{0, 2, 1, 3}, true}, // an attention with one head
		{[]int{2, 1, 3, 4}, []int{0, 2, 1, 3}, true},
		{[]int{1, 3, 1, 4}, []int{1, 2, 3, 0}, true},
		{[]int{2, 3, 2, 4}, []int{0, 2, 1, 3}, false},
		{[]int{2, 3, 1, 4}, []int{0, 3, 1, 2}, false},
		{[]int{2, 3}, []int{1, 0}, false},
	} {
		g, err := graph.Build("test", func(b *graph.Builder) {
			b.Output("y", b.Transpose(b.Mul(b.Input("x", graph.Float32, row.shape...), b.Scalar(2)), row.perm...))
		})
		if err != nil {
			t.Fatal(err)
		}
		m, err := g.TrainingModel("")
		if err != nil {
			t.Fatal(err)
		}
		if err := onnx.Check(m); err != nil {
			t.Fatal(err)
		}
		if types := opTypes(m.Graph); (types["Reshape"] == 1) != row.still || (types["Transpose"] == 1) == row.still {
			t.Errorf("%v of %v: operators %v, want a Reshape: %v", row.perm, row.shape, types, row.still)
		}
	}
}
