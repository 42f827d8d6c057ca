package graph_test

import (
	"fmt"
	"math"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/graph/refeval"
)

// Values where differences say nothing: kinks, ties, zeros and the ends of the
// exponential's range. x are the inputs, y the result, dx the gradients of Σ y.
func TestSpecialValues(t *testing.T) {
	inf, ln2 := math.Inf(1), math.Ln2
	far := []float64{-1000, -100, 0, 100, 1000}
	for _, s := range []struct {
		name  string
		x     [][]float64
		build func(*graph.Builder, []*graph.Value) []*graph.Value
		y     []float64
		dx    [][]float64
	}{
		{"Max: half and half at a tie", [][]float64{{1, 1, 2, -3}, {1, 2, 1, -3}}, with2((*graph.Builder).Max),
			[]float64{1, 2, 2, -3}, [][]float64{{.5, 0, 1, .5}, {.5, 1, 0, .5}}},
		{"Min: half and half at a tie", [][]float64{{1, 1, 2, -3}, {1, 2, 1, -3}}, with2((*graph.Builder).Min),
			[]float64{1, 1, 1, -3}, [][]float64{{.5, 1, 0, .5}, {.5, 0, 1, .5}}},
		{"Max of a value and itself", [][]float64{{-1, 0, 2}},
			one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Max(x[0], x[0]) }),
			[]float64{-1, 0, 2}, [][]float64{{1, 1, 1}}},
		{"Relu: 0 at 0", [][]float64{{-1, 0, math.Copysign(0, -1), 2}}, with1((*graph.Builder).Relu),
			[]float64{0, 0, 0, 2}, [][]float64{{0, 0, 0, 1}}},
		{"Sigmoid", [][]float64{far}, with1((*graph.Builder).Sigmoid), []float64{0, 0, .5, 1, 1}, [][]float64{{0, 0, .25, 0, 0}}},
		{"Tanh", [][]float64{far}, with1((*graph.Builder).Tanh), []float64{-1, -1, 0, 1, 1}, [][]float64{{0, 0, 1, 0, 0}}},
		{"Erf", [][]float64{far}, with1((*graph.Builder).Erf), []float64{-1, -1, 0, 1, 1}, [][]float64{{0, 0, 2 / math.Sqrt(math.Pi), 0, 0}}},
		{"Softplus", [][]float64{far}, with1((*graph.Builder).Softplus), []float64{0, 0, ln2, 100, 1000}, [][]float64{{0, 0, .5, 1, 1}}},
		{"SiLU", [][]float64{far}, with1((*graph.Builder).SiLU), []float64{0, 0, 0, 100, 1000}, [][]float64{{0, 0, .5, 1, 1}}},
		{"GELU", [][]float64{far}, with1((*graph.Builder).GELU), []float64{0, 0, 0, 100, 1000}, [][]float64{{0, 0, .5, 1, 1}}},
		{"Mish", [][]float64{far}, with1((*graph.Builder).Mish), []float64{0, 0, 0, 100, 1000}, [][]float64{{0, 0, .6, 1, 1}}}, // tanh(ln 2) = 3/5
		{"Exp", [][]float64{{-1000, 0, 10}}, with1((*graph.Builder).Exp), []float64{0, 1, math.Exp(10)}, [][]float64{{0, 1, math.Exp(10)}}},
		{"Sqrt: vertical at 0", [][]float64{{0, 4, 1e20}}, with1((*graph.Builder).Sqrt), []float64{0, 2, 1e10}, [][]float64{{inf, .25, 5e-11}}},
		{"Log: vertical at 0", [][]float64{{0, 1, 1e20}}, with1((*graph.Builder).Log), []float64{-inf, 0, math.Log(1e20)}, [][]float64{{inf, 1, 1e-20}}},
		{"Pow: whole exponents of any base", [][]float64{{0, 0, -2, -2}},
			one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Pow(x[0], b.Const([]float32{1, 2, 3, 2}, 4))
			}),
			[]float64{0, 0, -8, 4}, [][]float64{{1, 0, 12, -4}}},
		{"Div: far apart", [][]float64{{1e15, 0, -1}, {1e-5, 2, 1e10}}, with2((*graph.Builder).Div),
			[]float64{1e20, 0, -1e-10}, [][]float64{{1e5, .5, 1e-10}, {-1e25, 0, 1e-20}}},
		{"Softmax: far logits", [][]float64{{1000, 1000, -1000}},
			one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Mul(b.Softmax(x[0]), b.Const([]float32{1, 2, 3}, 3))
			}), []float64{.5, 1, 0}, [][]float64{{-.25, .25, 0}}},
		{"LayerNormalization: equal elements", [][]float64{{3, 3}, {1, 2}, {5, 6}},
			one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				y, _, _ := b.LayerNormalization(x[0], x[1], x[2], 0.25)
				return y
			}), []float64{5, 6}, [][]float64{{-1, 1}, {0, 0}, {1, 1}}}, // (g − mean g)/√0.25
		{"Cast: towards zero", [][]float64{{-1.7, 0, 2.9}},
			one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Cast(b.Cast(x[0], graph.Int64), graph.Float32)
			}), []float64{-1, 0, 2}, [][]float64{{0, 0, 0}}},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := row{op: s.name, build: s.build}
			want := map[string][]float64{"y0": s.y}
			for i, x := range s.x {
				r.in = append(r.in, arg{shape: []int{len(x)}, fixed: x})
				want[fmt.Sprintf("d(x%d)", i)] = s.dx[i]
			}
			g := build(t, r, true)
			values := r.values(g)
			for k := range values["u0"] {
				values["u0"][k] = 1
			}
			compareEach(t, "refeval", evaluate(t, g, values), want)
			compareEach(t, "ONNX Runtime", runORT(t, g, values), want)
		})
	}
}

