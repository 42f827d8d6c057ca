// Package vae builds diffusers' AutoencoderKL, the autoencoder of latent
// diffusion models (Rombach et al. 2022, arXiv 2112.10752, §3.1), as graphs. A
// Config is the checkpoint's config.json, and a parameter's name is its
// state-dict key.
//
//	images [N, C, H, W] in [−1, 1]
//	  → Encoder → moments [N, 2·L, H/f, W/f] → Sample → Scale → latents
//	latents → Unscale → Decoder → images
//
// for L latent channels and f = Factor. What is too large for one run is cut
// into tiles (tiled.go).
package vae

import (
	"fmt"

	"immiscible/models/graph"
	"immiscible/models/nn"
)

// normEps is of every group norm, whatever the configuration.
const normEps = 1e-6

var samePads = graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}

// Encoder turns images [N, in_channels, H, W] into the moments of a normal
// distribution of latents, latent_parameters [N, 2·L, H/f, W/f]: L channels of
// means, then L of logarithms of variances, not clamped (Sample does that). An
// odd size loses its last row or column at each halving. Source:
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/models/autoencoders/vae.py#L62
func Encoder(b *graph.Builder, c Config, sample *graph.Value) *graph.Value {
	b.AssertShape(sample, -1, c.InChannels, -1, -1)
	if f := c.Factor(); sample.Dim(2) < f || sample.Dim(3) < f {
		b.Fail("Encoder", "a %d×%d image is smaller than one latent: want at least %d×%[3]d pixels", sample.Dim(2), sample.Dim(3), f)
	}
	e := b.At("encoder")
	h := nn.Conv2d(e.At("conv_in"), sample, c.BlockOutChannels[0], 3, samePads)
	for i, channels := range c.BlockOutChannels {
		block := e.At(fmt.Sprintf("down_blocks.%d", i))
		for j := range c.LayersPerBlock {
			h = nn.ResnetBlock2D(block.At(fmt.Sprintf("resnets.%d", j)), h, nil, c.resnet(channels))
		}
		if i < len(c.BlockOutChannels)-1 {
			h = nn.Downsample2D(block.At("downsamplers.0"), h, 0)
		}
	}
	h = midBlock(e.At("mid_block"), c, h)
	h = output(e, c, h, 2*c.LatentChannels)
	if c.UseQuantConv {
		h = nn.Conv2d(b.At("quant_conv"), h, 2*c.LatentChannels, 1, graph.ConvAttrs{})
	}
	return h
}

// Decoder turns latents as the encoder means them (Unscale), [N, L, h, w], into
// images [N, out_channels, f·h, f·w], which are in [−1, 1] but for the
// network's error. Source:
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/models/autoencoders/vae.py#L183
func Decoder(b *graph.Builder, c Config, latent *graph.Value) *graph.Value {
	b.AssertShape(latent, -1, c.LatentChannels, -1, -1)
	if c.UsePostQuantConv {
		latent = nn.Conv2d(b.At("post_quant_conv"), latent, c.LatentChannels, 1, graph.ConvAttrs{})
	}
	d := b.At("decoder")
	last := len(c.BlockOutChannels) - 1
	h := nn.Conv2d(d.At("conv_in"), latent, c.BlockOutChannels[last], 3, samePads)
	h = midBlock(d.At("mid_block"), c, h)
	for i := range c.BlockOutChannels {
		block := d.At(fmt.Sprintf("up_blocks.%d", i))
		for j := range c.LayersPerBlock + 1 {
			h = nn.ResnetBlock2D(block.At(fmt.Sprintf("resnets.%d", j)), h, nil, c.resnet(c.BlockOutChannels[last-i]))
		}
		if i < last {
			h = nn.Upsample2D(block.At("upsamplers.0"), h)
		}
	}
	return output(d, c, h, c.OutChannels)
}

func (c Config) resnet(out int) nn.Resnet {
	return nn.Resnet{Out: out, Groups: c.NormNumGroups, Eps: normEps, Act: c.ActFn, OutputScale: 1}
}

// midBlock is residual block, attention with one head, residual block.
func midBlock(b *graph.Builder, c Config, h *graph.Value) *graph.Value {
	channels := h.Dim(1)
	h = nn.ResnetBlock2D(b.At("resnets.0"), h, nil, c.resnet(channels))
	if c.MidBlockAddAttention {
		h = nn.Attention2D(b.At("attentions.0"), h, nn.SelfAttention{HeadDim: channels, Groups: c.NormNumGroups, Eps: normEps, OutputScale: 1})
	}
	return nn.ResnetBlock2D(b.At("resnets.1"), h, nil, c.resnet(channels))
}

// output normalises, applies SiLU (whatever act_fn says) and convolves.
func output(b *graph.Builder, c Config, h *graph.Value, channels int) *graph.Value {
	h = b.SiLU(nn.GroupNorm(b.At("conv_norm_out"), h, c.NormNumGroups, normEps))
	return nn.Conv2d(b.At("conv_out"), h, channels, 3, samePads)
}
