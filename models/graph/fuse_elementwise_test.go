package graph_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"immiscible/models/graph"
)

// residualBlock is diffusers' ResnetBlock2D with dropout, and its derivatives by
// everything but the mask.
func residualBlock(b *graph.Builder) {
	drawn := graph.Init{Normal: 0.3}
	norm := func(name string, x *graph.Value) *graph.Value {
		at := b.At(name)
		y := at.GroupNormalization(x, at.Param("weight", graph.Init{Mean: 1}, x.Dim(1)), at.Param("bias", drawn, x.Dim(1)), 4, 1e-5)
		return at.SiLU(y)
	}
	conv := func(name string, x *graph.Value, o int) *graph.Value {
		at := b.At(name)
		return at.Conv(x, at.Param("weight", drawn, o, x.Dim(1), 3, 3), at.Param("bias", drawn, o), graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}})
	}
	x, time, mask := b.Input("x", graph.Float32, 2, 8, 4, 4), b.Input("time", graph.Float32, 2, 16), b.Input("mask", graph.Bool, 2, 8, 4, 4)
	first := conv("conv_in", x, 8)
	h := conv("conv1", norm("norm1", first), 8)
	to := b.At("time_emb_proj")
	embedding := to.Gemm(to.SiLU(time), to.Param("weight", drawn, 8, 16), to.Param("bias", drawn, 8))
	h = b.Add(h, b.Reshape(embedding, 2, 8, 1, 1))
	h = norm("norm2", h)
	h = b.Where(mask, b.Mul(h, b.Scalar(1.25)), b.Scalar(0))
	h = b.Add(first, conv("conv2", h, 8))
	train(b, conv("conv_out", h, 4))
}

// transformerBlock is a half of diffusers' BasicTransformerBlock: attention and
// the gated feed-forward layer, and its derivatives.
func transformerBlock(b *graph.Builder) {
	drawn := graph.Init{Normal: 0.3}
	linear := func(name string, x *graph.Value, o int) *graph.Value {
		at := b.At(name)
		return at.Gemm(x, at.Param("weight", drawn, o, x.Dim(1)), at.Param("bias", drawn, o))
	}
	project := func(name string, x *graph.Value) *graph.Value {
		at := b.At(name)
		return at.Gemm(x, at.Param("weight", drawn, 16, 16), nil)
	}
	norm := func(name string, x *graph.Value) *graph.Value {
		at := b.At(name)
		y, _, _ := at.LayerNormalization(x, at.Param("weight", graph.Init{Mean: 1}, x.Dim(1)), at.Param("bias", drawn, x.Dim(1)), 1e-5)
		return y
	}
	x := linear("proj_in", b.Input("x", graph.Float32, 2*20, 16), 16)
	h := norm("norm1", x)
	h = b.Attention(project("to_q", h), project("to_k", h), project("to_v", h), 2, 2)
	x = b.Add(linear("to_out", h, 16), x)
	halves := b.Split(linear("ff.in", norm("norm3", x), 64), 1, 32, 32)
	x = b.Add(linear("ff.out", b.Mul(halves[0], b.FusedGELU(halves[1])), 16), x)
	train(b, linear("proj_out", x, 16))
}

// train makes outputs of a weighted mean of y² and of its gradients.
func train(b *graph.Builder, y *graph.Value) {
	flat := b.Reshape(y, y.Dim(0), -1)
	loss := b.ReduceMean(b.ReduceMean(b.Mul(flat, flat), false, 1), false)
	b.Output("loss", loss)
	params := b.Params()
	for i, d := range b.Grad(b.Mul(loss, b.Input("loss_scale", graph.Float32)), params) {
		b.Output(params[i].Node.Name+".grad", d)
	}
}

// forCUDA is a graph as the CUDA provider gets it, in half where that is a half
// type.
func forCUDA(t testing.TB, g *graph.Graph, half graph.DType) *graph.Graph {
	t.Helper()
	var err error
	if half != graph.Float32 {
		if g, err = graph.MixedPrecision(g, half, "cuda"); err != nil {
			t.Fatal(err)
		}
	}
	if g, err = graph.Native(g, "cuda"); err != nil {
		t.Fatal(err)
	}
	return g
}

