package graph_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// model builds a graph and emits it, checked.
func model(t *testing.T, f func(b *graph.Builder)) (*graph.Graph, *onnx.GraphProto) {
	t.Helper()
	g, err := graph.Build("test", f)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Unmarshal(encode(t, g))
	if err != nil {
		t.Fatal(err)
	}
	return g, m.Graph
}

// opTypes counts a model's nodes by operator.
func opTypes(m *onnx.GraphProto) map[string]int {
	count := map[string]int{}
	for _, n := range m.Node {
		count[n.GetOpType()]++
	}
	return count
}

// chain is h = tanh(h·w_i) for each layer; its outputs are the loss and each
// layer's gradient in the given order.
func chain(b *graph.Builder, layers int, order func(i int) int) {
	h := b.Input("x", graph.Float32, 64, 32)
	var weights []*graph.Value
	for i := range layers {
		layer := b.At(fmt.Sprintf("layers.%d", i))
		w := layer.Param("weight", graph.Init{}, 32, 32)
		weights = append(weights, w)
		h = layer.Tanh(layer.Gemm(h, w, nil))
	}
	loss := b.ReduceSumSquare(h, false)
	b.Output("loss", loss)
	grads := b.Grad(loss, weights)
	for i := range grads {
		b.Output(fmt.Sprint("d", order(i)), grads[order(i)])
	}
}

func TestEqualGraphsAreEqualBytes(t *testing.T) {
	list := rows()
	for i, r := range list {
		again := rows()[i]
		if !bytes.Equal(encode(t, build(t, r, true)), encode(t, build(t, again, true))) {
			t.Errorf("%s: two builds differ", r)
		}
	}
}

// ONNX Runtime starts from the nodes listed last. With gradients declared in
// layer order, each gradient's own node stands after those of earlier layers,
// so that the last layer's runs first, and its activations go.
func TestNodesFollowTheOutputs(t *testing.T) {
	const layers = 8
	same := func(i int) int { return i }
	_, m := model(t, func(b *graph.Builder) { chain(b, layers, same) })
	last := -1
	for i := range layers {
		at := slices.IndexFunc(m.Node, func(n *onnx.NodeProto) bool { return slices.Contains(n.Output, fmt.Sprint("d", i)) })
		if at <= last {
			t.Errorf("the gradient of layer %d is node %d, want it after node %d of the layer before", i, at, last)
		}
		last = at
	}
	if last != len(m.Node)-1 {
		t.Errorf("the last layer's gradient is node %d, want the last of %d", last, len(m.Node))
	}
	var names []string
	for _, o := range m.Output {
		names = append(names, o.GetName())
	}
	if got := strings.Join(names, " "); got != "loss d0 d1 d2 d3 d4 d5 d6 d7" {
		t.Errorf("outputs %s", got)
	}
}

func TestOnlyWhatOutputsNeedIsEmitted(t *testing.T) {
	g, m := model(t, func(b *graph.Builder) {
		x, y := b.Input("x", graph.Float32, 2, 3), b.Input("unused", graph.Float32, 4)
		b.Exp(y)
		b.Log(b.Full(7, 9))
		h := b.Sin(x)
		b.Grad(total(b, b.Mul(h, x)), []*graph.Value{x})
		b.Output("y", b.Cos(h))
	})
	if got := opTypes(m); len(m.Node) != 2 || got["Sin"] != 1 || got["Cos"] != 1 || len(m.Initializer) != 0 {
		t.Errorf("nodes %v and %d initializers, want Sin, Cos and none", got, len(m.Initializer))
	}
	if len(m.Input) != 2 || m.Input[1].GetName() != "unused" {
		t.Errorf("inputs %v, want both: they are the graph's signature", m.Input)
	}
	if lowered, err := graph.Lower(g); err != nil || len(lowered.Nodes) != 4 {
		t.Errorf("lowered graph %v, error %v, want 4 nodes", lowered, err)
	}
}

// An output is the value that it names, also where ONNX needs another node.
func TestOutputsThatAreInputsConstantsOrTwice(t *testing.T) {
	f := func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 3)
		y := b.Neg(x)
		two := b.Full(2, 3)
		b.Output("input", x)
		b.Output("input again", x)
		b.Output("constant", two)
		b.Output("plain", y)
		b.Output("plain again", y)
		b.Output("after", b.Add(y, two))
		b.Output("constant again", two)
	}
	g, m := model(t, f)
	if got := opTypes(m); got["Identity"] != 5 || got["Neg"] != 1 || got["Add"] != 1 || len(m.Node) != 7 {
		t.Errorf("nodes %v, want 5 Identity, Neg and Add", got)
	}
	values := map[string][]float64{"x": {1, 2, -3}}
	two := []float64{2, 2, 2}
	want := map[string][]float64{"input": {1, 2, -3}, "input again": {1, 2, -3}, "constant": two, "plain": {-1, -2, 3},
		"plain again": {-1, -2, 3}, "after": {1, 0, 5}, "constant again": two}
	compare(t, evaluate(t, g, values), want, 0)
	compare(t, runORT(t, g, values), want, 0)
}

