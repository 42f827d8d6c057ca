package vae

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Config is AutoencoderKL's config.json: keys, meanings and defaults are
// diffusers'. A key that this package does not know is refused.
type Config struct {
	InChannels           int       `json:"in_channels"`
	OutChannels          int       `json:"out_channels"`
	DownBlockTypes       []string  `json:"down_block_types"`
	UpBlockTypes         []string  `json:"up_block_types"`
	BlockOutChannels     []int     `json:"block_out_channels"`
	LayersPerBlock       int       `json:"layers_per_block"`
	ActFn                string    `json:"act_fn"`
	LatentChannels       int       `json:"latent_channels"`
	NormNumGroups        int       `json:"norm_num_groups"`
	SampleSize           int       `json:"sample_size"`    // pixels, of the images that it was trained on
	ScalingFactor        float64   `json:"scaling_factor"` // see Scale
	ShiftFactor          *float64  `json:"shift_factor"`
	LatentsMean          []float64 `json:"latents_mean"` // a number a latent channel, or null
	LatentsStd           []float64 `json:"latents_std"`
	ForceUpcast          bool      `json:"force_upcast"` // to float32, which everything here is
	UseQuantConv         bool      `json:"use_quant_conv"`
	UsePostQuantConv     bool      `json:"use_post_quant_conv"`
	MidBlockAddAttention bool      `json:"mid_block_add_attention"`
}

// DefaultConfig has AutoencoderKL's defaults.
func DefaultConfig() Config {
	return Config{
		InChannels: 3, OutChannels: 3, DownBlockTypes: []string{downBlockType}, UpBlockTypes: []string{upBlockType},
		BlockOutChannels: []int{64}, LayersPerBlock: 1, ActFn: "silu", LatentChannels: 4, NormNumGroups: 32, SampleSize: 32,
		ScalingFactor: 0.18215, ForceUpcast: true, UseQuantConv: true, UsePostQuantConv: true, MidBlockAddAttention: true,
	}
}

const (
	className     = "AutoencoderKL"
	downBlockType = "DownEncoderBlock2D"
	upBlockType   = "UpDecoderBlock2D"
)

// ParseConfig reads a config.json's content; name stands in messages. A key
// that is absent has AutoencoderKL's default.
func ParseConfig(name string, data []byte) (Config, error) {
	c := DefaultConfig()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return c, fmt.Errorf("%s: not a JSON object: %w", name, err)
	}
	if class, ok := keys["_class_name"]; ok && string(class) != `"`+className+`"` {
		return c, fmt.Errorf("%s: _class_name is %s, want %q", name, class, className)
	}
	known, err := c.fields()
	if err != nil {
		return c, err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		// What begins with _ are diffusers' own notes, such as _diffusers_version.
		if _, ok := known[key]; !ok && !strings.HasPrefix(key, "_") {
			return c, fmt.Errorf("%s: unknown key %q: %s has none of that name", name, key, className)
		}
	}
	if err := json.Unmarshal(data, &c); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return c, fmt.Errorf("%s: %s is a JSON %s, want %s", name, wrong.Field, wrong.Value, strings.TrimPrefix(wrong.Type.String(), "*"))
		}
		return c, fmt.Errorf("%s: %w", name, err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if usual := string(known[key]); string(keys[key]) == "null" && usual != "null" && usual != "" {
			return c, fmt.Errorf("%s: %s is null, want a value: the default is %s", name, key, usual)
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
		return Config{}, fmt.Errorf("reading the autoencoder's configuration: %w", err)
	}
	return ParseConfig(path, data)
}

// JSON is the content of a config.json that diffusers reads.
func (c Config) JSON() ([]byte, error) {
	keys, err := c.fields()
	if err != nil {
		return nil, err
	}
	keys["_class_name"] = json.RawMessage(`"` + className + `"`)
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

// Factor is how many pixels a latent stands for in each direction: 2^(blocks−1).
func (c Config) Factor() int { return 1 << (len(c.BlockOutChannels) - 1) }

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
	case c.InChannels < 1 || c.OutChannels < 1 || c.LatentChannels < 1:
		return fmt.Errorf("in_channels %d, out_channels %d, latent_channels %d: want at least 1", c.InChannels, c.OutChannels, c.LatentChannels)
	case c.LayersPerBlock < 1:
		return fmt.Errorf("layers_per_block %d: want at least 1", c.LayersPerBlock)
	case c.NormNumGroups < 1:
		return fmt.Errorf("norm_num_groups %d: want at least 1", c.NormNumGroups)
	case c.SampleSize < 1:
		return fmt.Errorf("sample_size %d: want at least 1", c.SampleSize)
	case c.ScalingFactor == 0:
		return fmt.Errorf("scaling_factor 0: latents are divided by it")
	case (c.LatentsMean == nil) != (c.LatentsStd == nil):
		return fmt.Errorf("latents_mean and latents_std: one is null, want both or none")
	case c.LatentsMean != nil && (len(c.LatentsMean) != c.LatentChannels || len(c.LatentsStd) != c.LatentChannels):
		return fmt.Errorf("latents_mean has %d numbers, latents_std %d: want latent_channels = %d", len(c.LatentsMean), len(c.LatentsStd), c.LatentChannels)
	case slices.Contains(c.LatentsStd, 0):
		return fmt.Errorf("latents_std %v: latents are divided by them, want no 0", c.LatentsStd)
	}
	if acts := []string{"silu", "swish", "gelu", "relu", "mish"}; !slices.Contains(acts, c.ActFn) {
		return fmt.Errorf("act_fn %q is not supported: want one of %q", c.ActFn, acts)
	}
	for i, channels := range c.BlockOutChannels {
		switch {
		case channels < 1 || channels%c.NormNumGroups != 0:
			return fmt.Errorf("norm_num_groups %d does not divide block_out_channels[%d] = %d", c.NormNumGroups, i, channels)
		case c.DownBlockTypes[i] != downBlockType:
			return fmt.Errorf("down_block_types[%d] = %q is not supported: want %q", i, c.DownBlockTypes[i], downBlockType)
		case c.UpBlockTypes[i] != upBlockType:
			return fmt.Errorf("up_block_types[%d] = %q is not supported: want %q", i, c.UpBlockTypes[i], upBlockType)
		}
	}
	return nil
}
