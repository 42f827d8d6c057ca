package models

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/safetensors"
)

// assemble makes a folder of copies: files[to] is a file of the goldens, or the
// content itself where it begins with {.
func assemble(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for to, from := range files {
		data := []byte(from)
		if !strings.HasPrefix(from, "{") {
			var err error
			if data, err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	unetDir = "unet/testdata/single/" // of 3 channels, as the autoencoder's latents
	vaeDir  = "vae/testdata/half/"
	textDir = "clip/testdata/sd2/" // in shards
	plain   = "diffusion_pytorch_model.safetensors"
	fp16    = "diffusion_pytorch_model.fp16.safetensors"
)

// latentPipeline is a folder in Stable Diffusion's layout.
func latentPipeline() map[string]string {
	return map[string]string{
		"model_index.json": `{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1", "requires_safety_checker": true,
			"safety_checker": [null, null], "scheduler": ["diffusers", "PNDMScheduler"], "unet": ["diffusers", "UNet2DModel"],
			"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"], "vae": ["diffusers", "AutoencoderKL"]}`,
		"scheduler/scheduler_config.json": unetDir + "scheduler_config.json",
		"unet/config.json":                unetDir + "config.json", "unet/" + plain: unetDir + plain,
		"vae/config.json": vaeDir + "config.json", "vae/" + fp16: vaeDir + fp16,
		"text_encoder/config.json": textDir + "config.json", "text_encoder/model.safetensors.index.json": textDir + "model.safetensors.index.json",
		"text_encoder/model-00001-of-00003.safetensors": textDir + "model-00001-of-00003.safetensors",
		"text_encoder/model-00002-of-00003.safetensors": textDir + "model-00002-of-00003.safetensors",
		"text_encoder/model-00003-of-00003.safetensors": textDir + "model-00003-of-00003.safetensors",
		"tokenizer/vocab.json":                          "{}",
	}
}

func TestOpenPipeline(t *testing.T) {
	files := latentPipeline()
	dir := assemble(t, files)
	m, err := Open(dir, "unet_ema")
	if err != nil {
		t.Fatal(err)
	}
	if m.Part != "unet" || m.UNet.Class() != "UNet2DModel" || m.Weights.Path != filepath.Join(dir, "unet", plain) || m.Scheduler != filepath.Join(dir, "scheduler", "scheduler_config.json") {
		t.Errorf("got part %q, class %q, weights %s, scheduler %s", m.Part, m.UNet.Class(), m.Weights.Path, m.Scheduler)
	}
	if m.VAE == nil || m.VAE.LatentChannels != 3 || m.VAEWeights.Path != filepath.Join(dir, "vae", fp16) {
		t.Errorf("got autoencoder %+v", m.VAE)
	}
	if m.Text == nil || m.Tokenizer != filepath.Join(dir, "tokenizer") || m.TextWeights.Path != filepath.Join(dir, "text_encoder", "model.safetensors.index.json") {
		t.Errorf("got text encoder %+v, tokenizer %q", m.Text, m.Tokenizer)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range []*safetensors.File{m.Weights, m.VAEWeights, m.TextWeights} {
		if _, err := f.Bytes(f.Tensors[0]); err == nil {
			t.Errorf("%s is open after Close", f.Path)
		}
	}

	// What model_index.json does not name, or the folder lacks, is left out.
	for _, change := range []func(){
		func() {
			files["model_index.json"] = strings.Replace(files["model_index.json"], `["diffusers", "AutoencoderKL"]`, "[null, null]", 1)
		},
		func() { files = latentPipeline(); delete(files, "vae/config.json"); delete(files, "vae/"+fp16) },
	} {
		change()
		m, err := Open(assemble(t, files), "unet")
		if err != nil || m.VAE != nil || m.VAEWeights != nil || m.Text == nil {
			t.Errorf("without an autoencoder: got %+v, %v", m, err)
			continue
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Weights are one file or shards, whole or in float16, in that order.
func TestOpenWeights(t *testing.T) {
	const index = `{"metadata": {}, "weight_map": {"conv_in.bias": "` + plain + `"}}`
	tests := []struct {
		add  map[string]string
		want string // the weights' path
	}{
		{map[string]string{plain: unetDir + plain, fp16: vaeDir + fp16}, plain},
		{map[string]string{fp16: unetDir + plain}, fp16},
		{map[string]string{fp16: unetDir + plain, "diffusion_pytorch_model.bin": "{}"}, fp16},
		{map[string]string{"diffusion_pytorch_model.safetensors.index.json": strings.Replace(index, plain, "a.safetensors", 1), "a.safetensors": unetDir + plain},
			"diffusion_pytorch_model.safetensors.index.json"},
		{map[string]string{"diffusion_pytorch_model.safetensors.index.fp16.json": strings.Replace(index, plain, "a.safetensors", 1), "a.safetensors": unetDir + plain},
			"diffusion_pytorch_model.safetensors.index.fp16.json"},
	}
	for _, test := range tests {
		test.add["config.json"] = unetDir + "config.json"
		dir := assemble(t, test.add)
		m, err := Open(dir, "unet")
		if err != nil {
			t.Errorf("%s: %v", test.want, err)
			continue
		}
		if _, ok := m.Weights.Lookup("conv_in.bias"); !ok || m.Weights.Path != filepath.Join(dir, test.want) {
			t.Errorf("opened %s, want %s", m.Weights.Path, test.want)
		}
		m.Close()
	}
}

func TestOpenErrors(t *testing.T) {
	tests := []struct {
		change map[string]string // "" removes a file
		want   string            // after the folder
	}{
		{map[string]string{"model_index.json": "{"}, "/model_index.json: not a JSON object: unexpected end of JSON input"},
		{map[string]string{"unet/config.json": ""}, "/unet/config.json is missing, and model_index.json is here: want a pipeline with a U-Net"},
		{map[string]string{"unet/config.json": vaeDir + "config.json"}, `/unet/config.json: _class_name is "AutoencoderKL", want one of ["UNet2DConditionModel" "UNet2DModel"]`},
		{map[string]string{"unet/" + plain: ""}, "/unet: no weights: want diffusion_pytorch_model.safetensors, diffusion_pytorch_model.safetensors.index.json, or diffusion_pytorch_model.fp16.safetensors"},
		{map[string]string{"unet/" + plain: "", "unet/diffusion_pytorch_model.bin": "{}"}, "/unet/diffusion_pytorch_model.bin is a pickle, which can run code when it is read: open the model once in diffusers and save it with safe_serialization=True"},
		{map[string]string{"vae/config.json": ""}, "/vae/config.json: no such file or directory"},
		{map[string]string{"vae/config.json": unetDir + "config.json"}, `/vae/config.json: _class_name is "UNet2DModel", want "AutoencoderKL"`},
		{map[string]string{"vae/" + fp16: ""}, "/vae: no weights: want diffusion_pytorch_model.safetensors"},
		{map[string]string{"vae/" + fp16: "{}"}, "/vae/diffusion_pytorch_model.fp16.safetensors: truncated: 2 bytes"},
		{map[string]string{"text_encoder/model.safetensors.index.json": "", "text_encoder/pytorch_model.bin": "{}"}, "/text_encoder/pytorch_model.bin is a pickle"},
		{map[string]string{"text_encoder/model-00002-of-00003.safetensors": ""}, "/text_encoder/model.safetensors.index.json: stat"},
		{map[string]string{"text_encoder/config.json": `{"model_type": "t5"}`}, `/text_encoder/config.json: model_type is "t5"`},
		{map[string]string{"vae/config.json": `{"latent_channels": 4, "block_out_channels": [32]}`}, "/unet/config.json: out_channels 3, vae/config.json: latent_channels 4: want the same"},
	}
	for _, test := range tests {
		files := latentPipeline()
		for name, from := range test.change {
			files[name] = from
			if from == "" {
				delete(files, name)
			}
		}
		dir := assemble(t, files)
		if _, err := Open(dir, "unet"); err == nil || !strings.Contains(err.Error(), dir+test.want) {
			t.Errorf("%v: got %v\nwant %s", test.change, err, test.want)
		}
	}
	files := latentPipeline()
	const conditionDir = "unet/testdata/timestep/" // of cross_attention_dim 4
	files["unet/config.json"], files["unet/"+plain] = conditionDir+"config.json", conditionDir+plain
	delete(files, "vae/config.json")
	delete(files, "vae/"+fp16)
	dir := assemble(t, files)
	want := dir + "/unet/config.json: cross_attention_dim 4, text_encoder/config.json: hidden_size 16: want the same"
	if _, err := Open(dir, "unet"); err == nil || err.Error() != want {
		t.Errorf("another text encoder: got %v\nwant %s", err, want)
	}
	bare := []struct{ config, want string }{
		{"{}", `_class_name is "", want one of ["UNet2DConditionModel" "UNet2DModel"]`},
		{`{"_class_name": "AutoencoderKL"}`, `_class_name is "AutoencoderKL", want one of ["UNet2DConditionModel" "UNet2DModel"]: this is a part of a pipeline, name the folder above it, which has model_index.json`},
		{`{"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"}`, `_class_name is "CLIPTextModel", want one of ["UNet2DConditionModel" "UNet2DModel"]: this is a part of a pipeline`},
		{`{"_class_name": "Transformer2DModel"}`, `_class_name is "Transformer2DModel", want one of ["UNet2DConditionModel" "UNet2DModel"]`},
	}
	for _, test := range bare {
		if _, err := Open(assemble(t, map[string]string{"config.json": test.config}), "unet"); err == nil || !strings.Contains(err.Error(), "/config.json: "+test.want) {
			t.Errorf("%s: got %v\nwant %s", test.config, err, test.want)
		}
	}
	if _, err := Open(t.TempDir(), "unet"); err == nil || !strings.Contains(err.Error(), "neither model_index.json nor config.json is here") {
		t.Errorf("an empty folder: got %v", err)
	}
}
