package native_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"immiscible/models/engine/enginetest"
	"immiscible/models/onnx"
)

// storage is a type that tensors are stored in. What is rounded to it once is off
// by at most half its unit in the last place.
type storage struct {
	name  string
	dtype onnx.TensorProto_DataType
	unit  float64
}

var storages = []storage{
	{"float32", onnx.TensorProto_FLOAT, 0x1p-23},
	{"float16", onnx.TensorProto_FLOAT16, 0x1p-10},
	{"bfloat16", onnx.TensorProto_BFLOAT16, 0x1p-7},
}

// exact makes a's numbers such that all storages hold them.
func exact(a *array) *array {
	for i, v := range a.data {
		a.data[i] = math.Float32frombits(math.Float32bits(v) &^ 0xffff)
		if math.Abs(float64(v)) < 0x1p-6 {
			a.data[i] = 0
		}
	}
	return a
}

// tryStored runs an operator on the stand-in, its operands of storage s.
func tryStored(t *testing.T, deterministic bool, s storage, op string, attrs []*onnx.AttributeProto, inputs, outputs []*array, wideInputs, wideOutputs uint) ([]*array, error) {
	t.Helper()
	e := enginetest.OnStandIns(t, deterministic)
	return runModel(t, e, storedAs(opModel(op, attrs, inputs, outputs), s, wideInputs, wideOutputs), inputs, outputs)
}

func runStored(t *testing.T, deterministic bool, s storage, op string, attrs []*onnx.AttributeProto, inputs, outputs []*array, wideInputs, wideOutputs uint) []*array {
	t.Helper()
	got, err := tryStored(t, deterministic, s, op, attrs, inputs, outputs, wideInputs, wideOutputs)
	if err != nil {
		t.Fatalf("%s in %s: %v", op, s.name, err)
	}
	return got
}

