package native_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/native"
	"immiscible/models/onnx"
)

// levels are the instruction sets that every operator is tested in. The last
// runs anywhere; a machine without one of the others tests the rest.
func levels(t *testing.T) []string {
	t.Cleanup(func() { use(t, "", 0) })
	var names []string
	for _, name := range []string{"avx512", "avx2", "generic"} {
		if native.Use(name, 0) == nil {
			names = append(names, name)
		}
	}
	t.Log("instruction sets:", names)
	return names
}

func use(t testing.TB, name string, workers int) {
	t.Helper()
	if err := native.Use(name, workers); err != nil {
		t.Fatal(err)
	}
}

var engines sync.Map // threads → *engine.Engine

func engineOf(t testing.TB, threads int) *engine.Engine {
	t.Helper()
	if e, ok := engines.Load(threads); ok {
		return e.(*engine.Engine)
	}
	e, err := engine.Open(context.Background(), engine.Options{Provider: "cpu", Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	engines.Store(threads, e)
	return e
}

// array is a float32 tensor, with truth a bool one, or the int64 one that whole is; a nil *array is an absent
// optional operand.
type array struct {
	shape []int
	data  []float32
	truth bool
	whole []int64
}

func zeros(shape ...int) *array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return &array{shape: shape, data: make([]float32, n)}
}

// random draws from a normal distribution; the seed is part of the test.
func random(seed uint64, shape ...int) *array {
	a := zeros(shape...)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range a.data {
		a.data[i] = float32(r.NormFloat64())
	}
	return a
}

func (a *array) dims() []int64 {
	d := make([]int64, len(a.shape))
	for i, n := range a.shape {
		d[i] = int64(n)
	}
	return d
}

// opModel is a graph of one node of the domain. Inputs are named a, b, …,
// outputs z, y, …
func opModel(op string, attrs []*onnx.AttributeProto, inputs, outputs []*array) *onnx.ModelProto {
	node := &onnx.NodeProto{Name: ptr("node"), OpType: ptr(op), Domain: ptr("immiscible"), Attribute: attrs}
	g := &onnx.GraphProto{Name: ptr("test"), Node: []*onnx.NodeProto{node}}
	for i, in := range inputs {
		if in == nil {
			node.Input = append(node.Input, "")
			continue
		}
		node.Input = append(node.Input, string(rune('a'+i)))
		dtype := onnx.TensorProto_FLOAT
		switch {
		case in.truth:
			dtype = onnx.TensorProto_BOOL
		case in.whole != nil:
			dtype = onnx.TensorProto_INT64
		}
		g.Input = append(g.Input, onnx.NewValueInfo(string(rune('a'+i)), dtype, in.dims()))
	}
	for i, out := range outputs {
		if out == nil {
			node.Output = append(node.Output, "")
			continue
		}
		node.Output = append(node.Output, string(rune('z'-i)))
		g.Output = append(g.Output, onnx.NewValueInfo(string(rune('z'-i)), onnx.TensorProto_FLOAT, out.dims()))
	}
	return &onnx.ModelProto{
		IrVersion: ptr(int64(8)),
		OpsetImport: []*onnx.OperatorSetIdProto{
			{Domain: ptr(""), Version: ptr(int64(18))},
			{Domain: ptr("immiscible"), Version: ptr(int64(1))},
		},
		Graph: g,
	}
}

// negated puts a Neg before an operand, so that nobody else needs what the
// operator reads there, and it may write its result over it.
func negated(m *onnx.ModelProto, operand int) *onnx.ModelProto {
	n := m.Graph.Node[0]
	neg := &onnx.NodeProto{Name: ptr("neg"), OpType: ptr("Neg"), Input: []string{n.Input[operand]}, Output: []string{"negated"}}
	n.Input[operand] = "negated"
	m.Graph.Node = append([]*onnx.NodeProto{neg}, n)
	// A reader behind the operator keeps its output from being the graph's own.
	last := n.Output[0]
	n.Output[0] = "inner"
	m.Graph.Node = append(m.Graph.Node, &onnx.NodeProto{Name: ptr("last"), OpType: ptr("Abs"), Input: []string{"inner"}, Output: []string{last}})
	return m
}

// tryOp runs one operator; outputs give the shapes, and are not changed.
func tryOp(t testing.TB, threads int, op string, attrs []*onnx.AttributeProto, inputs, outputs []*array) ([]*array, error) {
	t.Helper()
	return tryModel(t, threads, opModel(op, attrs, inputs, outputs), inputs, outputs)
}

func tryModel(t testing.TB, threads int, m *onnx.ModelProto, inputs, outputs []*array) ([]*array, error) {
	t.Helper()
	return runModel(t, engineOf(t, threads), m, inputs, outputs)
}

func runModel(t testing.TB, e *engine.Engine, m *onnx.ModelProto, inputs, outputs []*array) ([]*array, error) {
	t.Helper()
	data, err := onnx.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]*engine.Tensor{}
	for i, in := range inputs {
		if in == nil {
			continue
		}
		x, err := in.tensor(e)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		tensors[string(rune('a'+i))] = x
	}
	results, err := engine.RunOnce(e, data, tensors)
	if err != nil {
		return nil, err
	}
	got := make([]*array, len(outputs))
	for i, out := range outputs {
		if out != nil {
			y := results[string(rune('z'-i))]
			got[i] = &array{shape: out.shape, data: y.GetFloat32()}
			y.Close()
		}
	}
	return got, nil
}

