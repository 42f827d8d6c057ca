package unet

import (
	"fmt"

	"immiscible/models/graph"
	"immiscible/models/nn"
)

// body is what both classes have between the time embedding and the output.
// Source of its blocks:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/unets/unet_2d_blocks.py
type body struct {
	first, out          int // channels after conv_in and conv_out
	kernelIn, kernelOut int // sides of conv_in's and conv_out's kernels, odd
	down, up            []level
	mid                 func(b *graph.Builder, h *graph.Value) *graph.Value // nil: no mid block
	groups              int                                                 // of conv_norm_out
	eps                 float64
	act                 string // after conv_norm_out
}

// level is one block of the way down or up.
type level struct {
	layers   int                                                 // residual blocks
	resnet   nn.Resnet                                           // each of them
	attend   func(b *graph.Builder, h *graph.Value) *graph.Value // follows each; nil: nothing does
	resample func(b *graph.Builder, h *graph.Value) *graph.Value // ends the block; nil in the last one
}

// forward maps sample [N, C, H, W] and the time embedding [N, D] to
// [N, out, H, W].
func (u body) forward(b *graph.Builder, sample, temb *graph.Value) *graph.Value {
	if shrink := 1 << (len(u.down) - 1); sample.Dim(2)%shrink != 0 || sample.Dim(3)%shrink != 0 {
		b.Fail("UNet2D", "a %d×%d image cannot be halved %d times: want multiples of %d",
			sample.Dim(2), sample.Dim(3), len(u.down)-1, shrink)
	}
	h := nn.Conv2d(b.At("conv_in"), sample, u.first, u.kernelIn, samePads(u.kernelIn))
	skips := []*graph.Value{h}
	for i, l := range u.down {
		h, skips = l.goDown(b.At(fmt.Sprintf("down_blocks.%d", i)), h, temb, skips)
	}
	if u.mid != nil {
		h = u.mid(b.At("mid_block"), h)
	}
	for i, l := range u.up {
		h, skips = l.goUp(b.At(fmt.Sprintf("up_blocks.%d", i)), h, temb, skips)
	}
	h = nn.Activation(b, u.act, nn.GroupNorm(b.At("conv_norm_out"), h, u.groups, u.eps))
	return nn.Conv2d(b.At("conv_out"), h, u.out, u.kernelOut, samePads(u.kernelOut))
}

// goDown runs residual blocks, each followed by attention where there is any,
// then halving. Every result is kept for the way up.
func (l level) goDown(b *graph.Builder, h, temb *graph.Value, skips []*graph.Value) (*graph.Value, []*graph.Value) {
	for j := range l.layers {
		h = l.layer(b, j, h, temb)
		skips = append(skips, h)
	}
	if l.resample == nil {
		return h, skips
	}
	h = l.resample(b.At("downsamplers.0"), h)
	return h, append(skips, h)
}

// goUp runs residual blocks, each of which first takes the latest kept result of
// the way down beside its input, then doubling.
func (l level) goUp(b *graph.Builder, h, temb *graph.Value, skips []*graph.Value) (*graph.Value, []*graph.Value) {
	for j := range l.layers {
		last := len(skips) - 1
		h, skips = b.Concat(1, h, skips[last]), skips[:last]
		h = l.layer(b, j, h, temb)
	}
	if l.resample != nil {
		h = l.resample(b.At("upsamplers.0"), h)
	}
	return h, skips
}

func (l level) layer(b *graph.Builder, j int, h, temb *graph.Value) *graph.Value {
	h = nn.ResnetBlock2D(b.At(fmt.Sprintf("resnets.%d", j)), h, temb, l.resnet)
	if l.attend != nil {
		h = l.attend(b.At(fmt.Sprintf("attentions.%d", j)), h)
	}
	return h
}

// samePads keep an image's size under a kernel of that odd side.
func samePads(kernel int) graph.ConvAttrs {
	p := (kernel - 1) / 2
	return graph.ConvAttrs{Pads: [4]int{p, p, p, p}}
}

// center maps [0, 1] to [−1, 1], as center_input_sample asks.
func center(b *graph.Builder, sample *graph.Value) *graph.Value {
	return b.Sub(b.Mul(sample, b.Scalar(2)), b.Scalar(1))
}
