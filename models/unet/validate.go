package unet

import (
	"fmt"
	"slices"
	"strings"
)

// What is above these is a mistake, and would take hours or terabytes to refuse.
const (
	mostChannels = 1 << 16
	mostLayers   = 1 << 10
	mostEntries  = 1 << 20 // of an embedding
	mostPixels   = 1 << 14 // in each direction
)

// Validate names the first key whose value cannot be built, with both numbers.
func (c Config) Validate() error {
	if err := validateShared(shared{c.SampleSize, c.InChannels, c.OutChannels, c.BlockOutChannels, c.DownBlockTypes, c.UpBlockTypes,
		c.NormNumGroups, c.NormEps, c.DownsamplePadding, c.Dropout, c.MidBlockScaleFactor}); err != nil {
		return err
	}
	switch {
	case c.LayersPerBlock < 1 || c.LayersPerBlock > mostLayers:
		return fmt.Errorf("layers_per_block %d: want 1 to %d", c.LayersPerBlock, mostLayers)
	case c.TimeEmbeddingType == "learned" && c.NumTrainTimesteps == nil:
		return fmt.Errorf("time_embedding_type \"learned\" needs num_train_timesteps, got null")
	case deref(c.ClassEmbedType) == "timestep" && c.TimeEmbeddingType != "positional":
		return fmt.Errorf("class_embed_type \"timestep\" with time_embedding_type %q is not supported: want \"positional\"", c.TimeEmbeddingType)
	}
	if err := oneOf(
		choice{"time_embedding_type", c.TimeEmbeddingType, []string{"positional", "fourier", "learned"}},
		choice{"resnet_time_scale_shift", c.ResnetTimeScaleShift, []string{"default", "scale_shift"}},
		choice{"act_fn", c.ActFn, activations},
		choice{"mid_block_type", deref(c.MidBlockType), []string{"", "UNetMidBlock2D"}},
		choice{"class_embed_type", deref(c.ClassEmbedType), []string{"", "timestep", "identity"}},
		choice{"downsample_type", deref(c.DownsampleType), []string{"", "conv", "resnet"}},
		choice{"upsample_type", deref(c.UpsampleType), []string{"", "conv", "resnet"}},
	); err != nil {
		return err
	}
	if err := positive(optional{"time_embedding_dim", c.TimeEmbeddingDim}, optional{"attention_head_dim", c.AttentionHeadDim},
		optional{"num_class_embeds", c.NumClassEmbeds}, optional{"num_train_timesteps", c.NumTrainTimesteps}); err != nil {
		return err
	}
	blocks := len(c.BlockOutChannels)
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

// shared are the keys that both classes have, and check alike.
type shared struct {
	sample              Size
	in, out             int
	channels            []int
	down, up            []string
	groups              int
	eps                 float64
	padding             int
	dropout, midScaling float64
}

func validateShared(s shared) error {
	blocks := len(s.channels)
	switch {
	case blocks == 0:
		return fmt.Errorf("block_out_channels is empty, want at least one")
	case len(s.down) != blocks:
		return fmt.Errorf("down_block_types has %d entries, block_out_channels has %d: want as many", len(s.down), blocks)
	case len(s.up) != blocks:
		return fmt.Errorf("up_block_types has %d entries, block_out_channels has %d: want as many", len(s.up), blocks)
	case min(s.in, s.out) < 1 || max(s.in, s.out) > mostChannels:
		return fmt.Errorf("in_channels %d, out_channels %d: want 1 to %d", s.in, s.out, mostChannels)
	case slices.Max(s.channels) > mostChannels:
		return fmt.Errorf("block_out_channels %d: want at most %d", slices.Max(s.channels), mostChannels)
	case s.groups < 1:
		return fmt.Errorf("norm_num_groups %d: want at least 1", s.groups)
	case s.padding != 0 && s.padding != 1:
		return fmt.Errorf("downsample_padding %d: want 0 or 1", s.padding)
	case s.dropout < 0 || s.dropout >= 1:
		return fmt.Errorf("dropout %g: want at least 0 and below 1", s.dropout)
	case min(s.sample.H, s.sample.W) < 0 || max(s.sample.H, s.sample.W) > mostPixels:
		return fmt.Errorf("sample_size [%d, %d]: want 1 to %d", s.sample.H, s.sample.W, mostPixels)
	case s.midScaling == 0:
		return fmt.Errorf("mid_block_scale_factor 0: activations are divided by it")
	case !(s.eps >= 0):
		return fmt.Errorf("norm_eps %g: want at least 0", s.eps)
	}
	for i, channels := range s.channels {
		if channels < 1 || channels%s.groups != 0 {
			return fmt.Errorf("norm_num_groups %d does not divide block_out_channels[%d] = %d", s.groups, i, channels)
		}
	}
	return nil
}

// activations are the values of act_fn that nn.Activation knows.
var activations = []string{"silu", "swish", "gelu", "relu", "mish"}

// choice is a key with few values; "" stands for null.
type choice struct {
	key, value string
	want       []string
}

func oneOf(choices ...choice) error {
	for _, x := range choices {
		if !slices.Contains(x.want, x.value) {
			return fmt.Errorf("%s %q is not supported: want one of %s", x.key, x.value, quoted(x.want))
		}
	}
	return nil
}

// optional is a number that may be null.
type optional struct {
	key   string
	value *int
}

func positive(numbers ...optional) error {
	for _, x := range numbers {
		if x.value != nil && (*x.value < 1 || *x.value > mostEntries) {
			return fmt.Errorf("%s %d: want 1 to %d, or null", x.key, *x.value, mostEntries)
		}
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
