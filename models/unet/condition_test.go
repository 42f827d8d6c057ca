package unet

import (
	"strings"
	"testing"

	"immiscible/models/graph"
)

// The configurations of published checkpoints, as their config.json has them
// (v1-4 of 2022; 2-1 of the same year; the ×4 upscaler), and what they mean.
func TestConditionPublished(t *testing.T) {
	tests := []struct {
		config string
		cross  int
		heads  []int // of blocks 0…3 of the way down
		labels string
		size   int64 // parameters
	}{
		{`"_diffusers_version": "0.2.2", "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
			"center_input_sample": false, "cross_attention_dim": 768,
			"down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
			"downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
			"mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
			"up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]`,
			768, []int{8, 8, 8, 8}, "", 859_520_964},
		{`"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "dual_cross_attention": false, "num_class_embeds": null,
			"only_cross_attention": false, "sample_size": 96, "upcast_attention": true, "use_linear_projection": true`,
			1024, []int{5, 10, 20, 20}, "", 865_910_724},
		{`"in_channels": 7, "attention_head_dim": 8, "block_out_channels": [256, 512, 512, 1024], "cross_attention_dim": 1024,
			"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
			"up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
			"num_class_embeds": 1000, "only_cross_attention": [true, true, true, false], "use_linear_projection": true, "sample_size": 128`,
			1024, []int{8, 8, 8, 8}, "embedding", 473_398_020},
	}
	for _, test := range tests {
		n, err := Parse("unet/config.json", []byte(`{"_class_name": "UNet2DConditionModel", `+test.config+`}`))
		if err != nil {
			t.Fatal(err)
		}
		c := n.(ConditionConfig)
		if c.CrossAttentionDim() != test.cross || c.Conditioning() != test.labels || c.TimeEmbedDim() != 4*c.BlockOutChannels[0] {
			t.Errorf("got cross_attention_dim %d, class labels %q, time embedding %d", c.CrossAttentionDim(), c.Conditioning(), c.TimeEmbedDim())
		}
		for i, want := range test.heads {
			if got := c.AttentionHeadDim.At(i); got != want {
				t.Errorf("block %d has %d heads, want %d", i, got, want)
			}
		}
		g, err := build(c, 64, 64)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, p := range g.Params() {
			size += int64(p.Numel())
		}
		if size != test.size {
			t.Errorf("%d parameters, want %d", size, test.size)
		}
	}
}

