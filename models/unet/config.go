package unet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
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

// ParseConfig reads a config.json's content; name stands in messages.
func ParseConfig(name string, data []byte) (Config, error) {
	c := DefaultConfig()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return c, fmt.Errorf("%s: not a JSON object: %w", name, err)
	}
	if class, ok := keys["_class_name"]; ok && string(class) != `"UNet2DModel"` {
		return c, fmt.Errorf("%s: _class_name is %s, want \"UNet2DModel\": no other class is supported yet", name, class)
	}
	kept := map[string]json.RawMessage{}
	for k, v := range keys {
		if !strings.HasPrefix(k, "_") { // diffusers' own notes, such as _diffusers_version
			kept[k] = v
		}
	}
	clean, err := json.Marshal(kept)
	if err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	d := json.NewDecoder(bytes.NewReader(clean))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "json: "))
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
	fields, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	keys := map[string]json.RawMessage{}
	if err := json.Unmarshal(fields, &keys); err != nil {
		return nil, err
	}
	keys["_class_name"] = json.RawMessage(`"UNet2DModel"`)
	keys["_diffusers_version"] = json.RawMessage(`"0.42.0"`)
	names := make([]string, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	sort.Strings(names)
	var out bytes.Buffer
	out.WriteString("{\n")
	for i, k := range names {
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		fmt.Fprintf(&out, "  %q: %s%s\n", k, keys[k], comma)
	}
	out.WriteString("}\n")
	return out.Bytes(), nil
}

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
	case c.TimeEmbeddingType == "learned" && c.NumTrainTimesteps == nil:
		return fmt.Errorf("time_embedding_type \"learned\" needs num_train_timesteps, got null")
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
	for i, channels := range c.BlockOutChannels {
		if channels < 1 || channels%c.NormNumGroups != 0 {
			return fmt.Errorf("norm_num_groups %d does not divide block_out_channels[%d] = %d", c.NormNumGroups, i, channels)
		}
		for _, x := range []struct {
			key, value string
			want       []string
			mirrored   int
		}{
			{"down_block_types", c.DownBlockTypes[i], []string{"DownBlock2D", "AttnDownBlock2D"}, i},
			{"up_block_types", c.UpBlockTypes[i], []string{"UpBlock2D", "AttnUpBlock2D"}, blocks - 1 - i},
		} {
			if !slices.Contains(x.want, x.value) {
				return fmt.Errorf("%s[%d] = %q is not supported: want one of %s", x.key, i, x.value, quoted(x.want))
			}
			if d := c.BlockOutChannels[x.mirrored]; strings.HasPrefix(x.value, "Attn") && d%c.headDim(d) != 0 {
				return fmt.Errorf("attention_head_dim %d does not divide %d channels (%s.%d)", c.headDim(d), d, strings.TrimSuffix(x.key, "_block_types")+"_blocks", i)
			}
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
	if n := c.NumClassEmbeds; n != nil && *n < 1 {
		return fmt.Errorf("num_class_embeds %d: want at least 1", *n)
	}
	return nil
}

// headDim is the width of an attention head among that many channels.
func (c Config) headDim(channels int) int {
	if c.AttentionHeadDim == nil {
		return channels
	}
	return max(*c.AttentionHeadDim, 1)
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
