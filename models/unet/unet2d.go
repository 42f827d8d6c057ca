// Package unet builds the U-Nets of diffusers as graphs: UNet2DModel and
// UNet2DConditionModel. A Net is the checkpoint's config.json, and a parameter's
// name is its state-dict key.
package unet

import (
	"strings"

	"immiscible/models/graph"
	"immiscible/models/nn"
)

// Forward is UNet2DModel's forward pass: sample [N, C, H, W] (noisy), timesteps
// int64 [N] and, where the configuration has a class embedding, class_labels
// (int64 [N], or float32 [N, D] for class_embed_type identity) to
// [N, out_channels, H, W]. Dropout is applied where training is true. Source:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/unets/unet_2d.py
func (c Config) Forward(b *graph.Builder, in Inputs, training bool) *graph.Value {
	if !training {
		c.Dropout = 0
	}
	sample := in.Sample
	b.AssertShape(sample, -1, c.InChannels, -1, -1)
	if c.CenterInputSample {
		sample = center(b, sample)
	}
	t := b.Cast(in.Timesteps, graph.Float32)
	temb := timeEmbedding(b, c, t, in.Timesteps, in.ClassLabels)
	h := c.body(temb).forward(b, sample, temb)
	if c.TimeEmbeddingType == "fourier" { // the network predicts the score times σ, and t is σ
		h = b.Div(h, b.Reshape(t, t.Dim(0), 1, 1, 1))
	}
	return h
}

// Trained reports whether a parameter of the state dict is one that diffusers
// trains: all are, except the fixed frequencies of a Fourier embedding.
func (c Config) Trained(key string) bool {
	return !(c.TimeEmbeddingType == "fourier" && key == "time_proj.weight")
}

func (c Config) body(temb *graph.Value) body {
	u := body{first: c.BlockOutChannels[0], out: c.OutChannels, kernelIn: 3, kernelOut: 3,
		groups: c.NormNumGroups, eps: c.NormEps, act: "silu"}
	last := len(c.BlockOutChannels) - 1
	for i, channels := range c.BlockOutChannels {
		down := c.level(channels, strings.HasPrefix(c.DownBlockTypes[i], "Attn"))
		if i < last {
			down.resample = func(b *graph.Builder, h *graph.Value) *graph.Value {
				if down.attend == nil || deref(c.DownsampleType) != "resnet" {
					return nn.Downsample2D(b, h, c.DownsamplePadding)
				}
				r := down.resnet
				r.Down = true
				return nn.ResnetBlock2D(b, h, temb, r)
			}
		}
		u.down = append(u.down, down)
	}
	for i := range c.BlockOutChannels {
		up := c.level(c.BlockOutChannels[last-i], strings.HasPrefix(c.UpBlockTypes[i], "Attn"))
		up.layers++
		if i < last {
			up.resample = func(b *graph.Builder, h *graph.Value) *graph.Value {
				if up.attend == nil || deref(c.UpsampleType) != "resnet" {
					return nn.Upsample2D(b, h)
				}
				r := up.resnet
				r.Up = true
				return nn.ResnetBlock2D(b, h, temb, r)
			}
		}
		u.up = append(u.up, up)
	}
	if c.MidBlockType != nil {
		u.mid = func(b *graph.Builder, h *graph.Value) *graph.Value { return c.midBlock(b, h, temb) }
	}
	return u
}

func (c Config) level(channels int, attends bool) level {
	l := level{layers: c.LayersPerBlock, resnet: c.resnet(channels)}
	if attends {
		l.attend = func(b *graph.Builder, h *graph.Value) *graph.Value {
			return nn.Attention2D(b, h, c.attention(channels))
		}
	}
	return l
}

func (c Config) resnet(out int) nn.Resnet {
	return nn.Resnet{Out: out, Groups: c.NormNumGroups, Eps: c.NormEps, Act: c.ActFn,
		ScaleShift: c.ResnetTimeScaleShift == "scale_shift", Dropout: c.Dropout, OutputScale: 1}
}

func (c Config) attention(channels int) nn.SelfAttention {
	return nn.SelfAttention{HeadDim: c.headDim(channels), Groups: c.NormNumGroups, Eps: c.NormEps, OutputScale: 1}
}

// midBlock is UNetMidBlock2D: residual block, attention, residual block. Its
// attention has no group norm with scale_shift, unless attn_norm_num_groups
// asks for one.
func (c Config) midBlock(b *graph.Builder, h, temb *graph.Value) *graph.Value {
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

// timeEmbedding is the sum of the timestep's and the class's embedding, [N, D].
func timeEmbedding(b *graph.Builder, c Config, t, timesteps, classLabels *graph.Value) *graph.Value {
	first, dim := c.BlockOutChannels[0], c.TimeEmbedDim()
	var proj *graph.Value
	switch c.TimeEmbeddingType {
	case "positional":
		proj = nn.Timesteps(b, t, first, c.FlipSinToCos, c.FreqShift)
	case "fourier":
		proj = nn.GaussianFourierProjection(b.At("time_proj"), t, first)
	case "learned":
		proj = nn.Embedding(b.At("time_proj"), timesteps, *c.NumTrainTimesteps, first)
	}
	temb := nn.TimestepEmbedding(b.At("time_embedding"), proj, dim, "silu")
	scope := b.At("class_embedding")
	switch c.Conditioning() {
	case "embedding":
		return b.Add(temb, nn.Embedding(scope, classLabels, *c.NumClassEmbeds, dim))
	case "timestep":
		labels := nn.Timesteps(b, b.Cast(classLabels, graph.Float32), first, c.FlipSinToCos, c.FreqShift)
		return b.Add(temb, nn.TimestepEmbedding(scope, labels, dim, "silu"))
	case "identity":
		b.AssertShape(classLabels, t.Dim(0), dim)
		return b.Add(temb, classLabels)
	}
	return temb
}
