package nn

import "immiscible/models/graph"

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
	y := attention(b, tokens, tokens, n, heads, true)
	y = b.Reshape(b.Transpose(b.Reshape(y, n, t, c), 0, 2, 1), x.Shape...)
	return rescale(b, b.Add(y, x), cfg.OutputScale)
}

// Attention is diffusers' multi-head attention of tokens x [N·T, C] to tokens y
// [N·S, D] without bias in to_q, to_k and to_v, which heads divide evenly:
//
//	softmax(to_q(x)·to_k(y)ᵀ/√d)·to_v(y), head by head, then to_out.0
//
// y is x itself for self-attention. The result is [N·T, C].
func Attention(b *graph.Builder, x, y *graph.Value, n, heads int) *graph.Value {
	if c := x.Dim(1); heads < 1 || c%heads != 0 {
		b.Fail("Attention", "%d heads do not divide %d channels", heads, c)
	}
	return attention(b, x, y, n, heads, false)
}

func attention(b *graph.Builder, x, y *graph.Value, n, heads int, bias bool) *graph.Value {
	c := x.Dim(1)
	q, k, v := Linear(b.At("to_q"), x, c, bias), Linear(b.At("to_k"), y, c, bias), Linear(b.At("to_v"), y, c, bias)
	return Linear(b.At("to_out.0"), b.Attention(q, k, v, n, heads), c, true)
}
