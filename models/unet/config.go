package unet

// Config is UNet2DModel's config.json: keys, meanings and defaults are
// diffusers'. A key that this package does not know is refused.
type Config struct {
	SampleSize           Size     `json:"sample_size"`
	InChannels           int      `json:"in_channels"`
	OutChannels          int      `json:"out_channels"`
	CenterInputSample    bool     `json:"center_input_sample"`
	TimeEmbeddingType    string   `json:"time_embedding_type"` // positional, fourier or learned
	TimeEmbeddingDim     *int     `json:"time_embedding_dim"`  // null: 4 × the first block's channels
	FreqShift            float64  `json:"freq_shift"`
	FlipSinToCos         bool     `json:"flip_sin_to_cos"`
	DownBlockTypes       []string `json:"down_block_types"`
	MidBlockType         *string  `json:"mid_block_type"` // null: no mid block
	UpBlockTypes         []string `json:"up_block_types"`
	BlockOutChannels     []int    `json:"block_out_channels"`
	LayersPerBlock       int      `json:"layers_per_block"`
	MidBlockScaleFactor  float64  `json:"mid_block_scale_factor"`
	DownsamplePadding    int      `json:"downsample_padding"`
	DownsampleType       *string  `json:"downsample_type"` // conv or resnet, of attention blocks
	UpsampleType         *string  `json:"upsample_type"`
	Dropout              float64  `json:"dropout"`
	ActFn                string   `json:"act_fn"`
	AttentionHeadDim     *int     `json:"attention_head_dim"` // width of a head; null: one head
	NormNumGroups        int      `json:"norm_num_groups"`
	AttnNormNumGroups    *int     `json:"attn_norm_num_groups"` // of the mid block's attention
	NormEps              float64  `json:"norm_eps"`
	ResnetTimeScaleShift string   `json:"resnet_time_scale_shift"` // default or scale_shift
	AddAttention         bool     `json:"add_attention"`           // in the mid block
	ClassEmbedType       *string  `json:"class_embed_type"`        // null, timestep or identity
	NumClassEmbeds       *int     `json:"num_class_embeds"`
	NumTrainTimesteps    *int     `json:"num_train_timesteps"` // rows of a learned time embedding
}

// DefaultConfig has UNet2DModel's defaults.
func DefaultConfig() Config {
	return Config{
		InChannels: 3, OutChannels: 3, TimeEmbeddingType: "positional", FlipSinToCos: true,
		DownBlockTypes:   []string{"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"},
		MidBlockType:     ptr("UNetMidBlock2D"),
		UpBlockTypes:     []string{"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"},
		BlockOutChannels: []int{224, 448, 672, 896}, LayersPerBlock: 2, MidBlockScaleFactor: 1,
		DownsamplePadding: 1, DownsampleType: ptr("conv"), UpsampleType: ptr("conv"), ActFn: "silu",
		AttentionHeadDim: ptr(8), NormNumGroups: 32, NormEps: 1e-5, ResnetTimeScaleShift: "default", AddAttention: true,
	}
}

// ParseConfig reads a config.json's content; name stands in messages. A key
// that is absent has UNet2DModel's default.
func ParseConfig(name string, data []byte) (Config, error) {
	return parse(name, data, DefaultConfig(), nil)
}

// JSON is the content of a config.json that diffusers reads.
func (c Config) JSON() ([]byte, error) { return write(c, nil) }

// headDim is the width of an attention head among that many channels.
func (c Config) headDim(channels int) int {
	if c.AttentionHeadDim == nil {
		return channels
	}
	return *c.AttentionHeadDim
}

// TimeEmbedDim is the width of the time embedding, which class embeddings share.
func (c Config) TimeEmbedDim() int {
	return timeEmbedDim(c.TimeEmbeddingDim, c.BlockOutChannels)
}

// Class is "UNet2DModel".
func (c Config) Class() string { return "UNet2DModel" }

// Channels are in_channels and out_channels.
func (c Config) Channels() (in, out int) { return c.InChannels, c.OutChannels }

// Sample is sample_size; zeros where it is left open.
func (c Config) Sample() Size { return c.SampleSize }

// ClassEmbeds is num_class_embeds; 0 where it is null.
func (c Config) ClassEmbeds() int { return deref(c.NumClassEmbeds) }

// CrossAttentionDim is 0: UNet2DModel takes no encoder_hidden_states.
func (c Config) CrossAttentionDim() int { return 0 }

// DropoutRate is dropout.
func (c Config) DropoutRate() float64 { return c.Dropout }

// LabelDim is TimeEmbedDim where class_labels are embeddings, else 0.
func (c Config) LabelDim() int {
	if c.Conditioning() == "identity" {
		return c.TimeEmbedDim()
	}
	return 0
}

// Conditioning says what class_labels are: "" (none), "embedding" and
// "timestep" (int64 [N]) or "identity" (float32 [N, TimeEmbedDim]).
func (c Config) Conditioning() string {
	return conditioning(c.ClassEmbedType, c.NumClassEmbeds)
}
