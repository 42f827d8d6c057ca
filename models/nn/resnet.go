package nn

import "immiscible/models/graph"

// Resnet configures a ResnetBlock2D.
type Resnet struct {
	Out         int     // output channels
	Groups      int     // of both group norms
	Eps         float64 // of both group norms
	Act         string  // activation
	ScaleShift  bool    // time_embedding_norm "scale_shift" instead of "default"
	Dropout     float64 // probability
	OutputScale float64 // output_scale_factor: the sum is divided by it
	Up, Down    bool    // resample by 2 between the first norm and convolution
}

// ResnetBlock2D is diffusers' residual block for x [N, C, H, W] and the time
// embedding temb [N, D]:
//
//	h = conv1(act(norm1(x))) + time_emb_proj(act(temb))
//	y = (shortcut(x) + conv2(dropout(act(norm2(h))))) / output_scale_factor
//
// With scale_shift, time_emb_proj gives a scale and a shift that are applied
// after norm2 as h·(1 + scale) + shift. A nil temb, which autoencoders have,
// leaves that part and its parameters out. The shortcut is a 1×1 convolution where
// the channels change. Source:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/resnet.py#L189
func ResnetBlock2D(b *graph.Builder, x, temb *graph.Value, cfg Resnet) *graph.Value {
	same := graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}
	h := Activation(b, cfg.Act, GroupNorm(b.At("norm1"), x, cfg.Groups, cfg.Eps))
	switch {
	case cfg.Up:
		x, h = b.Resize2x(x), b.Resize2x(h)
	case cfg.Down:
		x, h = AvgPool2x(b, x), AvgPool2x(b, h)
	}
	h = Conv2d(b.At("conv1"), h, cfg.Out, 3, same)

	var t *graph.Value
	if temb != nil {
		width := cfg.Out
		if cfg.ScaleShift {
			width = 2 * cfg.Out
		}
		t = Linear(b.At("time_emb_proj"), Activation(b, cfg.Act, temb), width, true)
		t = b.Reshape(t, t.Dim(0), width, 1, 1)
	}
	if temb != nil && !cfg.ScaleShift {
		h = b.Add(h, t)
	}
	h = GroupNorm(b.At("norm2"), h, cfg.Groups, cfg.Eps)
	if temb != nil && cfg.ScaleShift {
		parts := b.Split(t, 1, cfg.Out, cfg.Out)
		h = b.Add(b.Mul(h, b.Add(parts[0], b.Scalar(1))), parts[1])
	}
	h = Dropout(b.At("dropout"), Activation(b, cfg.Act, h), cfg.Dropout)
	h = Conv2d(b.At("conv2"), h, cfg.Out, 3, same)

	if x.Dim(1) != cfg.Out {
		x = Conv2d(b.At("conv_shortcut"), x, cfg.Out, 1, graph.ConvAttrs{})
	}
	return rescale(b, b.Add(x, h), cfg.OutputScale)
}

// rescale divides by diffusers' output_scale_factor.
func rescale(b *graph.Builder, x *graph.Value, factor float64) *graph.Value {
	if factor == 1 {
		return x
	}
	return b.Div(x, b.Scalar(factor))
}
