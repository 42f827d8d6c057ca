// Package models opens folders that hold a model. Its subpackages:
//
//	onnx         ModelProto in and out
//	graph        typed graphs: building, derivatives, emission
//	engine       ONNX Runtime: the library, sessions, arenas
//	safetensors  weights in and out
//	nn           layers that families share
//	unet         UNet2DModel
//
// Imports point one way: unet → nn → graph → onnx; engine and safetensors stand
// beside and import none of these.
package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"immiscible/models/safetensors"
	"immiscible/models/unet"
)

// Model is an opened folder in diffusers' layout. Close it after use.
type Model struct {
	Dir       string
	Part      string // subfolder that the weights come from; "" for a bare model folder
	UNet      unet.Config
	Weights   *safetensors.File
	Scheduler string // path of scheduler_config.json; "" where the folder has none
}

// classes is the one table of architectures: what a config.json's _class_name
// may be.
var classes = map[string]func(m *Model, path string) error{
	"UNet2DModel": func(m *Model, path string) (err error) {
		m.UNet, err = unet.LoadConfig(path)
		return err
	},
}

// Open opens a pipeline folder (model_index.json, unet/, scheduler/) or a bare
// model folder (config.json beside its weights). part is the subfolder of a
// pipeline that holds the model: "unet", or "unet_ema" for the moving average;
// a pipeline without unet_ema falls back to unet, as Part then says.
func Open(dir, part string) (*Model, error) {
	m := &Model{Dir: dir}
	modelDir := dir
	if exists(filepath.Join(dir, "model_index.json")) {
		if part == "unet_ema" && !exists(filepath.Join(dir, part)) {
			part = "unet"
		}
		m.Part, modelDir = part, filepath.Join(dir, part)
		m.Scheduler = filepath.Join(dir, "scheduler", "scheduler_config.json")
	} else {
		m.Scheduler = filepath.Join(dir, "scheduler_config.json")
	}
	if !exists(m.Scheduler) {
		m.Scheduler = ""
	}
	config := filepath.Join(modelDir, "config.json")
	data, err := os.ReadFile(config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: neither model_index.json nor config.json is here: name a diffusers folder", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("opening a model: %w", err)
	}
	var head struct {
		Class string `json:"_class_name"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%s: not a JSON object: %w", config, err)
	}
	read, ok := classes[head.Class]
	if !ok {
		return nil, fmt.Errorf("%s: _class_name is %q, want one of %s", config, head.Class, known())
	}
	if err := read(m, config); err != nil {
		return nil, err
	}
	if m.Weights, err = openWeights(modelDir); err != nil {
		return nil, err
	}
	return m, nil
}

// Close closes the weights.
func (m *Model) Close() error { return m.Weights.Close() }

func openWeights(dir string) (*safetensors.File, error) {
	const base = "diffusion_pytorch_model"
	if !exists(filepath.Join(dir, base+".safetensors")) && !exists(filepath.Join(dir, base+".safetensors.index.json")) &&
		exists(filepath.Join(dir, base+".bin")) {
		return nil, fmt.Errorf("%s: %s.bin is a pickle, which can run code when it is read: save the model again with safe_serialization=True", dir, base)
	}
	return safetensors.OpenSharded(dir, base)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func known() string {
	var names []string
	for name := range classes {
		names = append(names, fmt.Sprintf("%q", name))
	}
	return strings.Join(names, ", ")
}