func TestNames(t *testing.T) {
	_, m := model(t, func(b *graph.Builder) {
		// Names that the emitter would choose itself.
		x := b.Input("const_0", graph.Float32, 3)
		y := b.Add(b.Input("const_0_1", graph.Float32, 3), b.Scalar(5))
		block := b.At("down_blocks.0").At("conv")
		y = block.Mul(block.Sin(block.Sin(x)), block.Mul(y, b.Scalar(6)))
		b.Output("/Add", b.Grad(total(b, y), []*graph.Value{x})[0])
		b.Output("y", y)
	})
	var names []string
	for _, n := range m.Node {
		if slices.Contains(names, n.GetName()) {
			t.Errorf("two nodes are called %s", n.GetName())
		}
		names = append(names, n.GetName())
	}
	for _, want := range []string{"/down_blocks.0.conv/Sin", "/down_blocks.0.conv/Sin_1", "/down_blocks.0.conv/Cos.grad", "/down_blocks.0.conv/Mul", "/down_blocks.0.conv/Mul.grad"} {
		if !slices.Contains(names, want) {
			t.Errorf("no node is called %s: %v", want, names)
		}
	}
}

func TestModelHeader(t *testing.T) {
	g, err := graph.Build("test", func(b *graph.Builder) { b.Output("y", b.SiLU(b.Input("x", graph.Float16, 2, 3))) })
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	opsets := map[string]int64{}
	for _, o := range m.OpsetImport {
		opsets[o.GetDomain()] = o.GetVersion()
	}
	if m.GetIrVersion() != 8 || opsets[""] != 18 || opsets["com.microsoft"] != 1 || len(opsets) != 2 {
		t.Errorf("IR %d and opsets %v, want 8, 18 and com.microsoft 1", m.GetIrVersion(), opsets)
	}
	n := m.Graph.Node[0]
	if n.GetDomain() != "com.microsoft" || n.GetOpType() != "QuickGelu" || len(n.Attribute) != 1 || n.Attribute[0].GetF() != 1 {
		t.Errorf("node %v, want com.microsoft QuickGelu with alpha 1", n)
	}
	x := m.Graph.Input[0].GetType().GetTensorType()
	if x.GetElemType() != int32(onnx.TensorProto_FLOAT16) || len(x.GetShape().GetDim()) != 2 || x.GetShape().GetDim()[1].GetDimValue() != 3 {
		t.Errorf("input %v, want float16 [2, 3]", x)
	}
}

func TestLowerRefuses(t *testing.T) {
	silu := func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 3)
		b.Output("y", b.At("deep").Raw("Mystery", graph.Domain, []*graph.Value{x}, 3))
	}
	g, err := graph.Build("test", silu)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want  string
		lower func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value
	}{
		{"no lowering is known", nil},
		{"0 values for 1 outputs", func(*graph.Builder, *graph.Node, []*graph.Value) []*graph.Value { return nil }},
		{"gives float32[3 1] for output 0, want float32[3]", func(b *graph.Builder, _ *graph.Node, in []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Reshape(in[0], 3, 1)}
		}},
		{"gives float16[3] for output 0, want float32[3]", func(b *graph.Builder, _ *graph.Node, in []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Cast(in[0], graph.Float16)}
		}},
	} {
		graph.SetLowering(t, "Mystery", c.lower)
		for _, f := range []func() (any, error){func() (any, error) { return graph.Lower(g) }, func() (any, error) { return g.Model() }} {
			if _, err := f(); err == nil || !strings.Contains(err.Error(), "deep: Mystery: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want deep: Mystery: … %s", err, c.want)
			}
		}
	}
}

// A large image leaves no large constant in a portable file: 2048×2048 pixels,
// with the derivative, in a few hundred bytes of initializers.
func TestGroupNormalizationWritesNoImage(t *testing.T) {
	_, m := model(t, func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 1, 4, 2048, 2048)
		scale, bias := b.Param("scale", graph.Init{}, 4), b.Param("bias", graph.Init{}, 4)
		loss := b.ReduceSumSquare(b.GroupNormalization(x, scale, bias, 2, 1e-5), false)
		b.Output("loss", loss)
		for i, dy := range b.Grad(loss, []*graph.Value{x, scale, bias}) {
			b.Output(fmt.Sprint("d", i), dy)
		}
	})
	bytes := 0
	for _, c := range m.Initializer {
		bytes += len(c.RawData)
	}
	if bytes > 1000 {
		t.Errorf("%d bytes of constants, want less than 1,000", bytes)
	}
}
