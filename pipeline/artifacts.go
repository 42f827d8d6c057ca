package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
	"immiscible/pipeline/optim"
)

// artifacts are a training step as files, whatever its graphs were made from.
type artifacts struct {
	training, eval *graph.Graph
	layout         Layout
	weights        []safetensors.Entry
	// defaults are graph inputs of the training model that need not be fed, with
	// the float that counts then.
	defaults map[string]float64
	// more writes what else belongs into the folder; nil: nothing.
	more func(dir string, models map[string]modelSignature) error
}

// write makes the folder out, which must not exist or be empty. It appears whole
// or not at all.
func (a artifacts) write(out string) error {
	optimizer, err := optim.AdamWGraph(a.layout.Chunk)
	if err != nil {
		return err
	}
	norm, err := optim.GradNormGraph(a.layout.Chunk)
	if err != nil {
		return err
	}
	list := manifest{Chunk: a.layout.Chunk, Trained: a.layout.Trained, Opset: graph.Opset, Models: map[string]modelSignature{}, Digests: map[string]string{}}
	for _, p := range a.layout.Params {
		list.Parameters = append(list.Parameters, manifestParam{p.Key, append([]int{}, p.Shape...), "float32", p.Offset, p.Trained})
	}
	if info, err := os.Stat(out); err == nil && !info.IsDir() {
		return fmt.Errorf("-out %s is a file, want a folder: name another", out)
	}
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return fmt.Errorf("-out %s is not empty: name another folder", out)
	}
	if filepath.Clean(out) == "." { // the folder is replaced, and that would take this one from under the shell
		return fmt.Errorf("-out %s is the working directory: name a folder in it", out)
	}
	if real, err := filepath.EvalSymlinks(out); err == nil {
		out = real // a link to a folder stays one: it may lead to another disk
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(out)), 0o755); err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", out, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".tmp-export-*")
	if err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", out, err)
	}
	defer os.RemoveAll(temp)
	for _, part := range []struct {
		file string
		g    *graph.Graph
	}{{"training_model.onnx", a.training}, {"eval_model.onnx", a.eval}, {"optimizer_model.onnx", optimizer}, {"grad_norm_model.onnx", norm}} {
		model, err := part.g.Model()
		if err == nil && part.g == a.training {
			a.addDefaults(model)
		}
		if err == nil {
			err = onnx.Check(model)
		}
		if err == nil {
			err = onnx.Save(filepath.Join(temp, part.file), model)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part.file, err)
		}
		list.Models[part.file] = signature(part.g)
	}
	if err := safetensors.Write(filepath.Join(temp, "model.safetensors"), map[string]string{"format": "pt"}, a.weights); err != nil {
		return err
	}
	if a.more != nil {
		if err := a.more(temp, list.Models); err != nil {
			return err
		}
	}
	if err := writeManifestJSON(temp, list); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("-out %s: %w", out, err)
	}
	return os.Rename(temp, out)
}

// addDefaults gives inputs a value of their own: an initializer of the same name,
// which what is fed overrides (IR.md, since IR version 4).
func (a artifacts) addDefaults(m *onnx.ModelProto) {
	for _, in := range m.Graph.Input {
		if x, ok := a.defaults[in.GetName()]; ok {
			m.Graph.Initializer = append(m.Graph.Initializer, onnx.NewTensor(in.GetName(), onnx.TensorProto_FLOAT, nil, binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(x)))))
		}
	}
}
