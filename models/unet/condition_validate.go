package unet

import (
	"fmt"
	"slices"
)

// The types of blocks that attend to encoder_hidden_states.
const (
	crossDown = "CrossAttnDownBlock2D"
	crossMid  = "UNetMidBlock2DCrossAttn"
	crossUp   = "CrossAttnUpBlock2D"
)

// Validate names the first key whose value cannot be built, with both numbers.
func (c ConditionConfig) Validate() error {
	err := validateShared(shared{c.SampleSize, c.InChannels, c.OutChannels, c.BlockOutChannels, c.DownBlockTypes, c.UpBlockTypes,
		c.NormNumGroups, c.NormEps, c.DownsamplePadding, c.Dropout, c.MidBlockScaleFactor})
	if err != nil {
		return err
	}
	if err := oneOf(
		choice{"resnet_time_scale_shift", c.ResnetTimeScaleShift, []string{"default", "scale_shift"}},
		choice{"act_fn", c.ActFn, activations},
		choice{"mid_block_type", deref(c.MidBlockType), []string{"", "UNetMidBlock2D", crossMid}},
		choice{"class_embed_type", deref(c.ClassEmbedType), []string{"", "timestep", "identity", "projection", "simple_projection"}},
	); err != nil {
		return err
	}
	if err := positive(optional{"time_embedding_dim", c.TimeEmbeddingDim}, optional{"num_class_embeds", c.NumClassEmbeds},
		optional{"projection_class_embeddings_input_dim", c.ProjectionDim}); err != nil {
		return err
	}
	blocks := len(c.BlockOutChannels)
	if n := len(c.OnlyCrossAttention.List); n != 0 && n != blocks {
		return fmt.Errorf("only_cross_attention has %d entries, block_out_channels has %d: want as many, or one value for all", n, blocks)
	}
	for _, x := range []struct {
		key   string
		value PerBlock[int]
		most  int
	}{
		{"layers_per_block", c.LayersPerBlock, mostLayers}, {"cross_attention_dim", c.CrossAttentionWidth, mostChannels},
		{"transformer_layers_per_block", c.TransformerLayersPerBlock, mostLayers}, {"attention_head_dim", c.AttentionHeadDim, mostChannels},
	} {
		if n := len(x.value.List); n != 0 && n != blocks {
			return fmt.Errorf("%s has %d entries, block_out_channels has %d: want as many, or one number for all", x.key, n, blocks)
		}
		for i := range blocks {
			if n := x.value.At(i); n < 1 || n > x.most {
				return fmt.Errorf("%s %d: want 1 to %d", x.key, n, x.most)
			}
		}
	}
	switch kind := c.Conditioning(); {
	case (kind == "projection" || kind == "simple_projection") && c.ProjectionDim == nil:
		return fmt.Errorf("class_embed_type %q needs projection_class_embeddings_input_dim, got null", kind)
	case c.ClassEmbeddingsConcat && kind == "":
		return fmt.Errorf("class_embeddings_concat is true, and there is no class embedding: want class_embed_type or num_class_embeds")
	case c.ConvInKernel < 1 || c.ConvInKernel%2 == 0:
		return fmt.Errorf("conv_in_kernel %d: want an odd number", c.ConvInKernel)
	case c.ConvOutKernel < 1 || c.ConvOutKernel%2 == 0:
		return fmt.Errorf("conv_out_kernel %d: want an odd number", c.ConvOutKernel)
	case c.FreqShift >= float64(c.BlockOutChannels[0]/2):
		return fmt.Errorf("freq_shift %g: want less than half of block_out_channels[0] = %d", c.FreqShift, c.BlockOutChannels[0])
	}
	for i := range blocks {
		if err := c.validateBlock("down", i, i, c.DownBlockTypes[i], []string{"DownBlock2D", crossDown}); err != nil {
			return err
		}
	}
	for i := range blocks {
		if err := c.validateBlock("up", i, blocks-1-i, c.UpBlockTypes[i], []string{"UpBlock2D", crossUp}); err != nil {
			return err
		}
	}
	if deref(c.MidBlockType) == crossMid {
		return c.validateHeads("mid_block", blocks-1)
	}
	return nil
}

// validateBlock checks entry i of down_block_types or up_block_types, whose
// settings are those of block at of the way down.
func (c ConditionConfig) validateBlock(way string, i, at int, kind string, want []string) error {
	if !slices.Contains(want, kind) {
		return fmt.Errorf("%s_block_types[%d] = %q is not supported: want one of %s", way, i, kind, quoted(want))
	}
	if kind == want[1] {
		return c.validateHeads(fmt.Sprintf("%s_blocks.%d", way, i), at)
	}
	return nil
}

func (c ConditionConfig) validateHeads(block string, at int) error {
	heads, channels := c.AttentionHeadDim.At(at), c.BlockOutChannels[at]
	if channels%heads != 0 {
		return fmt.Errorf("attention_head_dim %d does not divide %d channels (%s): here it is the number of heads", heads, channels, block)
	}
	if got, want := c.CrossAttentionWidth.At(at), c.CrossAttentionDim(); got != want {
		return fmt.Errorf("cross_attention_dim %d of %s, and %d of another block: encoder_hidden_states have one width", got, block, want)
	}
	return nil
}
