package models

import (
	"fmt"
	"os"
	"path/filepath"

	"immiscible/models/safetensors"
)

// Base names of weights files: diffusers' and transformers'.
const (
	diffusersBase    = "diffusion_pytorch_model"
	transformersBase = "model"
)

// openWeights opens the weights of a model folder: one file or the shards of an
// index, the float16 variant where nothing else is there. Source of the names:
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/utils/constants.py
func openWeights(dir, base string) (*safetensors.File, error) {
	path := func(name string) string { return filepath.Join(dir, base+name) }
	switch {
	case exists(path(".safetensors")) || exists(path(".safetensors.index.json")):
		return safetensors.OpenSharded(dir, base)
	case exists(path(".fp16.safetensors")):
		return safetensors.Open(path(".fp16.safetensors"))
	case exists(path(".safetensors.index.fp16.json")):
		return safetensors.OpenIndex(path(".safetensors.index.fp16.json"))
	}
	pickles, err := filepath.Glob(filepath.Join(dir, "*.bin"))
	if err == nil && len(pickles) > 0 {
		return nil, fmt.Errorf("%s is a pickle, which can run code when it is read: open the model once in diffusers and save it with safe_serialization=True", pickles[0])
	}
	return nil, fmt.Errorf("%s: no weights: want %s.safetensors, %[2]s.safetensors.index.json, or %[2]s.fp16.safetensors", dir, base)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
