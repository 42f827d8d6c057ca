package nn

import (
	"math"

	"immiscible/models/graph"
)

// torchUniform is torch's default for Linear and Conv2d, kaiming_uniform with
// a = √5, for weight and bias alike: uniform in ±1/√fanIn.
func torchUniform(fanIn int) graph.Init { return graph.Init{Uniform: 1 / math.Sqrt(float64(fanIn))} }

// Linear is torch.nn.Linear: x [N, K] to [N, out], with parameters weight
// [out, K] and, where asked for, bias [out].
func Linear(b *graph.Builder, x *graph.Value, out int, bias bool) *graph.Value {
	in := x.Dim(-1)
	w := b.Param("weight", torchUniform(in), out, in)
	if !bias {
		return b.Gemm(x, w, nil)
	}
	return b.Gemm(x, w, b.Param("bias", torchUniform(in), out))
}

// Conv2d is torch.nn.Conv2d with a square kernel: x [N, C, H, W] to
// [N, out, H', W'], with parameters weight [out, C, k, k] and bias [out].
func Conv2d(b *graph.Builder, x *graph.Value, out, kernel int, a graph.ConvAttrs) *graph.Value {
	in := x.Dim(1)
	init := torchUniform(in * kernel * kernel)
	w := b.Param("weight", init, out, in, kernel, kernel)
	return b.Conv(x, w, b.Param("bias", init, out), a)
}

// GroupNorm is torch.nn.GroupNorm over x [N, C, ...], with parameters weight
// and bias [C].
func GroupNorm(b *graph.Builder, x *graph.Value, groups int, eps float64) *graph.Value {
	c := x.Dim(1)
	if groups < 1 || c%groups != 0 {
		b.Fail("GroupNorm", "norm_num_groups %d does not divide %d channels", groups, c)
	}
	weight := b.Param("weight", graph.Init{Mean: 1}, c)
	return b.GroupNormalization(x, weight, b.Param("bias", graph.Init{}, c), groups, eps)
}

// LayerNorm is torch.nn.LayerNorm over the last dimension of x [..., D], with
// parameters weight and bias [D].
func LayerNorm(b *graph.Builder, x *graph.Value, eps float64) *graph.Value {
	d := x.Dim(-1)
	weight := b.Param("weight", graph.Init{Mean: 1}, d)
	y, _, _ := b.LayerNormalization(x, weight, b.Param("bias", graph.Init{}, d), eps)
	return y
}

// Embedding is torch.nn.Embedding: indices [N] to rows [N, dim] of the
// parameter weight [count, dim].
func Embedding(b *graph.Builder, indices *graph.Value, count, dim int) *graph.Value {
	return b.Gather(b.Param("weight", graph.Init{Normal: 1}, count, dim), indices, 0)
}

// Activation applies the function that diffusers' get_activation names:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/activations.py
func Activation(b *graph.Builder, name string, x *graph.Value) *graph.Value {
	switch name {
	case "silu", "swish":
		return b.SiLU(x)
	case "gelu":
		return b.GELU(x)
	case "relu":
		return b.Relu(x)
	case "mish":
		return b.Mish(x)
	}
	b.Fail("Activation", "act_fn %q is not supported: want silu, swish, gelu, relu or mish", name)
	return nil
}

// Dropout sets elements to zero where a mask is false and scales the others by
// 1/(1−p). The mask is a graph input "<scope>.mask" of x's shape: whoever runs
// the graph draws it, keyed by the examples' positions, so that neither the
// provider nor the batch decides which elements fall; or the graph does, after
// graph.DrawMasks. p = 0 adds nothing.
func Dropout(b *graph.Builder, x *graph.Value, p float64) *graph.Value {
	if p == 0 {
		return x
	}
	mask := b.Input(b.Scope()+".mask", graph.Bool, x.Shape...)
	return b.Where(mask, b.Mul(x, b.Scalar(1/(1-p))), b.Scalar(0))
}
