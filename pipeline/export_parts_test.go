package pipeline

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

// latentFolder makes a folder in Stable Diffusion's layout of goldens: a U-Net
// of three channels, an autoencoder with as many latent channels, and a text
// encoder, which this U-Net does not look at.
func latentFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for to, from := range map[string]string{"unet": goldenModels + "/single", "vae": goldenVAEs + "/half", "text_encoder": "../models/clip/testdata/sd1"} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	index := `{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DModel"], "vae": ["diffusers", "AutoencoderKL"],
		"text_encoder": ["transformers", "CLIPTextModel"]}`
	if err := os.WriteFile(filepath.Join(dir, "model_index.json"), []byte(index), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The exported autoencoder and text encoder run in ONNX Runtime's own operators
// with their one input, the weights beside them, and give PyTorch's vectors.
func TestGoldenExportParts(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if err := Export(ExportOptions{Model: latentFolder(t), Out: out, Batch: 2, Height: 8, Width: 12, Messages: io.Discard}); err != nil {
		t.Fatal(err)
	}
	vaes := openTensors(t, goldenVAEs+"/half/vectors.safetensors")
	texts := openTensors(t, "../models/clip/testdata/sd1/vectors.safetensors")
	run := func(file, input, output string, feed func(*engine.Tensor) error) []float32 {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(out, file))
		if err != nil {
			t.Fatal(err)
		}
		e := enginetest.Open(t)
		s, err := e.NewSession(raw, engine.SessionOptions{Name: file, ExternalDir: out})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if len(s.Inputs) != 1 || s.Inputs[0].Name != input || len(s.Outputs) != 1 || s.Outputs[0].Name != output {
			t.Fatalf("%s: %v to %v, want %s to %s", file, s.Inputs, s.Outputs, input, output)
		}
		in, err := e.NewTensor(s.Inputs[0].DType, s.Inputs[0].Shape...)
		if err == nil {
			err = feed(in)
		}
		if err != nil {
			t.Fatal(err)
		}
		result, err := e.NewTensor(s.Outputs[0].DType, s.Outputs[0].Shape...)
		for _, err := range []error{err, s.Bind(input, in), s.Bind(output, result), s.Run(t.Context())} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return result.GetFloat32()
	}
	float := func(name string) func(*engine.Tensor) error {
		return func(in *engine.Tensor) error { return in.SetFloat32(vaes.float32s(name)) }
	}
	within(t, "latent_parameters", run("vae_encoder.onnx", "sample", "latent_parameters", float("sample")), vaes.float32s("moments"), 1e-5)
	within(t, "sample", run("vae_decoder.onnx", "latent_sample", "sample", float("latent_sample")), vaes.float32s("decoded"), 1e-5)
	ids := func(in *engine.Tensor) error { return in.SetInt64(texts.int64s("input_ids")) }
	within(t, "last_hidden_state", run("text_encoder.onnx", "input_ids", "last_hidden_state", ids), texts.float32s("last_hidden_state"), 1e-5)

	raw, err := os.ReadFile(filepath.Join(out, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list manifest
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	want := modelSignature{[]manifestValue{{"latent_sample", "float32", []int{2, 3, 2, 3}}}, []manifestValue{{"sample", "float32", []int{2, 1, 8, 12}}}}
	if got := list.Models["vae_decoder.onnx"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("manifest.json: %v, want %v", got, want)
	}
	for _, file := range []string{"vae.safetensors", "text_encoder.safetensors", "vae_encoder.onnx", "vae_decoder.onnx", "text_encoder.onnx"} {
		if len(list.Digests[file]) != 64 {
			t.Errorf("manifest.json: no digest of %s", file)
		}
	}
	// Sizes are in pixels: the U-Net's are those of the latents.
	for _, in := range list.Models["eval_model.onnx"].Inputs {
		if in.Name == "sample" && !slices.Equal(in.Shape, []int{2, 3, 2, 3}) {
			t.Errorf("eval_model.onnx: sample is %v, want [2 3 2 3]", in.Shape)
		}
	}
}

// The default size is sample_size in latents, and a size that is no whole number
// of latents is refused.
func TestExportResolution(t *testing.T) {
	dir := latentFolder(t)
	out := filepath.Join(t.TempDir(), "out")
	err := Export(ExportOptions{Model: dir, Out: out, Batch: 1, Height: 8, Width: 10, Messages: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "-resolution 8x10: want multiples of 4 pixels") {
		t.Errorf("8x10: got %v", err)
	}
	if err := Export(ExportOptions{Model: dir, Out: out, Batch: 1, Messages: io.Discard}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(out, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list manifest
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	if got := list.Models["vae_encoder.onnx"].Inputs[0].Shape; !slices.Equal(got, []int{1, 1, 16, 16}) { // sample_size 4, 4 pixels a latent
		t.Errorf("vae_encoder.onnx: sample is %v, want [1 1 16 16]", got)
	}
}
