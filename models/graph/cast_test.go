package graph_test

import (
	"math"
	"testing"

	"immiscible/models/graph"
)

// block is a residual block with attention and its derivatives: what a U-Net is
// made of.
func block(t testing.TB) *graph.Graph {
	t.Helper()
	g, err := graph.Build("block", func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 2, 8, 6, 6)
		scale := b.Input("loss_scale", graph.Float32)
		drawn := graph.Init{Normal: 0.3}
		conv := func(name string, x *graph.Value, o, k int) *graph.Value {
			at := b.At(name)
			p := k / 2
			return at.Conv(x, at.Param("weight", drawn, o, x.Dim(1), k, k), at.Param("bias", drawn, o), graph.ConvAttrs{Pads: [4]int{p, p, p, p}})
		}
		norm := b.At("norm")
		h := conv("conv_in", x, 8, 3)
		skip := h
		h = norm.GroupNormalization(h, norm.Param("weight", graph.Init{Mean: 1}, 8), norm.Param("bias", drawn, 8), 4, 1e-5)
		h = b.Add(conv("conv_out", b.SiLU(h), 8, 3), skip)
		flat := b.Reshape(b.Transpose(h, 0, 2, 3, 1), 72, 8)
		to := b.At("to")
		w, bias := to.Param("weight", drawn, 8, 8), to.Param("bias", drawn, 8)
		q := b.Gemm(flat, w, bias)
		y := b.Add(b.MatMul(b.Attention(q, flat, flat, 2, 2), to.Param("out", drawn, 8, 8)), bias)
		loss := b.ReduceMean(b.Mul(y, y), false, 0, 1)
		b.Output("loss", loss)
		params := b.Params()
		for i, d := range b.Grad(b.Mul(loss, scale), params) {
			b.Output(params[i].Node.Name+".grad", d)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Products are half, statistics and sums float32, each weight is cast once, and
// gradients leave in float32.
func TestMixedPrecision(t *testing.T) {
	for _, test := range []struct {
		half graph.DType
		conv graph.DType // the type that convolutions have
	}{{graph.Float16, graph.Float16}, {graph.BFloat16, graph.Float32}} {
		g, err := graph.MixedPrecision(block(t), test.half, "")
		if err != nil {
			t.Fatal(err)
		}
		if !g.Recomputes {
			t.Errorf("%v: a session may merge the casts of forward and backward", test.half)
		}
		casts := map[string]int{}
		products := 0
		for _, n := range g.Nodes {
			if n.Op == "Input" || n.Op == "Constant" {
				continue
			}
			y := n.Outputs[0]
			switch n.Op {
			case "Conv":
				if products++; y.DType != test.conv {
					t.Errorf("%v: Conv of %s is %v, want %v", test.half, n.Scope, y.DType, test.conv)
				}
			case "MatMul", "FusedMatMul", "Gemm":
				if products++; y.DType != test.half {
					t.Errorf("%v: %s of %s is %v", test.half, n.Op, n.Scope, y.DType)
				}
			case "ReduceSum", "ReduceMean":
				if y.DType != graph.Float32 {
					t.Errorf("%v: %s of %s is %v", test.half, n.Op, n.Scope, y.DType)
				}
			case "LayerNormalization":
				if n.Outputs[1].DType != graph.Float32 || n.Outputs[2].DType != graph.Float32 {
					t.Errorf("%v: the statistics of %s are not float32", test.half, n.Scope)
				}
			case "Cast":
				if from := n.Inputs[0].Node; from.Param {
					casts[from.Name]++
				}
			}
			for _, in := range n.Inputs {
				if n.Op != "Cast" && n.Op != "LayerNormalization" && in != nil && isFloat(in) && in.DType != y.DType && isFloat(y) && n.Op != "Resize" {
					t.Errorf("%v: %s of %s reads %v and gives %v", test.half, n.Op, n.Scope, in, y)
				}
			}
		}
		for _, p := range g.Params() {
			if p.DType != graph.Float32 {
				t.Errorf("%v: %v is not a float32 master weight", test.half, p)
			}
			if casts[p.Node.Name] > 1 {
				t.Errorf("%v: %s is cast %d times", test.half, p.Node.Name, casts[p.Node.Name])
			}
		}
		if test.half == graph.Float16 && casts["conv_in.weight"] != 1 {
			t.Error("conv_in.weight is not cast")
		}
		for _, o := range g.Outputs {
			if o.Value.DType != graph.Float32 {
				t.Errorf("%v: output %s is %v", test.half, o.Name, o.Value.DType)
			}
		}
		// Forward and backward: 2 convolutions, 1×(dX of conv_out; x needs none)
		// and 2×9 taps; gemm 1+2, attention 2+4, matmul 1+2.
		if want := 2 + 1 + 18 + 3 + 6 + 3; products != want {
			t.Errorf("%v: %d products, want %d", test.half, products, want)
		}
		if before := lowered(t, block(t)).PeakBytes(); g.PeakBytes() >= before {
			t.Errorf("%v: activations take %d bytes, in float32 %d", test.half, g.PeakBytes(), before)
		}
	}
}

func isFloat(v *graph.Value) bool {
	return v.DType == graph.Float32 || v.DType == graph.Float16 || v.DType == graph.BFloat16
}

func lowered(t testing.TB, g *graph.Graph) *graph.Graph {
	t.Helper()
	l, err := graph.Lower(g)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// In float16 with a loss scale the gradients are those of float32 to the half
// type's digits: 2⁻¹¹ an operation, a dozen of them one after another.
func TestMixedPrecisionAgrees(t *testing.T) {
	g := block(t)
	mixed, err := graph.MixedPrecision(g, graph.Float16, "")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]float64{}
	for k, v := range g.Inputs {
		x := make([]float64, v.Numel())
		for i := range x {
			x[i] = 0.4 * math.Sin(float64(7*i+3*k+1))
		}
		values[v.Node.Name] = x
	}
	const scale = 1024
	values["loss_scale"] = []float64{scale}
	want, got := runORT(t, g, values), runORT(t, mixed, values)
	for _, o := range g.Outputs {
		largest, apart := 0.0, 0.0
		for i, x := range want[o.Name] {
			largest, apart = max(largest, math.Abs(x)), max(apart, math.Abs(x-got[o.Name][i]))
		}
		if !(apart <= 12*0x1p-11*largest) {
			t.Errorf("%s: %g apart, of %g", o.Name, apart, largest)
		}
	}
}

// A constant that half cannot hold keeps what meets it in float32, also where
// it has been moved; one that half can hold does not.
func TestMixedPrecisionConstants(t *testing.T) {
	for _, test := range []struct {
		constant float64
		want     graph.DType
	}{{1e-8, graph.Float32}, {1e6, graph.Float32}, {0.5, graph.Float16}, {0, graph.Float16}} {
		g, err := graph.Build("constant", func(b *graph.Builder) {
			x := b.Input("x", graph.Float32, 4, 4)
			b.Output("y", b.Mul(b.MatMul(x, x), b.Expand(b.Scalar(test.constant), 4, 1)))
		})
		if err != nil {
			t.Fatal(err)
		}
		if g, err = graph.MixedPrecision(g, graph.Float16, ""); err != nil {
			t.Fatal(err)
		}
		for _, n := range g.Nodes {
			if n.Op == "Mul" && n.Outputs[0].DType != test.want {
				t.Errorf("times %g is %v, want %v", test.constant, n.Outputs[0].DType, test.want)
			}
		}
	}
}

// NumPy: np.float16(x).view(np.uint16), and torch.tensor(x, dtype=torch.bfloat16).
func TestHalfBits(t *testing.T) {
	for _, test := range []struct {
		x             float32
		float, bfloat uint16
	}{
		{0, 0, 0}, {1, 0x3c00, 0x3f80}, {-2.5, 0xc100, 0xc020}, {65504, 0x7bff, 0x4780}, {65519, 0x7bff, 0x4780}, {65520, 0x7c00, 0x4780},
		{0x1p-14, 0x0400, 0x3880}, {0x1p-24, 0x0001, 0x3380}, {0x1p-25, 0, 0x3300}, {1 + 0x1p-11, 0x3c00, 0x3f80}, {1 + 3*0x1p-11, 0x3c02, 0x3f80},
		{0.1, 0x2e66, 0x3dcd}, {float32(math.Inf(-1)), 0xfc00, 0xff80},
	} {
		if got := graph.HalfBits(test.x, graph.Float16); got != test.float {
			t.Errorf("float16(%g) = %#04x, want %#04x", test.x, got, test.float)
		}
		if got := graph.HalfBits(test.x, graph.BFloat16); got != test.bfloat {
			t.Errorf("bfloat16(%g) = %#04x, want %#04x", test.x, got, test.bfloat)
		}
	}
}