func TestCUDAConvolutionGradients(t *testing.T) {
	for _, g := range []geometry{
		{2, 3, 7, 9, 5, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{2, 4, 8, 6, 3, 3, 3, 2, 2, [4]int{1, 1, 1, 1}},
		{1, 5, 8, 9, 2, 3, 3, 2, 2, [4]int{0, 0, 1, 1}},
		{2, 3, 6, 5, 4, 4, 4, 2, 2, [4]int{1, 1, 1, 1}},
		{3, 6, 5, 4, 7, 1, 1, 1, 1, [4]int{}},
		{1, 3, 9, 7, 2, 1, 1, 2, 2, [4]int{}}, // rows and columns that no tap reads
		{1, 2, 6, 8, 3, 3, 5, 1, 2, [4]int{2, 0, 1, 3}},
	} {
		oh, ow := g.out()
		x, weight, dy := exact(random(1, g.n, g.c, g.h, g.w)), exact(random(2, g.o, g.c, g.kh, g.kw)), exact(random(3, g.n, g.o, oh, ow))
		_, dx, dweight := g.reference(x.data, weight.data, nil, dy.data)
		for _, s := range storages {
			for _, deterministic := range []bool{false, true} {
				what := fmt.Sprintf("%v, %s, deterministic %v: ", g, s.name, deterministic)
				within := s.unit + tolerance
				got := runStored(t, deterministic, s, "ConvInputGrad", g.inputAttrs(), []*array{dy, weight}, []*array{x}, 0, 0)
				compareWithin(t, what+"dx", got[0], dx, within)
				got = runStored(t, deterministic, s, "ConvWeightGrad", g.attrs(), []*array{x, dy}, []*array{weight}, 0, 0)
				compareWithin(t, what+"dweight", got[0], dweight, within)
			}
		}
	}
}

func TestCUDAAttention(t *testing.T) {
	for _, c := range []attentionCase{
		{2, 6, 5, 2, 8, 0.5},
		{1, 20, 77, 3, 40, 0.158},
		{2, 33, 17, 1, 80, 0.112},
		{1, 5, 9, 2, 160, 0.079},
		{1, 16, 16, 1, 256, 0.0625},
		{3, 1, 1, 2, 64, 1},
	} {
		q, k, v, dy := c.operands()
		for _, a := range []*array{q, k, v, dy} {
			exact(a)
		}
		y, stats, dq, dk, dv := c.reference(q.data, k.data, v.data, dy.data)
		for _, s := range storages[1:] {
			for _, deterministic := range []bool{false, true} {
				what := fmt.Sprintf("%+v, %s, deterministic %v: ", c, s.name, deterministic)
				// The weights and their gradients are rounded before they multiply, y
				// before it makes Σ dy∘y.
				within := 4 * s.unit
				rows := zeros(c.n, c.heads, c.t)
				got := runStored(t, deterministic, s, "Attention", c.attrs(), []*array{q, k, v}, []*array{q, rows}, 0, 1<<1)
				compareWithin(t, what+"y", got[0], y, within)
				compareWithin(t, what+"stats", got[1], stats, tolerance)
				alone := runStored(t, true, s, "Attention", c.attrs(), []*array{q, k, v}, []*array{q}, 0, 0)
				compareWithin(t, what+"y without stats", alone[0], y, within)
				grads := runStored(t, deterministic, s, "AttentionGrad", c.attrs(), []*array{dy, q, k, v, got[0], got[1]}, []*array{q, k, v}, 1<<5, 0)
				if c.s > 1 { // else the true gradients of q and k are zero
					compareWithin(t, what+"dq", grads[0], dq, within)
					compareWithin(t, what+"dk", grads[1], dk, within)
				}
				compareWithin(t, what+"dv", grads[2], dv, within)
			}
		}
	}
}

// TestCUDADeterminism: one of the stand-in's engines is never the same twice, and
// comes before the others that float32 without TF32 allows.
func TestCUDADeterminism(t *testing.T) {
	g := geometry{2, 4, 8, 6, 3, 3, 3, 1, 1, [4]int{1, 1, 1, 1}}
	x, dy := random(1, g.n, g.c, g.h, g.w), random(3, g.n, g.o, g.h, g.w)
	_, _, dweight := g.reference(x.data, make([]float32, g.o*g.c*9), nil, dy.data)
	same := func(deterministic bool) bool {
		var first []float32
		for range 4 {
			got := runStored(t, deterministic, storages[0], "ConvWeightGrad", g.attrs(), []*array{x, dy}, []*array{zeros(g.o, g.c, g.kh, g.kw)}, 0, 0)
			// Nothing is rounded to TF32, whose factors are off by up to 2⁻¹¹.
			compare(t, "dweight", got[0], dweight)
			if first == nil {
				first = got[0].data
			}
			for i, v := range got[0].data {
				if v != first[i] {
					return false
				}
			}
		}
		return true
	}
	if !same(true) || same(false) {
		t.Error("got the nondeterministic engine where results must not vary, or another one where they may")
	}
}

func TestCUDARefusals(t *testing.T) {
	g := geometry{1, 2, 4, 4, 2, 3, 3, 1, 1, [4]int{1, 1, 1, 1}}
	x, weight := random(1, 1, 2, 4, 4), random(2, 2, 2, 3, 3)
	odd, wide := attentionCase{1, 4, 4, 2, 12, 1}, attentionCase{1, 4, 4, 1, 264, 1}
	for _, c := range []struct {
		storage storage
		op      string
		attrs   []*onnx.AttributeProto
		inputs  []*array
		want    string
	}{
		{storages[0], "ConvInputGrad", g.inputAttrs(), []*array{x, weight, x}, "no addend on a GPU"},
		{storages[1], "Attention", odd.attrs(), []*array{random(1, 4, 24), random(2, 4, 24), random(3, 4, 24)}, "Attention of 1 × 2 heads of 12 columns, 4 queries, 4 keys, float16: cuDNN wants"},
		{storages[2], "Attention", wide.attrs(), []*array{random(1, 4, 264), random(2, 4, 264), random(3, 4, 264)}, "use the portable lowering"},
		{storages[0], "Attention", attentionCase{1, 4, 4, 1, 8, 1}.attrs(), []*array{random(1, 4, 8), random(2, 4, 8), random(3, 4, 8)}, "float32: cuDNN wants float16 or bfloat16"},
	} {
		_, err := tryStored(t, false, c.storage, c.op, c.attrs, c.inputs, c.inputs[:1], 0, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.op, err, c.want)
		}
	}
}