// compareEach wants each element within float32 rounding, a few times 6e-8:
// constants and inputs are float32 in refeval too.
func compareEach(t *testing.T, who string, got, want map[string][]float64) {
	t.Helper()
	for name, w := range want {
		for k, x := range w {
			y := got[name][k]
			if y != x && !(math.Abs(y-x) <= 5e-7*max(math.Abs(x), 1e-30)) && !(x == 0 && math.Abs(y) < 1e-30) {
				t.Errorf("%s: %s is %v, want %v", who, name, got[name], w)
				break
			}
		}
	}
}

// Upsample2xConv is Conv after Resize2x, by the evaluator.
func TestUpsample2xConv(t *testing.T) {
	for _, c := range []struct{ x, w []int }{
		{[]int{1, 1, 1, 1}, []int{1, 1, 3, 3}}, {[]int{2, 3, 4, 5}, []int{4, 3, 3, 3}}, {[]int{1, 2, 2, 3}, []int{3, 2, 3, 3}},
	} {
		g, err := graph.Build("upsample", func(b *graph.Builder) {
			x, w := b.Input("x", graph.Float32, c.x...), b.Input("w", graph.Float32, c.w...)
			b.Output("fused", b.Upsample2xConv(x, w))
			b.Output("apart", b.Conv(b.Resize2x(x), w, nil, graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}))
		})
		if err != nil {
			t.Fatal(err)
		}
		inputs := map[string][]float64{}
		for _, v := range g.Inputs {
			for i := range v.Numel() {
				inputs[v.Node.Name] = append(inputs[v.Node.Name], math.Sin(float64(1+i*i)))
			}
		}
		got, err := refeval.Eval(g, inputs)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range got["apart"] {
			if d := math.Abs(got["fused"][i] - want); d > 1e-12 { // sums of a few numbers of size 1 in float64
				t.Fatalf("x %v, w %v: element %d is %g, want %g", c.x, c.w, i, got["fused"][i], want)
			}
		}
	}
}
