package unet

import (
	"fmt"
	"strings"

	"immiscible/models/graph"
	"immiscible/models/nn"
)

// Source of the three blocks:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/unets/unet_2d_blocks.py

func (c Config) resnet(out int) nn.Resnet {
	return nn.Resnet{Out: out, Groups: c.NormNumGroups, Eps: c.NormEps, Act: c.ActFn,
		ScaleShift: c.ResnetTimeScaleShift == "scale_shift", Dropout: c.Dropout, OutputScale: 1}
}

func (c Config) attention(channels int) nn.SelfAttention {
	return nn.SelfAttention{HeadDim: c.headDim(channels), Groups: c.NormNumGroups, Eps: c.NormEps, OutputScale: 1}
}

// downBlock is DownBlock2D or AttnDownBlock2D: residual blocks, each followed
// by attention where the type says so, then halving in all blocks but the last.
// Every result is kept for the way up.
func downBlock(b *graph.Builder, c Config, i, channels int, h, temb *graph.Value, skips []*graph.Value) (*graph.Value, []*graph.Value) {
	attends := strings.HasPrefix(c.DownBlockTypes[i], "Attn")
	for j := range c.LayersPerBlock {
		h = nn.ResnetBlock2D(b.At(fmt.Sprintf("resnets.%d", j)), h, temb, c.resnet(channels))
		if attends {
			h = nn.Attention2D(b.At(fmt.Sprintf("attentions.%d", j)), h, c.attention(channels))
		}
		skips = append(skips, h)
	}
	if i == len(c.BlockOutChannels)-1 {
		return h, skips
	}
	if scope := b.At("downsamplers.0"); attends && deref(c.DownsampleType) == "resnet" {
		r := c.resnet(channels)
		r.Down = true
		h = nn.ResnetBlock2D(scope, h, temb, r)
	} else {
		h = nn.Downsample2D(scope, h, c.DownsamplePadding)
	}
	return h, append(skips, h)
}

// midBlock is UNetMidBlock2D: residual block, attention, residual block. Its
// attention has no group norm with scale_shift, unless attn_norm_num_groups
// asks for one.
func midBlock(b *graph.Builder, c Config, h, temb *graph.Value) *graph.Value {
	channels := h.Dim(1)
	r := c.resnet(channels)
	r.OutputScale = c.MidBlockScaleFactor
	h = nn.ResnetBlock2D(b.At("resnets.0"), h, temb, r)
	if c.AddAttention {
		a := c.attention(channels)
		a.OutputScale = c.MidBlockScaleFactor
		switch {
		case c.AttnNormNumGroups != nil:
			a.Groups = *c.AttnNormNumGroups
		case r.ScaleShift:
			a.Groups = 0
		}
		h = nn.Attention2D(b.At("attentions.0"), h, a)
	}
	return nn.ResnetBlock2D(b.At("resnets.1"), h, temb, r)
}

// upBlock is UpBlock2D or AttnUpBlock2D: residual blocks, each of which first
// takes the latest kept result of the way down beside its input, then doubling
// in all blocks but the last.
func upBlock(b *graph.Builder, c Config, i int, h, temb *graph.Value, skips []*graph.Value) (*graph.Value, []*graph.Value) {
	blocks := len(c.BlockOutChannels)
	channels := c.BlockOutChannels[blocks-1-i]
	attends := strings.HasPrefix(c.UpBlockTypes[i], "Attn")
	for j := range c.LayersPerBlock + 1 {
		last := len(skips) - 1
		h, skips = b.Concat(1, h, skips[last]), skips[:last]
		h = nn.ResnetBlock2D(b.At(fmt.Sprintf("resnets.%d", j)), h, temb, c.resnet(channels))
		if attends {
			h = nn.Attention2D(b.At(fmt.Sprintf("attentions.%d", j)), h, c.attention(channels))
		}
	}
	if i == blocks-1 {
		return h, skips
	}
	scope := b.At("upsamplers.0")
	if attends && deref(c.UpsampleType) == "resnet" {
		r := c.resnet(channels)
		r.Up = true
		return nn.ResnetBlock2D(scope, h, temb, r), skips
	}
	return nn.Upsample2D(scope, h), skips
}