func TestConditionConfigErrors(t *testing.T) {
	const small = `"_class_name": "UNet2DConditionModel", "block_out_channels": [8, 12], "norm_num_groups": 4, "attention_head_dim": 4,
		"down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]`
	if _, err := Parse("c", []byte("{"+small+"}")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ change, want string }{
		{`"time_embedding_size": 4`, `unknown key "time_embedding_size": UNet2DConditionModel has none of that name`},
		{`"addition_embed_type": "text_time"`, `addition_embed_type is "text_time", want null: SDXL is not supported yet`},
		{`"addition_time_embed_dim": 256`, `addition_time_embed_dim is 256, want null: SDXL is not supported yet`},
		{`"dual_cross_attention": true`, `dual_cross_attention is true, which is not supported: want false`},
		{`"encoder_hid_dim": 4096`, `encoder_hid_dim is 4096, which is not supported: want null`},
		{`"encoder_hid_dim_type": "text_proj"`, `encoder_hid_dim_type is "text_proj", which is not supported: want null`},
		{`"num_attention_heads": 8`, `num_attention_heads is 8, which is not supported: want null`},
		{`"time_cond_proj_dim": 256`, `time_cond_proj_dim is 256, which is not supported: want null`},
		{`"time_embedding_type": "fourier"`, `time_embedding_type is "fourier", which is not supported: want "positional"`},
		{`"timestep_post_act": "silu"`, `timestep_post_act is "silu", which is not supported: want null`},
		{`"time_embedding_act_fn": "silu"`, `time_embedding_act_fn is "silu", which is not supported: want null`},
		{`"attention_type": "gated"`, `attention_type is "gated", which is not supported: want "default"`},
		{`"cross_attention_norm": "layer_norm"`, `cross_attention_norm is "layer_norm", which is not supported: want null`},
		{`"resnet_skip_time_act": true`, `resnet_skip_time_act is true, which is not supported: want false`},
		{`"resnet_out_scale_factor": 2`, `resnet_out_scale_factor is 2, which is not supported: want 1.0`},
		{`"reverse_transformer_layers_per_block": [[1], [1]]`, `reverse_transformer_layers_per_block is [[1], [1]], which is not supported: want null`},
		{`"transformer_layers_per_block": [[1], [1]]`, `transformer_layers_per_block: got [[1],[1]], want int or a list of them, one a block`},
		{`"attention_head_dim": "8"`, `attention_head_dim: got "8", want int or a list of them, one a block`},
		{`"attention_head_dim": [2, null]`, `attention_head_dim: got [2,null], want int or a list of them, one a block`},
		{`"attention_head_dim": null`, `attention_head_dim is null, want a value: the default is 8`},
		{`"cross_attention_dim": null`, `cross_attention_dim is null, want a value: the default is 1280`},
		{`"only_cross_attention": 1`, `only_cross_attention: got 1, want bool or a list of them, one a block`},
		{`"only_cross_attention": [true]`, `only_cross_attention has 1 entries, block_out_channels has 2: want as many, or one value for all`},
		{`"attention_head_dim": [2, 2, 2]`, `attention_head_dim has 3 entries, block_out_channels has 2: want as many, or one number for all`},
		{`"layers_per_block": [1, 0]`, `layers_per_block 0: want 1 to 1024`},
		{`"cross_attention_dim": 1000000000000`, `cross_attention_dim 1000000000000: want 1 to 65536`},
		{`"transformer_layers_per_block": 0`, `transformer_layers_per_block 0: want 1 to 1024`},
		{`"norm_num_groups": null`, `norm_num_groups is null, want a value: the default is 32`},
		{`"norm_num_groups": 3`, `norm_num_groups 3 does not divide block_out_channels[0] = 8`},
		{`"attention_head_dim": 3`, `attention_head_dim 3 does not divide 8 channels (down_blocks.0): here it is the number of heads`},
		{`"attention_head_dim": [4, 5]`, `attention_head_dim 5 does not divide 12 channels (mid_block): here it is the number of heads`},
		{`"cross_attention_dim": [8, 16]`, `cross_attention_dim 16 of mid_block, and 8 of another block: encoder_hidden_states have one width`},
		{`"down_block_types": ["SimpleCrossAttnDownBlock2D", "DownBlock2D"]`, `down_block_types[0] = "SimpleCrossAttnDownBlock2D" is not supported: want one of "DownBlock2D", "CrossAttnDownBlock2D"`},
		{`"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]`, `up_block_types[1] = "AttnUpBlock2D" is not supported: want one of "UpBlock2D", "CrossAttnUpBlock2D"`},
		{`"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"`, `mid_block_type "UNetMidBlock2DSimpleCrossAttn" is not supported: want one of null, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn"`},
		{`"class_embed_type": "vector"`, `class_embed_type "vector" is not supported: want one of null, "timestep", "identity", "projection", "simple_projection"`},
		{`"class_embed_type": "projection"`, `class_embed_type "projection" needs projection_class_embeddings_input_dim, got null`},
		{`"projection_class_embeddings_input_dim": 0`, `projection_class_embeddings_input_dim 0: want 1 to 1048576, or null`},
		{`"class_embeddings_concat": true`, `class_embeddings_concat is true, and there is no class embedding: want class_embed_type or num_class_embeds`},
		{`"conv_in_kernel": 2`, `conv_in_kernel 2: want an odd number`},
		{`"conv_out_kernel": 0`, `conv_out_kernel 0: want an odd number`},
		{`"freq_shift": 4`, `freq_shift 4: want less than half of block_out_channels[0] = 8`},
		{`"resnet_time_scale_shift": "ada_group"`, `resnet_time_scale_shift "ada_group" is not supported: want one of "default", "scale_shift"`},
	}
	for _, test := range tests {
		_, err := Parse("unet/config.json", []byte("{"+small+", "+test.change+"}"))
		if want := "unet/config.json: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.change, err, want)
		}
	}
}

// A model without attention takes no encoder_hidden_states.
func TestConditionWithoutText(t *testing.T) {
	c := DefaultConditionConfig()
	c.BlockOutChannels, c.MidBlockType = []int{32}, nil
	c.DownBlockTypes, c.UpBlockTypes = []string{"DownBlock2D"}, []string{"UpBlock2D"}
	if err := c.Validate(); err != nil || c.CrossAttentionDim() != 0 {
		t.Errorf("cross_attention_dim %d, %v, want 0", c.CrossAttentionDim(), err)
	}
	if _, err := build(c, 4, 4); err != nil {
		t.Error(err)
	}
}

// Encoder states of another width than the weights' are refused.
func TestConditionStatesWidth(t *testing.T) {
	c := DefaultConditionConfig()
	_, err := graph.Build("test", func(b *graph.Builder) {
		c.Forward(b, Inputs{Sample: b.Input("sample", graph.Float32, 1, 4, 8, 8), Timesteps: b.Input("timesteps", graph.Int64, 1),
			EncoderHiddenStates: b.Input("encoder_hidden_states", graph.Float32, 1, 77, 768)}, false)
	})
	if err == nil || !strings.Contains(err.Error(), "[1 77 768]") || !strings.Contains(err.Error(), "1280") {
		t.Errorf("got %v", err)
	}
}
