package unet

import (
	"fmt"
	"slices"
	"strings"
)

// Validate names the first key whose value cannot be built, with both numbers.
func (c Config) Validate() error {
	blocks := len(c.BlockOutChannels)
	switch {
	case blocks == 0:
		return fmt.Errorf("block_out_channels is empty, want at least one")
	case len(c.DownBlockTypes) != blocks:
		return fmt.Errorf("down_block_types has %d entries, block_out_channels has %d: want as many", len(c.DownBlockTypes), blocks)
	case len(c.UpBlockTypes) != blocks:
		return fmt.Errorf("up_block_types has %d entries, block_out_channels has %d: want as many", len(c.UpBlockTypes), blocks)
	case c.InChannels < 1 || c.OutChannels < 1:
		return fmt.Errorf("in_channels %d, out_channels %d: want at least 1", c.InChannels, c.OutChannels)
	case c.LayersPerBlock < 1:
		return fmt.Errorf("layers_per_block %d: want at least 1", c.LayersPerBlock)
	case c.NormNumGroups < 1:
		return fmt.Errorf("norm_num_groups %d: want at least 1", c.NormNumGroups)
	case c.DownsamplePadding != 0 && c.DownsamplePadding != 1:
		return fmt.Errorf("downsample_padding %d: want 0 or 1", c.DownsamplePadding)
	case c.Dropout < 0 || c.Dropout >= 1:
		return fmt.Errorf("dropout %g: want at least 0 and below 1", c.Dropout)
	case c.SampleSize.H < 0 || c.SampleSize.W < 0:
		return fmt.Errorf("sample_size [%d, %d]: want at least 1", c.SampleSize.H, c.SampleSize.W)
	case c.MidBlockScaleFactor == 0:
		return fmt.Errorf("mid_block_scale_factor 0: activations are divided by it")
	case !(c.NormEps >= 0):
		return fmt.Errorf("norm_eps %g: want at least 0", c.NormEps)
	case c.TimeEmbeddingType == "learned" && c.NumTrainTimesteps == nil:
		return fmt.Errorf("time_embedding_type \"learned\" needs num_train_timesteps, got null")
	case deref(c.ClassEmbedType) == "timestep" && c.TimeEmbeddingType != "positional":
		return fmt.Errorf("class_embed_type \"timestep\" with time_embedding_type %q is not supported: want \"positional\"", c.TimeEmbeddingType)
	}
	choices := []struct {
		key, value string
		want       []string
	}{
		{"time_embedding_type", c.TimeEmbeddingType, []string{"positional", "fourier", "learned"}},
		{"resnet_time_scale_shift", c.ResnetTimeScaleShift, []string{"default", "scale_shift"}},
		{"act_fn", c.ActFn, []string{"silu", "swish", "gelu", "relu", "mish"}},
		{"mid_block_type", deref(c.MidBlockType), []string{"", "UNetMidBlock2D"}},
		{"class_embed_type", deref(c.ClassEmbedType), []string{"", "timestep", "identity"}},
		{"downsample_type", deref(c.DownsampleType), []string{"", "conv", "resnet"}},
		{"upsample_type", deref(c.UpsampleType), []string{"", "conv", "resnet"}},
	}
	for _, x := range choices {
		if !slices.Contains(x.want, x.value) {
			return fmt.Errorf("%s %q is not supported: want one of %s", x.key, x.value, quoted(x.want))
		}
	}
	for _, x := range []struct {
		key   string
		value *int
	}{
		{"time_embedding_dim", c.TimeEmbeddingDim}, {"attention_head_dim", c.AttentionHeadDim},
		{"num_class_embeds", c.NumClassEmbeds}, {"num_train_timesteps", c.NumTrainTimesteps},
	} {
		if x.value != nil && *x.value < 1 {
			return fmt.Errorf("%s %d: want at least 1, or null", x.key, *x.value)
		}
	}
	for i, channels := range c.BlockOutChannels {
		if channels < 1 || channels%c.NormNumGroups != 0 {
			return fmt.Errorf("norm_num_groups %d does not divide block_out_channels[%d] = %d", c.NormNumGroups, i, channels)
		}
	}
	for i, kind := range c.DownBlockTypes {
		if err := c.validateBlock("down", i, kind, c.BlockOutChannels[i]); err != nil {
			return err
		}
	}
	for i, kind := range c.UpBlockTypes {
		if err := c.validateBlock("up", i, kind, c.BlockOutChannels[blocks-1-i]); err != nil {
			return err
		}
	}
	if last := c.BlockOutChannels[blocks-1]; c.MidBlockType != nil && c.AddAttention {
		if last%c.headDim(last) != 0 {
			return fmt.Errorf("attention_head_dim %d does not divide %d channels (mid_block)", c.headDim(last), last)
		}
		if g := c.AttnNormNumGroups; g != nil && (*g < 1 || last%*g != 0) {
			return fmt.Errorf("attn_norm_num_groups %d does not divide %d channels (mid_block)", *g, last)
		}
	}
	if first := c.BlockOutChannels[0]; c.TimeEmbeddingType == "positional" && c.FreqShift >= float64(first/2) {
		return fmt.Errorf("freq_shift %g: want less than half of block_out_channels[0] = %d", c.FreqShift, first)
	}
	return nil
}

// validateBlock checks one entry of down_block_types or up_block_types.
func (c Config) validateBlock(way string, i int, kind string, channels int) error {
	plain := map[string]string{"down": "DownBlock2D", "up": "UpBlock2D"}[way]
	switch d := c.headDim(channels); {
	case kind != plain && kind != "Attn"+plain:
		return fmt.Errorf("%s_block_types[%d] = %q is not supported: want one of %s", way, i, kind, quoted([]string{plain, "Attn" + plain}))
	case kind != plain && channels%d != 0:
		return fmt.Errorf("attention_head_dim %d does not divide %d channels (%s_blocks.%d)", d, channels, way, i)
	}
	return nil
}

func quoted(words []string) string {
	var list []string
	for _, w := range words {
		if w == "" {
			list = append(list, "null")
		} else {
			list = append(list, fmt.Sprintf("%q", w))
		}
	}
	return strings.Join(list, ", ")
}
