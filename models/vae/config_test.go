package vae

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// What diffusers wrote is written again, key by key.
func TestConfigRoundTrip(t *testing.T) {
	for _, dir := range folders(t) {
		want, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseConfig(dir, want)
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
		for _, key := range []string{"latents_mean", "latents_std", "shift_factor", "mid_block_add_attention"} {
			if _, ok := wantKeys[key]; !ok { // diffusers leaves nothing out
				t.Errorf("%s: diffusers' config.json lacks %q", dir, key)
			}
		}
		if !reflect.DeepEqual(gotKeys, wantKeys) {
			t.Errorf("%s: got  %v\nwant %v", dir, gotKeys, wantKeys)
		}
		again, err := ParseConfig(dir, got)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%s: read again: %+v, %v, want %+v", dir, again, err, c)
		}
	}
}

// Stable Diffusion 1.4's config.json, written before half of the keys existed.
func TestConfigDefaults(t *testing.T) {
	c, err := ParseConfig("config.json", []byte(`{"_class_name": "AutoencoderKL", "_diffusers_version": "0.2.2", "act_fn": "silu",
		"block_out_channels": [128, 256, 512, 512], "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
		"down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "out_channels": 3,
		"sample_size": 512, "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.BlockOutChannels, want.LayersPerBlock, want.SampleSize = []int{128, 256, 512, 512}, 2, 512
	want.DownBlockTypes, want.UpBlockTypes = c.DownBlockTypes, c.UpBlockTypes
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if c.Factor() != 8 || c.ScalingFactor != 0.18215 || c.DecodeTiles() != (Tiles{In: 64, Out: 512}) {
		t.Errorf("factor %d, scaling_factor %g, tiles %v: want 8, 0.18215 and 64 to 512", c.Factor(), c.ScalingFactor, c.DecodeTiles())
	}
}

func TestConfigErrors(t *testing.T) {
	const small = `"block_out_channels": [8, 12], "norm_num_groups": 4, "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
		"up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]`
	if _, err := ParseConfig("c", []byte("{"+small+"}")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ change, want string }{
		{`"channels": 4`, `unknown key "channels": AutoencoderKL has none of that name`},
		{`"_class_name": "AutoencoderTiny"`, `_class_name is "AutoencoderTiny", want "AutoencoderKL"`},
		{`"in_channels": "3"`, `in_channels is a JSON string, want int`},
		{`"shift_factor": "0"`, `shift_factor is a JSON string, want float64`},
		{`"norm_num_groups": null`, `norm_num_groups is null, want a value: the default is 32`},
		{`"block_out_channels": []`, `block_out_channels is empty, want at least one`},
		{`"down_block_types": ["DownEncoderBlock2D"]`, `down_block_types has 1 entries, block_out_channels has 2: want as many`},
		{`"up_block_types": ["UpDecoderBlock2D"]`, `up_block_types has 1 entries, block_out_channels has 2: want as many`},
		{`"latent_channels": 0`, `in_channels 3, out_channels 3, latent_channels 0: want at least 1`},
		{`"layers_per_block": 0`, `layers_per_block 0: want at least 1`},
		{`"norm_num_groups": 0`, `norm_num_groups 0: want at least 1`},
		{`"norm_num_groups": 8`, `norm_num_groups 8 does not divide block_out_channels[1] = 12`},
		{`"sample_size": 0`, `sample_size 0: want at least 1`},
		{`"scaling_factor": 0`, `scaling_factor 0: latents are divided by it`},
		{`"latents_mean": [0, 0, 0, 0]`, `latents_mean and latents_std: one is null, want both or none`},
		{`"latents_mean": [0], "latents_std": [1]`, `latents_mean has 1 numbers, latents_std 1: want latent_channels = 4`},
		{`"latents_mean": [0, 0, 0, 0], "latents_std": [1, 1, 0, 1]`, `latents_std [1 1 0 1]: latents are divided by them, want no 0`},
		{`"act_fn": "tanh"`, `act_fn "tanh" is not supported: want one of ["silu" "swish" "gelu" "relu" "mish"]`},
		{`"down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]`, `down_block_types[1] = "AttnDownEncoderBlock2D" is not supported: want "DownEncoderBlock2D"`},
		{`"up_block_types": ["UpBlock2D", "UpDecoderBlock2D"]`, `up_block_types[0] = "UpBlock2D" is not supported: want "UpDecoderBlock2D"`},
	}
	for _, test := range tests {
		_, err := ParseConfig("vae/config.json", []byte("{"+small+", "+test.change+"}"))
		if err == nil || err.Error() != "vae/config.json: "+test.want {
			t.Errorf("%s: got %v\nwant vae/config.json: %s", test.change, err, test.want)
		}
	}
	if _, err := LoadConfig("testdata/none/config.json"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "autoencoder's configuration") {
		t.Errorf("a missing file: got %v", err)
	}
}
