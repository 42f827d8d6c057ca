// Package models opens folders that hold a model. Its subpackages:
//
//	onnx         ModelProto in and out
//	graph        typed graphs: building, derivatives, emission
//	engine       ONNX Runtime: the library, sessions, arenas
//	safetensors  weights in and out
//	nn           layers that families share
//	unet         UNet2DModel, UNet2DConditionModel
//	vae          AutoencoderKL
//	clip         CLIPTextModel and its tokenizer
//
// Imports point one way: unet | vae | clip → nn → graph → onnx; engine and
// safetensors stand beside and import none of these.
package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/models/clip"
	"immiscible/models/safetensors"
	"immiscible/models/unet"
	"immiscible/models/vae"
)

// Model is an opened folder in diffusers' layout. Close it after use. What a
// pipeline has beside its denoiser is nil or "" where model_index.json does not
// name it, or where its folder was left out: whoever needs it says so.
type Model struct {
	Dir         string
	Part        string // subfolder that UNet and Weights come from; "" for a bare model folder
	UNet        unet.Net
	Weights     *safetensors.File
	Scheduler   string // path of scheduler_config.json; "" where the folder has none
	VAE         *vae.Config
	VAEWeights  *safetensors.File
	Text        *clip.Config
	TextWeights *safetensors.File // clip.Key maps its names
	Tokenizer   string            // the tokenizer's folder
}

// classes is the one table of architectures: what a config.json's _class_name
// may be.
var classes = map[string]func(path string) (unet.Net, error){
	"UNet2DModel":          unet.Load,
	"UNet2DConditionModel": unet.Load,
}

// parts are what a pipeline may hold beside its denoiser, by subfolder.
var parts = map[string]func(m *Model, dir string) error{
	"vae": func(m *Model, dir string) error {
		c, err := vae.LoadConfig(filepath.Join(dir, "config.json"))
		if err != nil {
			return err
		}
		m.VAE = &c
		m.VAEWeights, err = openWeights(dir, diffusersBase)
		return err
	},
	"text_encoder": func(m *Model, dir string) error {
		c, err := clip.LoadConfig(filepath.Join(dir, "config.json"))
		if err != nil {
			return err
		}
		m.Text = &c
		m.TextWeights, err = openWeights(dir, transformersBase)
		return err
	},
	"tokenizer": func(m *Model, dir string) error {
		m.Tokenizer = dir
		return nil
	},
}

// Open opens a pipeline folder (model_index.json, unet/, scheduler/ and, of
// Stable Diffusion, vae/, text_encoder/ and tokenizer/) or a bare model folder
// (config.json beside its weights). part is the subfolder of a pipeline that holds the model: "unet", or
// "unet_ema" for the moving average; a pipeline without unet_ema falls back to
// unet, as Part then says. Headers are read, and no weights.
func Open(dir, part string) (*Model, error) {
	m := &Model{Dir: dir}
	if err := m.open(part); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) open(part string) error {
	modelDir, beside := m.Dir, m.Dir
	index := filepath.Join(m.Dir, "model_index.json")
	if exists(index) {
		if part == "unet_ema" && !exists(filepath.Join(m.Dir, part)) {
			part = "unet"
		}
		if err := m.openParts(index); err != nil {
			return err
		}
		m.Part, modelDir, beside = part, filepath.Join(m.Dir, part), filepath.Join(m.Dir, "scheduler")
	}
	if path := filepath.Join(beside, "scheduler_config.json"); exists(path) {
		m.Scheduler = path
	}
	config := filepath.Join(modelDir, "config.json")
	data, err := os.ReadFile(config)
	switch {
	case errors.Is(err, fs.ErrNotExist) && m.Part != "":
		return fmt.Errorf("%s is missing, and model_index.json is here: want a pipeline with a U-Net", config)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: neither model_index.json nor config.json is here: name a diffusers folder", m.Dir)
	case err != nil:
		return fmt.Errorf("opening a model: %w", err)
	}
	class, err := className(config, data)
	if err != nil {
		return err
	}
	load, ok := classes[class]
	if !ok {
		advice := ""
		if m.Part == "" && (class == "AutoencoderKL" || strings.HasPrefix(class, "CLIPTextModel")) {
			advice = ": this is a part of a pipeline, name the folder above it, which has model_index.json"
		}
		return fmt.Errorf("%s: _class_name is %q, want one of %q%s", config, class, slices.Sorted(maps.Keys(classes)), advice)
	}
	if m.UNet, err = load(config); err != nil {
		return err
	}
	if _, out := m.UNet.Channels(); m.VAE != nil && out != m.VAE.LatentChannels {
		return fmt.Errorf("%s: out_channels %d, vae/config.json: latent_channels %d: want the same", config, out, m.VAE.LatentChannels)
	}
	if d := m.UNet.CrossAttentionDim(); d > 0 && m.Text != nil && d != m.Text.HiddenSize {
		return fmt.Errorf("%s: cross_attention_dim %d, text_encoder/config.json: hidden_size %d: want the same", config, d, m.Text.HiddenSize)
	}
	m.Weights, err = openWeights(modelDir, diffusersBase)
	return err
}

// openParts opens what model_index.json names beside the denoiser and the
// folder has.
func (m *Model) openParts(index string) error {
	data, err := os.ReadFile(index)
	if err != nil {
		return fmt.Errorf("opening a model: %w", err)
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(data, &entries); err != nil {
		return fmt.Errorf("%s: not a JSON object: %w", index, err)
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		var class [2]*string // library and class, both null for a part that the pipeline does without
		dir := filepath.Join(m.Dir, name)
		if json.Unmarshal(entries[name], &class) != nil || class[1] == nil || !exists(dir) {
			continue
		}
		if err := parts[name](m, dir); err != nil {
			return err
		}
	}
	return nil
}

// className is what a config.json describes: diffusers' _class_name, or what
// transformers writes in its place.
func className(path string, data []byte) (string, error) {
	var head struct {
		Class         string   `json:"_class_name"`
		Architectures []string `json:"architectures"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return "", fmt.Errorf("%s: not a JSON object: %w", path, err)
	}
	if head.Class == "" && len(head.Architectures) > 0 {
		return head.Architectures[0], nil
	}
	return head.Class, nil
}

// Close closes the weights.
func (m *Model) Close() error {
	var err error
	for _, f := range []*safetensors.File{m.Weights, m.VAEWeights, m.TextWeights} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}
