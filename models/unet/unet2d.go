// Package unet builds the U-Nets of diffusers as graphs. A Config is the
// checkpoint's config.json, and a parameter's name is its state-dict key.
package unet

import (
	"fmt"

	"immiscible/models/graph"
	"immiscible/models/nn"
)

// UNet2D is UNet2DModel's forward pass: sample [N, C, H, W] (noisy), timesteps
// int64 [N] and, where the configuration has a class embedding, classLabels
// (int64 [N], or float32 [N, D] for class_embed_type identity) to
// [N, out_channels, H, W]. Dropout is applied where training is true. Source:
// https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/models/unets/unet_2d.py
func UNet2D(b *graph.Builder, c Config, sample, timesteps, classLabels *graph.Value, training bool) *graph.Value {
	if !training {
		c.Dropout = 0
	}
	b.AssertShape(sample, -1, c.InChannels, -1, -1)
	if shrink := 1 << (len(c.BlockOutChannels) - 1); sample.Dim(2)%shrink != 0 || sample.Dim(3)%shrink != 0 {
		b.Fail("UNet2D", "a %d×%d image cannot be halved %d times: want multiples of %d",
			sample.Dim(2), sample.Dim(3), len(c.BlockOutChannels)-1, shrink)
	}
	if c.CenterInputSample {
		sample = b.Sub(b.Mul(sample, b.Scalar(2)), b.Scalar(1))
	}
	t := b.Cast(timesteps, graph.Float32)
	temb := timeEmbedding(b, c, t, timesteps, classLabels)

	h := nn.Conv2d(b.At("conv_in"), sample, c.BlockOutChannels[0], 3, samePads)
	skips := []*graph.Value{h}
	for i, channels := range c.BlockOutChannels {
		h, skips = downBlock(b.At(fmt.Sprintf("down_blocks.%d", i)), c, i, channels, h, temb, skips)
	}
	if c.MidBlockType != nil {
		h = midBlock(b.At("mid_block"), c, h, temb)
	}
	for i := range c.BlockOutChannels {
		h, skips = upBlock(b.At(fmt.Sprintf("up_blocks.%d", i)), c, i, h, temb, skips)
	}
	h = b.SiLU(nn.GroupNorm(b.At("conv_norm_out"), h, c.NormNumGroups, c.NormEps))
	h = nn.Conv2d(b.At("conv_out"), h, c.OutChannels, 3, samePads)
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

var samePads = graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}

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
	temb := nn.TimestepEmbedding(b.At("time_embedding"), proj, dim)
	scope := b.At("class_embedding")
	switch c.Conditioning() {
	case "embedding":
		return b.Add(temb, nn.Embedding(scope, classLabels, *c.NumClassEmbeds, dim))
	case "timestep":
		labels := nn.Timesteps(b, b.Cast(classLabels, graph.Float32), first, c.FlipSinToCos, c.FreqShift)
		return b.Add(temb, nn.TimestepEmbedding(scope, labels, dim))
	case "identity":
		b.AssertShape(classLabels, t.Dim(0), dim)
		return b.Add(temb, classLabels)
	}
	return temb
}
