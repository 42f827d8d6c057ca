package nn

import (
	"math"

	"immiscible/models/graph"
)

// SelfAttention configures diffusers' Attention as UNet2DModel and AutoencoderKL
// use it.
type SelfAttention struct {
	HeadDim     int     // width of one head; it divides the channels
	Groups      int     // of the group norm before; 0: no norm
	Eps         float64 // of the group norm
	OutputScale float64 // rescale_output_factor: the sum is divided by it
}

// Attention2D lets the pixels of x [N, C, H, W] attend to each other:
//
//	q, k, v = to_q(t), to_k(t), to_v(t)   for t = tokens(norm(x)) [N, T, C]
//	y = (x + to_out(softmax(q·kᵀ/√d)·v)) / rescale_output_factor
//
// Source:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/attention_processor.py#L2666
func Attention2D(b *graph.Builder, x *graph.Value, cfg SelfAttention) *graph.Value {
	n, c, t := x.Dim(0), x.Dim(1), x.Dim(2)*x.Dim(3)
	if cfg.HeadDim < 1 || c%cfg.HeadDim != 0 {
		b.Fail("Attention", "attention_head_dim %d does not divide %d channels", cfg.HeadDim, c)
	}
	heads := c / cfg.HeadDim
	h := x
	if cfg.Groups > 0 {
		h = GroupNorm(b.At("group_norm"), h, cfg.Groups, cfg.Eps)
	}
	tokens := b.Reshape(b.Transpose(b.Reshape(h, n, c, t), 0, 2, 1), n*t, c)
	split := func(name string) *graph.Value { // [N·T, C] → [N, heads, T, d]
		y := Linear(b.At(name), tokens, c, true)
		return b.Transpose(b.Reshape(y, n, t, heads, cfg.HeadDim), 0, 2, 1, 3)
	}
	q, k, v := split("to_q"), split("to_k"), split("to_v")
	weights := b.Softmax(b.FusedMatMul(q, k, false, true, 1/math.Sqrt(float64(cfg.HeadDim)))) // [N, heads, T, T]
	y := b.Reshape(b.Transpose(b.MatMul(weights, v), 0, 2, 1, 3), n*t, c)
	y = Linear(b.At("to_out.0"), y, c, true)
	y = b.Reshape(b.Transpose(b.Reshape(y, n, t, c), 0, 2, 1), x.Shape...)
	return rescale(b, b.Add(y, x), cfg.OutputScale)
}