// What is kept, what is lowered and what is fused, node by node. Elementwise are,
// of a residual block, dropout both ways, the loss and its scale, the gradient of
// the loss, and in half two nodes whose operands were widened; of a transformer
// block, two residuals with their biases, GEGLU both ways, the last bias with the
// square and again with its gradient, the loss scale, a softmax's gradient where
// attention is lowered, and the sum of three gradients.
func TestNativeCUDA(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(b *graph.Builder)
		half  graph.DType
		want  map[string]int
	}{
		{"residual block", residualBlock, graph.Float32, map[string]int{
			"Conv": 4, "ConvInputGrad": 3, "ConvWeightGrad": 4, "ConvBiasGrad": 5, "GroupNormalization": 2, "GroupNormalizationGrad": 2,
			"QuickGelu": 1, "Gemm": 1, "FusedMatMul": 1, "Add": 2, "Mul": 2, "Expand": 1, "ReduceMean": 2, "ReduceSum": 1, "Elementwise": 4,
		}},
		{"residual block", residualBlock, graph.Float16, map[string]int{
			"Conv": 4, "ConvInputGrad": 3, "ConvWeightGrad": 4, "ConvBiasGrad": 6, "GroupNormalization": 2, "GroupNormalizationGrad": 2,
			"Gemm": 1, "FusedMatMul": 1, "Add": 2, "Mul": 1, "Expand": 1, "ReduceMean": 2, "Cast": 18, "Elementwise": 6,
		}},
		{"transformer block", transformerBlock, graph.Float32, map[string]int{
			"LayerNormalization": 2, "LayerNormalizationGrad": 2, "Softmax": 1, "Transpose": 8, "Gemm": 4, "FusedMatMul": 19, "MatMul": 9, "ConvBiasGrad": 6,
			"Split": 3, "Concat": 2, "Add": 3, "Mul": 2, "Expand": 1, "ReduceMean": 2, "ReduceSum": 1, "Elementwise": 9,
		}},
		{"transformer block", transformerBlock, graph.Float16, map[string]int{
			"LayerNormalization": 2, "LayerNormalizationGrad": 2, "Attention": 1, "AttentionGrad": 1, "Gemm": 4, "FusedMatMul": 14, "MatMul": 8, "ConvBiasGrad": 6,
			"Split": 3, "Concat": 2, "Add": 3, "Mul": 1, "Expand": 1, "ReduceMean": 2, "Cast": 26, "Elementwise": 8,
		}},
	} {
		t.Run(fmt.Sprint(c.name, " ", c.half), func(t *testing.T) {
			g, err := graph.Build("test", c.build)
			if err != nil {
				t.Fatal(err)
			}
			native := forCUDA(t, g, c.half)
			got := ops(native)
			for _, op := range []string{"Input", "Constant", "Reshape"} {
				delete(got, op)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("nodes %v, want %v", got, c.want)
			}
			if peak, before := native.PeakBytes(), lowered(t, g).PeakBytes(); peak > before {
				t.Errorf("intermediate values take %d bytes, %d in standard operators", peak, before)
			}
			values := row{}.values(g)
			tol := lowerTolerance
			if c.half != graph.Float32 { // half constants, and nothing else, are rounded: 1.25 and 1 are not
				tol = constTolerance
			}
			compare(t, evaluate(t, native, values), evaluate(t, g, values), tol)
		})
	}
}

// In half an operator of ours reads and writes images in half, and parameters,
// their gradients and statistics in float32.
func TestMixedPrecisionKeeps(t *testing.T) {
	for _, half := range []graph.DType{graph.Float16, graph.BFloat16} {
		types := map[string]string{}
		for _, build := range []func(b *graph.Builder){residualBlock, transformerBlock} {
			g, err := graph.Build("test", build)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range forCUDA(t, g, half).Nodes {
				if n.Domain != graph.Domain || n.Op == "Elementwise" {
					continue
				}
				text := ""
				for _, v := range n.Inputs {
					text += short(v, half)
				}
				text += " "
				for _, v := range n.Outputs {
					text += short(v, half)
				}
				types[n.Op] = text
			}
		}
		want := map[string]string{
			"ConvInputGrad": "hh h", "ConvWeightGrad": "hh h", "ConvBiasGrad": "h f", "GroupNormalization": "hff hff",
			"GroupNormalizationGrad": "hhffff hff", "LayerNormalizationGrad": "hhfff hff", "Attention": "hhh hf", "AttentionGrad": "hhhhhf hhh",
		}
		if half == graph.BFloat16 { // Conv is float32 there, and what follows it
			want["GroupNormalization"], want["GroupNormalizationGrad"] = "fff fff", "ffffff fff"
		}
		for op, w := range want {
			if got := types[op]; got != w && got != strings.Replace(w, " ", w[:1]+" ", 1) { // with an addend
				t.Errorf("%v: %s has the types %s, want %s", half, op, got, w)
			}
		}
	}
}

func short(v *graph.Value, half graph.DType) string {
	switch {
	case v == nil:
		return "-"
	case v.DType == half:
		return "h"
	case v.DType == graph.Float32:
		return "f"
	}
	return "?"
}

// A comparison of a widened value, which others than elementwise nodes read, gives a
// truth value: no kernel of our own writes one.
func TestFuseElementwiseKeepsTruth(t *testing.T) {
	g, err := graph.Build("test", func(b *graph.Builder) {
		x, y := b.Input("x", graph.Float16, 2, 3), b.Input("y", graph.Float32, 2, 3)
		b.Output("z", b.Greater(b.Cast(x, graph.Float32), y))
	})
	if err != nil {
		t.Fatal(err)
	}
	native, err := graph.Native(g, "cuda")
	if err != nil {
		t.Fatal(err)
	}
	if got := ops(native); got["Greater"] != 1 || got["Elementwise"] != 0 {
		t.Errorf("nodes %v, want ONNX's Greater", got)
	}
}
