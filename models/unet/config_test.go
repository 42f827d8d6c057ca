package unet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// folders lists the models that tools/golden/unet.py and unet_condition.py made
// with diffusers.
func folders(t *testing.T) []string {
	configs, err := filepath.Glob("testdata/*/config.json")
	if err != nil || len(configs) < 13 {
		t.Fatalf("%d models in testdata (%v), want 13: run tools/golden/unet.py and unet_condition.py", len(configs), err)
	}
	var dirs []string
	for _, path := range configs {
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

// What diffusers wrote is written again, key by key.
func TestConfigRoundTrip(t *testing.T) {
	for _, dir := range folders(t) {
		want, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(dir, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var gotKeys, wantKeys map[string]any
		if err := errors.Join(json.Unmarshal(got, &gotKeys), json.Unmarshal(want, &wantKeys)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(gotKeys, wantKeys) {
			t.Errorf("%s: got  %v\nwant %v", dir, gotKeys, wantKeys)
		}
		again, err := Parse(dir, got)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%s: read again: %+v, %v, want %+v", dir, again, err, c)
		}
	}
}

// Keys that are absent mean what the class's constructor says, and no key that
// diffusers writes is missing here.
func TestConfigDefaults(t *testing.T) {
	for _, test := range []struct {
		folder   string
		defaults Net
		fixed    map[string]string
	}{{"ddpm", DefaultConfig(), nil}, {"sd1", DefaultConditionConfig(), fixedKeys}} {
		c, err := Parse("config.json", []byte(fmt.Sprintf(`{"_class_name": %q, "_name_or_path": "somewhere"}`, test.defaults.Class())))
		if err != nil || !reflect.DeepEqual(c, test.defaults) {
			t.Errorf("got %+v, %v, want the defaults", c, err)
		}
		text, err := os.ReadFile(filepath.Join("testdata", test.folder, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		keys, err := fields(test.defaults.(config))
		if err != nil {
			t.Fatal(err)
		}
		for key := range all {
			if _, ok := keys[key]; !ok && test.fixed[key] == "" && !strings.HasPrefix(key, "_") {
				t.Errorf("diffusers writes %q, which %s lacks", key, c.Class())
			}
		}
		if got, want := len(keys)+len(test.fixed), len(all)-2; got != want { // _class_name and _diffusers_version
			t.Errorf("%s has %d keys, diffusers writes %d", c.Class(), got, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	const small = `"block_out_channels": [8, 12], "norm_num_groups": 4, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
		"up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "attention_head_dim": 4`
	if _, err := ParseConfig("c", []byte("{"+small+"}")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ change, want string }{
		{`"attention_heads": 4`, `unknown key "attention_heads": UNet2DModel has none of that name`},
		{`"In_Channels": 4`, `unknown key "In_Channels": UNet2DModel has none of that name`},
		{`"_class_name": "UNet2DConditionModel"`, `_class_name is "UNet2DConditionModel", want "UNet2DModel"`},
		{`"in_channels": "3"`, `in_channels is a JSON string, want int`},
		{`"attention_head_dim": 1.5`, `attention_head_dim is a JSON number 1.5, want int`},
		{`"down_block_types": "DownBlock2D"`, `down_block_types is a JSON string, want []string`},
		{`"norm_num_groups": null`, `norm_num_groups is null, want a value: the default is 32`},
		{`"sample_size": [8]`, `sample_size: got [8], want a number or [height, width]`},
		{`"block_out_channels": []`, `block_out_channels is empty, want at least one`},
		{`"down_block_types": ["DownBlock2D"]`, `down_block_types has 1 entries, block_out_channels has 2: want as many`},
		{`"up_block_types": ["UpBlock2D"]`, `up_block_types has 1 entries, block_out_channels has 2: want as many`},
		{`"in_channels": 0`, `in_channels 0, out_channels 3: want 1 to 65536`},
		{`"out_channels": 65537`, `in_channels 3, out_channels 65537: want 1 to 65536`},
		{`"block_out_channels": [8, 1000000000000]`, `block_out_channels 1000000000000: want at most 65536`},
		{`"layers_per_block": 1000000000000`, `layers_per_block 1000000000000: want 1 to 1024`},
		{`"num_class_embeds": 1000000000000`, `num_class_embeds 1000000000000: want 1 to 1048576, or null`},
		{`"layers_per_block": 0`, `layers_per_block 0: want 1 to 1024`},
		{`"norm_num_groups": 0`, `norm_num_groups 0: want at least 1`},
		{`"downsample_padding": 2`, `downsample_padding 2: want 0 or 1`},
		{`"dropout": 1`, `dropout 1: want at least 0 and below 1`},
		{`"sample_size": [-8, 8]`, `sample_size [-8, 8]: want 1 to 16384`},
		{`"mid_block_scale_factor": 0`, `mid_block_scale_factor 0: activations are divided by it`},
		{`"norm_eps": -1e-5`, `norm_eps -1e-05: want at least 0`},
		{`"time_embedding_type": "learned"`, `time_embedding_type "learned" needs num_train_timesteps, got null`},
		{`"time_embedding_type": "learned", "num_train_timesteps": 0`, `num_train_timesteps 0: want 1 to 1048576, or null`},
		{`"time_embedding_type": "fourier", "class_embed_type": "timestep"`, `class_embed_type "timestep" with time_embedding_type "fourier" is not supported: want "positional"`},
		{`"freq_shift": 4`, `freq_shift 4: want less than half of block_out_channels[0] = 8`},
		{`"time_embedding_type": "rotary"`, `time_embedding_type "rotary" is not supported: want one of "positional", "fourier", "learned"`},
		{`"resnet_time_scale_shift": "spatial"`, `resnet_time_scale_shift "spatial" is not supported: want one of "default", "scale_shift"`},
		{`"act_fn": "tanh"`, `act_fn "tanh" is not supported: want one of "silu", "swish", "gelu", "relu", "mish"`},
		{`"mid_block_type": "UNetMidBlock2DCrossAttn"`, `mid_block_type "UNetMidBlock2DCrossAttn" is not supported: want one of null, "UNetMidBlock2D"`},
		{`"class_embed_type": "projection"`, `class_embed_type "projection" is not supported: want one of null, "timestep", "identity"`},
		{`"downsample_type": "avg"`, `downsample_type "avg" is not supported: want one of null, "conv", "resnet"`},
		{`"upsample_type": "shuffle"`, `upsample_type "shuffle" is not supported: want one of null, "conv", "resnet"`},
		{`"time_embedding_dim": 0`, `time_embedding_dim 0: want 1 to 1048576, or null`},
		{`"attention_head_dim": 0`, `attention_head_dim 0: want 1 to 1048576, or null`},
		{`"num_class_embeds": 0`, `num_class_embeds 0: want 1 to 1048576, or null`},
		{`"block_out_channels": [8, 10]`, `norm_num_groups 4 does not divide block_out_channels[1] = 10`},
		{`"down_block_types": ["DownBlock2D", "SkipDownBlock2D"]`, `down_block_types[1] = "SkipDownBlock2D" is not supported: want one of "DownBlock2D", "AttnDownBlock2D"`},
		{`"up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]`, `up_block_types[0] = "CrossAttnUpBlock2D" is not supported: want one of "UpBlock2D", "AttnUpBlock2D"`},
		{`"attention_head_dim": 8`, `attention_head_dim 8 does not divide 12 channels (down_blocks.1)`},
		{`"attention_head_dim": 8, "down_block_types": ["DownBlock2D", "DownBlock2D"]`, `attention_head_dim 8 does not divide 12 channels (up_blocks.0)`},
		{`"attention_head_dim": 8, "down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]`, `attention_head_dim 8 does not divide 12 channels (mid_block)`},
		{`"attn_norm_num_groups": 5`, `attn_norm_num_groups 5 does not divide 12 channels (mid_block)`},
	}
	for _, test := range tests {
		_, err := ParseConfig("unet/config.json", []byte("{"+small+", "+test.change+"}"))
		if want := "unet/config.json: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.change, err, want)
		}
	}
	if _, err := ParseConfig("c", []byte("[]")); err == nil || !strings.HasPrefix(err.Error(), "c: not a JSON object") {
		t.Errorf("a list: got %v", err)
	}
}
