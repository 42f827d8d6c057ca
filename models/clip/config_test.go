package clip

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// Keys that are absent mean what transformers' CLIPTextConfig says; those that
// do not change the output may say anything.
func TestConfigDefaults(t *testing.T) {
	c, err := ParseConfig("config.json", []byte(`{"_name_or_path": "x", "architectures": ["CLIPTextModel"], "model_type": "clip_text_model",
		"attention_dropout": 0.5, "eos_token_id": [2, 49407], "projection_dim": null, "torch_dtype": "float16", "num_beams": 4, "use_attention_mask": false}`))
	if err != nil || c != DefaultConfig() {
		t.Errorf("got %+v, %v, want the defaults", c, err)
	}
	for name, want := range map[string]Config{
		"sd1": {VocabSize: 40, HiddenSize: 12, IntermediateSize: 48, NumHiddenLayers: 3, NumAttentionHeads: 3, MaxPositionEmbeddings: 11, HiddenAct: "quick_gelu", LayerNormEps: 1e-5},
		"sd2": {VocabSize: 30, HiddenSize: 16, IntermediateSize: 40, NumHiddenLayers: 2, NumAttentionHeads: 4, MaxPositionEmbeddings: 10, HiddenAct: "gelu", LayerNormEps: 1e-4},
	} {
		if got, err := LoadConfig("testdata/" + name + "/config.json"); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	tests := []struct{ change, want string }{
		{`"model_type": "clip"`, `model_type is "clip", want "clip_text_model": other text encoders are not supported`},
		{`"model_type": "t5"`, `model_type is "t5", want "clip_text_model": other text encoders are not supported`},
		{`"use_attention_mask": true`, `use_attention_mask is true, want false: padding is attended to, as Stable Diffusion does`},
		{`"quantization_config": {"bits": 4}`, `quantization_config is set, want none: save the weights as float16 or float32`},
		{`"hidden_act": null`, `hidden_act is null, want a value`},
		{`"hidden_size": "768"`, `hidden_size is a JSON string, want int`},
		{`"hidden_size": 1.5`, `hidden_size is a JSON number 1.5, want int`},
		{`"vocab_size": 0`, `vocab_size 0: want at least 1 and at most 2147483647`},
		{`"num_hidden_layers": -1`, `num_hidden_layers -1: want at least 1 and at most 2147483647`},
		{`"num_attention_heads": 7`, `num_attention_heads 7 does not divide hidden_size 512`},
		{`"hidden_act": "relu"`, `hidden_act "relu" is not supported: want "quick_gelu" or "gelu"`},
		{`"layer_norm_eps": -1`, `layer_norm_eps -1: want at least 0`},
	}
	for _, test := range tests {
		_, err := ParseConfig("text_encoder/config.json", []byte("{"+test.change+"}"))
		if want := "text_encoder/config.json: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.change, err, want)
		}
	}
	if _, err := ParseConfig("c", []byte("[]")); err == nil || !strings.HasPrefix(err.Error(), "c: not a JSON object") {
		t.Errorf("a list: got %v", err)
	}
	if _, err := LoadConfig("testdata/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

func TestKey(t *testing.T) {
	for name, want := range map[string]string{
		"text_model.final_layer_norm.bias":           "final_layer_norm.bias",
		"final_layer_norm.bias":                      "final_layer_norm.bias",
		"text_model.embeddings.position_ids":         "",
		"embeddings.position_ids":                    "",
		"text_projection.weight":                     "",
		"text_model.embeddings.token_embedding.more": "embeddings.token_embedding.more",
	} {
		if key, ok := Key(name); ok != (want != "") || ok && key != want {
			t.Errorf("%s: %q, %v, want %q", name, key, ok, want)
		}
	}
}
