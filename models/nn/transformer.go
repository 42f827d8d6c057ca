package nn

import (
	"fmt"

	"immiscible/models/graph"
)

// Transformer configures a Transformer2D.
type Transformer struct {
	Heads              int  // they divide the channels
	Layers             int  // transformer_blocks
	Groups             int  // of the group norm before, whose eps is 1e-6
	LinearProjection   bool // proj_in and proj_out are Linear instead of 1×1 convolutions
	OnlyCrossAttention bool // attn1 attends to the encoder's states too
}

// Transformer2D is diffusers' Transformer2DModel for continuous input: the
// pixels of x [N, C, H, W] as tokens attend to each other and to states
// [N, S, D], and x is added to the result:
//
//	y = x + proj_out(blocks(proj_in(tokens(norm(x)))))
//
// A 1×1 convolution is a Linear whose weight has two dimensions more, so that
// both kinds of projection are one product of tokens. Source:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/transformers/transformer_2d.py
func Transformer2D(b *graph.Builder, x, states *graph.Value, cfg Transformer) *graph.Value {
	n, c, t := x.Dim(0), x.Dim(1), x.Dim(2)*x.Dim(3)
	h := GroupNorm(b.At("norm"), x, cfg.Groups, 1e-6)
	h = b.Reshape(b.Transpose(b.Reshape(h, n, c, t), 0, 2, 1), n*t, c)
	h = projection(b.At("proj_in"), h, c, cfg.LinearProjection)
	s := b.Reshape(states, n*states.Dim(1), states.Dim(2))
	for i := range cfg.Layers {
		h = BasicTransformerBlock(b.At(fmt.Sprintf("transformer_blocks.%d", i)), h, s, n, cfg.Heads, cfg.OnlyCrossAttention)
	}
	h = projection(b.At("proj_out"), h, c, cfg.LinearProjection)
	h = b.Reshape(b.Transpose(b.Reshape(h, n, t, c), 0, 2, 1), x.Shape...)
	return b.Add(h, x)
}

// projection is Linear, or a convolution [out, in, 1, 1] of one pixel a token.
func projection(b *graph.Builder, x *graph.Value, out int, linear bool) *graph.Value {
	if linear {
		return Linear(b, x, out, true)
	}
	in := x.Dim(1)
	w := b.Reshape(b.Param("weight", torchUniform(in), out, in, 1, 1), out, in)
	return b.Gemm(x, w, b.Param("bias", torchUniform(in), out))
}

// BasicTransformerBlock is diffusers' block of tokens x [N·T, C] that attend to
// themselves (with onlyCross to the states as well), then to states [N·S, D],
// then pass a GEGLU feed-forward of four times the width:
//
//	x += attn1(norm1(x));  x += attn2(norm2(x), states);  x += ff(norm3(x))
//
// Source:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/attention.py#L859
func BasicTransformerBlock(b *graph.Builder, x, states *graph.Value, n, heads int, onlyCross bool) *graph.Value {
	const eps = 1e-5
	h := LayerNorm(b.At("norm1"), x, eps)
	to := h
	if onlyCross {
		to = states
	}
	x = b.Add(Attention(b.At("attn1"), h, to, n, heads), x)
	x = b.Add(Attention(b.At("attn2"), LayerNorm(b.At("norm2"), x, eps), states, n, heads), x)
	return b.Add(FeedForward(b.At("ff"), LayerNorm(b.At("norm3"), x, eps)), x)
}

// FeedForward is diffusers' with GEGLU (Shazeer 2020, arXiv 2002.05202, §2) for
// tokens x [M, C]: net.2(a·GELU(g)) with a, g the halves of net.0.proj(x) [M, 8C].
func FeedForward(b *graph.Builder, x *graph.Value) *graph.Value {
	c := x.Dim(1)
	halves := b.Split(Linear(b.At("net.0.proj"), x, 8*c, true), 1, 4*c, 4*c)
	return Linear(b.At("net.2"), b.Mul(halves[0], b.FusedGELU(halves[1])), c, true)
}
