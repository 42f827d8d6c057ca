package pipeline

// configUNetKeys describes [model.unet]: each key of UNet2DModel's config.json,
// its default in diffusers, and what it means. "none" stands for null.
// https://huggingface.co/docs/diffusers/api/models/unet2d
var configUNetKeys = []struct {
	name  string
	value any
	doc   string
}{
	{"sample_size", "none", "height and width, in pixels; data.resolution"},
	{"in_channels", int64(3), "channels in; data.channels"},
	{"out_channels", int64(3), "channels out; data.channels"},
	{"block_out_channels", []any{int64(224), int64(448), int64(672), int64(896)}, "channels of each level, finest first; each level halves the resolution"},
	{"down_block_types", presetBlocks("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"), "a block a level, finest first: DownBlock2D, AttnDownBlock2D"},
	{"mid_block_type", "UNetMidBlock2D", "UNetMidBlock2D"},
	{"up_block_types", presetBlocks("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"), "a block a level, coarsest first: UpBlock2D, AttnUpBlock2D"},
	{"layers_per_block", int64(2), "residual layers of a down block; an up block has one more"},
	{"num_class_embeds", "none", "rows of the label table; at least num_classes; \"none\": unconditional"},
	{"class_embed_type", "none", "\"none\": a table of num_class_embeds rows; timestep; identity"},
	{"dropout", 0.0, "share of a residual layer's activations that is dropped in training; 0 to 1"},
	{"attention_head_dim", int64(8), "width of an attention head, in channels; \"none\": one head"},
	{"add_attention", true, "attention in the mid block"},
	{"norm_num_groups", int64(32), "groups of a group norm; divides every entry of block_out_channels"},
	{"attn_norm_num_groups", "none", "groups of the mid block's attention norm; \"none\": as norm_num_groups"},
	{"norm_eps", 1e-5, "added to a group norm's variance"},
	{"act_fn", "silu", "activation"},
	{"resnet_time_scale_shift", "default", "how the timestep enters a residual layer: default (added), scale_shift"},
	{"downsample_type", "conv", "conv, resnet"},
	{"downsample_padding", int64(1), "padding of the strided convolution; 0 pads right and bottom"},
	{"upsample_type", "conv", "conv, resnet"},
	{"time_embedding_type", "positional", "positional, fourier, learned"},
	{"time_embedding_dim", "none", "width of the timestep embedding; \"none\": 4 × block_out_channels[0]"},
	{"freq_shift", int64(0), "shift of the sinusoid's frequencies; 1 as in the original DDPM"},
	{"flip_sin_to_cos", true, "cosine before sine"},
	{"center_input_sample", false, "map the input from [0, 1] to [−1, 1] first"},
	{"mid_block_scale_factor", 1.0, "divides the mid block's residual sums"},
	{"num_train_timesteps", "none", "size of a learned timestep table"},
}
