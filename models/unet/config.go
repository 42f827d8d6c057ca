package unet

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

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

// Size is an image size in pixels: one number in JSON where it is square, null
// (zeros here) where the configuration leaves it open.
type Size struct{ H, W int }

// UnmarshalJSON reads n, [h, w] or null.
func (s *Size) UnmarshalJSON(data []byte) error {
	var side *int
	if json.Unmarshal(data, &side) == nil {
		*s = Size{}
		if side != nil {
			*s = Size{*side, *side}
		}
		return nil
	}
	var both []int
	if err := json.Unmarshal(data, &both); err != nil || len(both) != 2 {
		return fmt.Errorf("sample_size: got %s, want a number or [height, width]", data)
	}
	*s = Size{both[0], both[1]}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (s Size) MarshalJSON() ([]byte, error) {
	switch {
	case s == Size{}:
		return []byte("null"), nil
	case s.H == s.W:
		return json.Marshal(s.H)
	}
	return json.Marshal([]int{s.H, s.W})
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
	c := DefaultConfig()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return c, fmt.Errorf("%s: not a JSON object: %w", name, err)
	}
	if class, ok := keys["_class_name"]; ok && string(class) != `"UNet2DModel"` {
		return c, fmt.Errorf("%s: _class_name is %s, want \"UNet2DModel\": no other class is supported yet", name, class)
	}
	known, err := c.fields()
	if err != nil {
		return c, err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		// What begins with _ are diffusers' own notes, such as _diffusers_version.
		if _, ok := known[key]; !ok && !strings.HasPrefix(key, "_") {
			return c, fmt.Errorf("%s: unknown key %q: UNet2DModel has none of that name", name, key)
		}
	}
	if err := json.Unmarshal(data, &c); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return c, fmt.Errorf("%s: %s is a JSON %s, want %s", name, wrong.Field, wrong.Value, strings.TrimPrefix(wrong.Type.String(), "*"))
		}
		return c, fmt.Errorf("%s: %w", name, err)
	}
	read, err := c.fields()
	if err != nil {
		return c, err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if value, ok := read[key]; ok && string(keys[key]) == "null" && string(value) != "null" {
			return c, fmt.Errorf("%s: %s is null, want a value: the default is %s", name, key, known[key])
		}
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// LoadConfig reads and checks a config.json.
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading the model's configuration: %w", err)
	}
	return ParseConfig(path, data)
}

// JSON is the content of a config.json that diffusers reads.
func (c Config) JSON() ([]byte, error) {
	keys, err := c.fields()
	if err != nil {
		return nil, err
	}
	keys["_class_name"] = json.RawMessage(`"UNet2DModel"`)
	keys["_diffusers_version"] = json.RawMessage(`"0.42.1"`)
	text, err := json.MarshalIndent(keys, "", "  ")
	return append(text, '\n'), err
}

// fields are the keys with their JSON values.
func (c Config) fields() (map[string]json.RawMessage, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	keys := map[string]json.RawMessage{}
	return keys, json.Unmarshal(text, &keys)
}

// headDim is the width of an attention head among that many channels.
func (c Config) headDim(channels int) int {
	if c.AttentionHeadDim == nil {
		return channels
	}
	return *c.AttentionHeadDim
}

// TimeEmbedDim is the width of the time embedding, which class embeddings share.
func (c Config) TimeEmbedDim() int {
	if c.TimeEmbeddingDim != nil {
		return *c.TimeEmbeddingDim
	}
	return 4 * c.BlockOutChannels[0]
}

// Conditioning says what class_labels are: "" (none), "embedding" and
// "timestep" (int64 [N]) or "identity" (float32 [N, TimeEmbedDim]).
func (c Config) Conditioning() string {
	switch {
	case c.ClassEmbedType != nil:
		return *c.ClassEmbedType
	case c.NumClassEmbeds != nil:
		return "embedding"
	}
	return ""
}

func ptr[T any](x T) *T { return &x }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
