package unet

// ConditionConfig is UNet2DConditionModel's config.json, that of Stable
// Diffusion 1.x and 2.x: keys, meanings and defaults are diffusers'. A key that
// this package does not know is refused, and so is any but the default value of
// a key in fixedKeys.
type ConditionConfig struct {
	SampleSize                Size           `json:"sample_size"`
	InChannels                int            `json:"in_channels"`
	OutChannels               int            `json:"out_channels"`
	CenterInputSample         bool           `json:"center_input_sample"`
	FlipSinToCos              bool           `json:"flip_sin_to_cos"`
	FreqShift                 float64        `json:"freq_shift"`
	DownBlockTypes            []string       `json:"down_block_types"`
	MidBlockType              *string        `json:"mid_block_type"` // null: no mid block
	UpBlockTypes              []string       `json:"up_block_types"`
	OnlyCrossAttention        PerBlock[bool] `json:"only_cross_attention"`
	BlockOutChannels          []int          `json:"block_out_channels"`
	LayersPerBlock            PerBlock[int]  `json:"layers_per_block"`
	DownsamplePadding         int            `json:"downsample_padding"`
	MidBlockScaleFactor       float64        `json:"mid_block_scale_factor"`
	Dropout                   float64        `json:"dropout"`
	ActFn                     string         `json:"act_fn"`
	NormNumGroups             int            `json:"norm_num_groups"`
	NormEps                   float64        `json:"norm_eps"`
	CrossAttentionWidth       PerBlock[int]  `json:"cross_attention_dim"`
	TransformerLayersPerBlock PerBlock[int]  `json:"transformer_layers_per_block"`
	AttentionHeadDim          PerBlock[int]  `json:"attention_head_dim"` // the number of heads: diffusers kept a wrong name
	UseLinearProjection       bool           `json:"use_linear_projection"`
	UpcastAttention           bool           `json:"upcast_attention"` // float32 attention, which ours always is
	ClassEmbedType            *string        `json:"class_embed_type"` // null, timestep, identity, projection or simple_projection
	NumClassEmbeds            *int           `json:"num_class_embeds"`
	ProjectionDim             *int           `json:"projection_class_embeddings_input_dim"`
	ClassEmbeddingsConcat     bool           `json:"class_embeddings_concat"` // beside the time embedding instead of added to it
	ResnetTimeScaleShift      string         `json:"resnet_time_scale_shift"` // default or scale_shift
	TimeEmbeddingDim          *int           `json:"time_embedding_dim"`      // null: 4 × the first block's channels
	ConvInKernel              int            `json:"conv_in_kernel"`
	ConvOutKernel             int            `json:"conv_out_kernel"`
	MidOnlyCrossAttention     *bool          `json:"mid_block_only_cross_attention"` // of UNetMidBlock2DSimpleCrossAttn alone: no effect here
}

// fixedKeys are the keys whose default is all that is built, with that default.
var fixedKeys = map[string]string{
	"addition_embed_type":                  "null",
	"addition_embed_type_num_heads":        "64",
	"addition_time_embed_dim":              "null",
	"attention_type":                       `"default"`,
	"cross_attention_norm":                 "null",
	"dual_cross_attention":                 "false",
	"encoder_hid_dim":                      "null",
	"encoder_hid_dim_type":                 "null",
	"num_attention_heads":                  "null", // diffusers itself refuses it: heads are attention_head_dim
	"resnet_out_scale_factor":              "1.0",
	"resnet_skip_time_act":                 "false",
	"reverse_transformer_layers_per_block": "null",
	"time_cond_proj_dim":                   "null",
	"time_embedding_act_fn":                "null",
	"time_embedding_type":                  `"positional"`,
	"timestep_post_act":                    "null",
}

// DefaultConditionConfig has UNet2DConditionModel's defaults.
func DefaultConditionConfig() ConditionConfig {
	return ConditionConfig{
		InChannels: 4, OutChannels: 4, FlipSinToCos: true,
		DownBlockTypes:   []string{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
		MidBlockType:     ptr("UNetMidBlock2DCrossAttn"),
		UpBlockTypes:     []string{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"},
		BlockOutChannels: []int{320, 640, 1280, 1280}, LayersPerBlock: PerBlock[int]{All: 2},
		DownsamplePadding: 1, MidBlockScaleFactor: 1, ActFn: "silu", NormNumGroups: 32, NormEps: 1e-5,
		CrossAttentionWidth: PerBlock[int]{All: 1280}, TransformerLayersPerBlock: PerBlock[int]{All: 1},
		AttentionHeadDim: PerBlock[int]{All: 8}, ResnetTimeScaleShift: "default", ConvInKernel: 3, ConvOutKernel: 3,
	}
}

// ParseConditionConfig reads a config.json's content; name stands in messages.
// A key that is absent has UNet2DConditionModel's default.
func ParseConditionConfig(name string, data []byte) (ConditionConfig, error) {
	return parse(name, data, DefaultConditionConfig(), fixedKeys)
}

// JSON is the content of a config.json that diffusers reads.
func (c ConditionConfig) JSON() ([]byte, error) { return write(c, fixedKeys) }

// Class is "UNet2DConditionModel".
func (c ConditionConfig) Class() string { return "UNet2DConditionModel" }

// Channels are in_channels and out_channels.
func (c ConditionConfig) Channels() (in, out int) { return c.InChannels, c.OutChannels }

// Sample is sample_size, of latents for Stable Diffusion; zeros where it is left
// open.
func (c ConditionConfig) Sample() Size { return c.SampleSize }

// DropoutRate is dropout, which residual blocks have.
func (c ConditionConfig) DropoutRate() float64 { return c.Dropout }

// Trained is true: every parameter of the state dict is trained.
func (c ConditionConfig) Trained(string) bool { return true }

// ClassEmbeds is num_class_embeds; 0 where it is null.
func (c ConditionConfig) ClassEmbeds() int { return deref(c.NumClassEmbeds) }

// Conditioning says what class_labels are: "" (none), "embedding" and
// "timestep" (int64 [N]), "identity", "projection" or "simple_projection"
// (float32 [N, LabelDim]).
func (c ConditionConfig) Conditioning() string {
	return conditioning(c.ClassEmbedType, c.NumClassEmbeds)
}

// LabelDim is the width of class_labels where they are vectors, else 0.
func (c ConditionConfig) LabelDim() int {
	switch c.Conditioning() {
	case "identity":
		return c.TimeEmbedDim()
	case "projection", "simple_projection":
		return deref(c.ProjectionDim)
	}
	return 0
}

// TimeEmbedDim is the width of the time embedding and of class embeddings.
func (c ConditionConfig) TimeEmbedDim() int {
	return timeEmbedDim(c.TimeEmbeddingDim, c.BlockOutChannels)
}

// CrossAttentionDim is the width of encoder_hidden_states, the same in all
// blocks that attend to them; 0 where none does.
func (c ConditionConfig) CrossAttentionDim() int {
	last := len(c.BlockOutChannels) - 1
	for i := range c.BlockOutChannels {
		if c.DownBlockTypes[i] == crossDown || c.UpBlockTypes[last-i] == crossUp {
			return c.CrossAttentionWidth.At(i)
		}
	}
	if deref(c.MidBlockType) == crossMid {
		return c.CrossAttentionWidth.At(last)
	}
	return 0
}
