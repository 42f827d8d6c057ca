package unet

import (
	"immiscible/models/graph"
	"immiscible/models/nn"
)

// Forward is UNet2DConditionModel's forward pass: sample [N, C, H, W] (noisy),
// timesteps int64 [N], class_labels as Conditioning says and
// encoder_hidden_states [N, T, D] to [N, out_channels, H, W]. Dropout is applied
// where training is true. Source:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/unets/unet_2d_condition.py
func (c ConditionConfig) Forward(b *graph.Builder, in Inputs, training bool) *graph.Value {
	if !training {
		c.Dropout = 0
	}
	sample := in.Sample
	b.AssertShape(sample, -1, c.InChannels, -1, -1)
	if d := c.CrossAttentionDim(); d > 0 {
		b.AssertShape(in.EncoderHiddenStates, sample.Dim(0), -1, d)
	}
	if c.CenterInputSample {
		sample = center(b, sample)
	}
	temb := c.timeEmbedding(b, in)
	return c.body(temb, in.EncoderHiddenStates).forward(b, sample, temb)
}

// timeEmbedding is the timestep's embedding, with the class's added to it or
// beside it: [N, D] or [N, 2D].
func (c ConditionConfig) timeEmbedding(b *graph.Builder, in Inputs) *graph.Value {
	dim := c.TimeEmbedDim()
	sinusoids := func(t *graph.Value) *graph.Value {
		return nn.Timesteps(b, b.Cast(t, graph.Float32), c.BlockOutChannels[0], c.FlipSinToCos, c.FreqShift)
	}
	temb := nn.TimestepEmbedding(b.At("time_embedding"), sinusoids(in.Timesteps), dim, c.ActFn)
	var class *graph.Value
	scope := b.At("class_embedding")
	if d := c.LabelDim(); d > 0 {
		b.AssertShape(in.ClassLabels, in.Timesteps.Dim(0), d)
	}
	switch c.Conditioning() {
	case "":
		return temb
	case "embedding":
		class = nn.Embedding(scope, in.ClassLabels, *c.NumClassEmbeds, dim)
	case "timestep":
		class = nn.TimestepEmbedding(scope, sinusoids(in.ClassLabels), dim, c.ActFn)
	case "projection":
		class = nn.TimestepEmbedding(scope, in.ClassLabels, dim, "silu")
	case "simple_projection":
		class = nn.Linear(scope, in.ClassLabels, dim, true)
	case "identity":
		class = in.ClassLabels
	}
	if c.ClassEmbeddingsConcat {
		return b.Concat(1, temb, class)
	}
	return b.Add(temb, class)
}

func (c ConditionConfig) body(temb, states *graph.Value) body {
	u := body{first: c.BlockOutChannels[0], out: c.OutChannels, kernelIn: c.ConvInKernel, kernelOut: c.ConvOutKernel,
		groups: c.NormNumGroups, eps: c.NormEps, act: c.ActFn}
	last := len(c.BlockOutChannels) - 1
	for i := range c.BlockOutChannels {
		down := c.level(i, c.DownBlockTypes[i] == crossDown, states)
		up := c.level(last-i, c.UpBlockTypes[i] == crossUp, states)
		up.layers++
		if i < last {
			down.resample = func(b *graph.Builder, h *graph.Value) *graph.Value {
				return nn.Downsample2D(b, h, c.DownsamplePadding)
			}
			up.resample = nn.Upsample2D
		}
		u.down, u.up = append(u.down, down), append(u.up, up)
	}
	if c.MidBlockType != nil {
		u.mid = func(b *graph.Builder, h *graph.Value) *graph.Value { return c.midBlock(b, h, temb, states) }
	}
	return u
}

// level has the settings of block i of the way down.
func (c ConditionConfig) level(i int, attends bool, states *graph.Value) level {
	l := level{layers: c.LayersPerBlock.At(i), resnet: c.resnet(c.BlockOutChannels[i])}
	if attends {
		t := c.transformer(i)
		t.OnlyCrossAttention = c.OnlyCrossAttention.At(i)
		l.attend = func(b *graph.Builder, h *graph.Value) *graph.Value { return nn.Transformer2D(b, h, states, t) }
	}
	return l
}

func (c ConditionConfig) resnet(out int) nn.Resnet {
	return nn.Resnet{Out: out, Groups: c.NormNumGroups, Eps: c.NormEps, Act: c.ActFn,
		ScaleShift: c.ResnetTimeScaleShift == "scale_shift", Dropout: c.Dropout, OutputScale: 1}
}

func (c ConditionConfig) transformer(i int) nn.Transformer {
	return nn.Transformer{Heads: c.AttentionHeadDim.At(i), Layers: c.TransformerLayersPerBlock.At(i),
		Groups: c.NormNumGroups, LinearProjection: c.UseLinearProjection}
}

// midBlock is UNetMidBlock2DCrossAttn (residual block, transformer, residual
// block; only_cross_attention has no effect on it in diffusers) or, in this
// class, UNetMidBlock2D: one residual block.
func (c ConditionConfig) midBlock(b *graph.Builder, h, temb, states *graph.Value) *graph.Value {
	last := len(c.BlockOutChannels) - 1
	r := c.resnet(c.BlockOutChannels[last])
	r.OutputScale = c.MidBlockScaleFactor
	h = nn.ResnetBlock2D(b.At("resnets.0"), h, temb, r)
	if *c.MidBlockType != crossMid {
		return h
	}
	h = nn.Transformer2D(b.At("attentions.0"), h, states, c.transformer(last))
	return nn.ResnetBlock2D(b.At("resnets.1"), h, temb, r)
}