// tensor is a in ONNX Runtime's memory.
func (a *array) tensor(e *engine.Engine) (*engine.Tensor, error) {
	if a.whole != nil {
		x, err := e.NewTensor(engine.Int64, a.dims()...)
		if err != nil {
			return nil, err
		}
		return x, x.SetInt64(a.whole)
	}
	if !a.truth {
		x, err := e.NewTensor(engine.Float32, a.dims()...)
		if err != nil {
			return nil, err
		}
		return x, x.SetFloat32(a.data)
	}
	x, err := e.NewTensor(engine.Bool, a.dims()...)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, len(a.data))
	for i, v := range a.data {
		raw[i] = byte(v)
	}
	return x, x.Upload(raw)
}

func runOp(t testing.TB, threads int, op string, attrs []*onnx.AttributeProto, inputs, outputs []*array) []*array {
	t.Helper()
	got, err := tryOp(t, threads, op, attrs, inputs, outputs)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// tolerance bounds max|Δ| / max|reference| of float32 sums of up to a few
// thousand terms in any order: their rounding errors add like a random walk,
// 2⁻²⁴·√n ≈ 4e-6 of a typical term's sum.
const tolerance = 1e-5

func compare(t testing.TB, what string, got *array, want []float64) {
	t.Helper()
	compareWithin(t, what, got, want, tolerance)
}

func compareWithin(t testing.TB, what string, got *array, want []float64, tolerance float64) {
	t.Helper()
	if len(got.data) != len(want) {
		t.Fatalf("%s: got %d elements, want %d", what, len(got.data), len(want))
	}
	var scale, worst float64
	at := 0
	for i, w := range want {
		scale = max(scale, math.Abs(w))
		if d := math.Abs(float64(got.data[i]) - w); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tolerance*scale) {
		t.Errorf("%s: element %d: got %g, want %g (difference %.1e of the largest)", what, at, got.data[at], want[at], worst/scale)
	}
}

func equal(t testing.TB, what string, a, b []*array) {
	t.Helper()
	for i := range a {
		for j := range a[i].data {
			if math.Float32bits(a[i].data[j]) != math.Float32bits(b[i].data[j]) {
				t.Fatalf("%s: output %d, element %d: got %x and %x, want the same bits", what, i, j, a[i].data[j], b[i].data[j])
			}
		}
	}
}

// stable runs an operator with 1, 2 and 4 threads and its work cut in several
// ways, and twice, and wants the same bits each time.
func stable(t *testing.T, op string, attrs []*onnx.AttributeProto, inputs, outputs []*array) {
	t.Helper()
	for _, level := range levels(t) {
		use(t, level, 1)
		first := runOp(t, 1, op, attrs, inputs, outputs)
		for _, threads := range []int{1, 2, 4} {
			for _, workers := range []int{1, 3, 4, 16} {
				use(t, level, workers)
				equal(t, fmt.Sprintf("%s %s, %d threads, %d workers", level, op, threads, workers), first, runOp(t, threads, op, attrs, inputs, outputs))
			}
		}
	}
}

// ptr is how proto2 spells a field that is set.
func ptr[T any](x T) *T { return &x }

// TestInplace: an operator may write its result over one of its operands.
func TestInplace(t *testing.T) {
	g := geometry{4, 18, 9, 10, 20, 3, 3, 1, 1, [4]int{1, 1, 1, 1}}
	d := geometry{4, 3, 9, 10, 20, 3, 3, 1, 1, [4]int{1, 1, 1, 1}}
	group := groupCase{n: 3, channels: 8, groups: 2, pixels: []int{7, 9}, silu: true}
	x, scale, bias, dy := group.operands()
	stats := random(7, 3, 2, 1)
	image, wide := random(1, 4, 18, 9, 10), random(2, 4, 20, 9, 10)
	for _, c := range []struct {
		op      string
		attrs   []*onnx.AttributeProto
		inputs  []*array
		operand int
		outputs []*array
	}{
		{"Conv", g.attrs(), []*array{image, random(3, 20, 18, 3, 3), random(9, 20), wide}, 3, []*array{wide}},
		{"Conv", d.attrs(), []*array{random(8, 4, 3, 9, 10), random(3, 20, 3, 3, 3), nil, wide}, 3, []*array{wide}},
		{"ConvInputGrad", g.inputAttrs(), []*array{wide, random(3, 20, 18, 3, 3), image}, 2, []*array{image}},
		{"GroupNormalizationGrad", group.attrs(), []*array{dy, x, scale, bias, stats, stats}, 0, []*array{x, scale, scale}},
		{"GroupNormalizationGrad", group.attrs(), []*array{dy, x, scale, bias, stats, stats, random(8, x.shape...)}, 0, []*array{x, scale, scale}},
		{"QuickGeluGrad", nil, []*array{dy, x}, 0, []*array{x}},
		{"Dropout", []*onnx.AttributeProto{onnx.IntAttr("keep", 1<<31)}, []*array{x, {shape: []int{3}, whole: []int64{4, 5, 6}}}, 0, []*array{x}},
	} {
		inplace, err := tryModel(t, 2, negated(opModel(c.op, c.attrs, c.inputs, c.outputs), c.operand), c.inputs, c.outputs)
		if err != nil {
			t.Fatal(err)
		}
		minus := zeros(c.inputs[c.operand].shape...)
		for i, v := range c.inputs[c.operand].data {
			minus.data[i] = -v
		}
		inputs := append([]*array{}, c.inputs...)
		inputs[c.operand] = minus
		want := runOp(t, 2, c.op, c.attrs, inputs, c.outputs)
		for i, v := range want[0].data {
			want[0].data[i] = float32(math.Abs(float64(v)))
		}
		equal(t, c.op, want, inplace)
	}
}
