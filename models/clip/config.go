package clip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
)

// Config is CLIPTextConfig, the config.json of a text_encoder folder: keys,
// meanings and defaults are transformers'. The many keys of that file that do
// not change last_hidden_state (token ids, initialisation, dropout, projection
// and generation settings) are not read.
type Config struct {
	VocabSize             int     `json:"vocab_size"`
	HiddenSize            int     `json:"hidden_size"`
	IntermediateSize      int     `json:"intermediate_size"`
	NumHiddenLayers       int     `json:"num_hidden_layers"`
	NumAttentionHeads     int     `json:"num_attention_heads"`
	MaxPositionEmbeddings int     `json:"max_position_embeddings"`
	HiddenAct             string  `json:"hidden_act"` // quick_gelu (SD 1.x) or gelu (SD 2.x)
	LayerNormEps          float64 `json:"layer_norm_eps"`
}

// DefaultConfig has CLIPTextConfig's defaults.
func DefaultConfig() Config {
	return Config{
		VocabSize: 49408, HiddenSize: 512, IntermediateSize: 2048, NumHiddenLayers: 12, NumAttentionHeads: 8,
		MaxPositionEmbeddings: 77, HiddenAct: "quick_gelu", LayerNormEps: 1e-5,
	}
}

// LoadConfig reads and checks the config.json of a text encoder.
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading the text encoder's configuration: %w", err)
	}
	return ParseConfig(path, data)
}

// ParseConfig reads a config.json's content; name stands in messages. A key
// that is absent has its default.
func ParseConfig(name string, data []byte) (Config, error) {
	c := DefaultConfig()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return c, fmt.Errorf("%s: not a JSON object: %w", name, err)
	}
	for _, key := range []string{"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
		"num_attention_heads", "max_position_embeddings", "hidden_act", "layer_norm_eps"} {
		if string(keys[key]) == "null" {
			return c, fmt.Errorf("%s: %s is null, want a value", name, key)
		}
	}
	if kind, ok := keys["model_type"]; ok && string(kind) != `"clip_text_model"` {
		return c, fmt.Errorf("%s: model_type is %s, want \"clip_text_model\": other text encoders are not supported", name, kind)
	}
	if mask, ok := keys["use_attention_mask"]; ok && string(mask) == "true" {
		return c, fmt.Errorf("%s: use_attention_mask is true, want false: padding is attended to, as Stable Diffusion does", name)
	}
	if q, ok := keys["quantization_config"]; ok && string(q) != "null" {
		return c, fmt.Errorf("%s: quantization_config is set, want none: save the weights as float16 or float32", name)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return c, fmt.Errorf("%s: %s is a JSON %s, want %s", name, wrong.Field, wrong.Value, wrong.Type)
		}
		return c, fmt.Errorf("%s: %w", name, err)
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// Validate names the first key whose value cannot be built.
func (c Config) Validate() error {
	for _, x := range []struct {
		key   string
		value int
	}{
		{"vocab_size", c.VocabSize}, {"hidden_size", c.HiddenSize}, {"intermediate_size", c.IntermediateSize},
		{"num_hidden_layers", c.NumHiddenLayers}, {"num_attention_heads", c.NumAttentionHeads},
		{"max_position_embeddings", c.MaxPositionEmbeddings},
	} {
		if x.value < 1 || x.value > math.MaxInt32 {
			return fmt.Errorf("%s %d: want at least 1 and at most %d", x.key, x.value, math.MaxInt32)
		}
	}
	switch {
	case c.HiddenSize%c.NumAttentionHeads != 0:
		return fmt.Errorf("num_attention_heads %d does not divide hidden_size %d", c.NumAttentionHeads, c.HiddenSize)
	case c.HiddenAct != "quick_gelu" && c.HiddenAct != "gelu":
		return fmt.Errorf("hidden_act %q is not supported: want \"quick_gelu\" or \"gelu\"", c.HiddenAct)
	case !(c.LayerNormEps >= 0):
		return fmt.Errorf("layer_norm_eps %g: want at least 0", c.LayerNormEps)
	}
	return nil
}

// Key maps a name in a text encoder's weights file to the parameter of
// TextModel that it holds, which is today's name: folders saved before
// transformers 5 have the prefix text_model. ok is false for what such files
// hold besides: position_ids, a table of 0, 1, 2, …, and the projection, which
// last_hidden_state does not pass.
func Key(name string) (key string, ok bool) {
	key = strings.TrimPrefix(name, "text_model.")
	return key, key != "embeddings.position_ids" && key != "text_projection.weight"
}
