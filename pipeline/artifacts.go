package pipeline

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"

	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
	"immiscible/pipeline/optim"
	"immiscible/pipeline/whole"
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
	return whole.Folder(out, func(dir string) error {
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
				err = onnx.Save(filepath.Join(dir, part.file), model)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", part.file, err)
			}
			list.Models[part.file] = signature(part.g)
		}
		if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), map[string]string{"format": "pt"}, a.weights); err != nil {
			return err
		}
		if a.more != nil {
			if err := a.more(dir, list.Models); err != nil {
				return err
			}
		}
		return writeManifestJSON(dir, list)
	})
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
