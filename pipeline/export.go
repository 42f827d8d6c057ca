package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"immiscible/models"
	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/optim"
)

// ExportOptions say what Export writes.
type ExportOptions struct {
	Model         string // diffusers folder
	Out           string // folder for the artifacts; must not exist, or be empty
	Batch         int
	Height, Width int  // pixels; 0: the configuration's sample_size
	Dropout       bool // keep the configuration's dropout, masks as inputs
	Messages      io.Writer
}

// manifest is manifest.json, the description of the artifacts for other tools.
type manifest struct {
	Parameters []manifestParam           `json:"parameters"`
	Chunk      int                       `json:"chunk"`   // elements of one optimizer run
	Trained    int                       `json:"trained"` // elements of the trained part, a multiple of chunk
	Opset      int                       `json:"opset"`
	Models     map[string]modelSignature `json:"models"`
	Digests    map[string]string         `json:"sha256"`
}

type manifestParam struct {
	Key     string `json:"key"`
	Shape   []int  `json:"shape"`
	DType   string `json:"dtype"`
	Offset  int    `json:"offset"` // elements
	Trained bool   `json:"trained"`
}

type modelSignature struct {
	Inputs  []manifestValue `json:"inputs"`
	Outputs []manifestValue `json:"outputs"`
}

type manifestValue struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
}

// Export writes training_model.onnx, eval_model.onnx, optimizer_model.onnx,
// grad_norm_model.onnx, model.safetensors and manifest.json: everything that a
// stock ONNX Runtime, in any language, needs to train the model. The folder
// appears whole or not at all.
func Export(o ExportOptions) error {
	m, err := models.Open(o.Model, "unet")
	if err != nil {
		return err
	}
	defer m.Close()
	scheduler := diffusion.DefaultConfig()
	if m.Scheduler == "" {
		fmt.Fprintf(o.Messages, "%s has no scheduler_config.json: DDPM's defaults are assumed\n", o.Model)
	} else if scheduler, err = diffusion.LoadConfig(m.Scheduler); err != nil {
		return err
	}
	schedule, err := diffusion.New(scheduler)
	if err != nil {
		return err
	}
	if o.Height == 0 {
		o.Height, o.Width = m.UNet.SampleSize.H, m.UNet.SampleSize.W
	}
	if o.Height == 0 {
		return fmt.Errorf("%s: config.json has no sample_size: name one with -resolution", o.Model)
	}
	options := GraphOptions{Batch: o.Batch, Height: o.Height, Width: o.Width, Dropout: o.Dropout}
	training, err := TrainingGraph(m.UNet, schedule, options)
	if err != nil {
		return err
	}
	eval, err := EvalGraph(m.UNet, options)
	if err != nil {
		return err
	}
	layout := NewLayout(training.Params(), m.UNet.Trained)
	optimizer, err := optim.AdamWGraph(layout.Chunk)
	if err != nil {
		return err
	}
	norm, err := optim.GradNormGraph(layout.Chunk)
	if err != nil {
		return err
	}

	list := manifest{Chunk: layout.Chunk, Trained: layout.Trained, Opset: graph.Opset, Models: map[string]modelSignature{}, Digests: map[string]string{}}
	for _, p := range layout.Params {
		list.Parameters = append(list.Parameters, manifestParam{p.Key, p.Shape, "float32", p.Offset, p.Trained})
	}
	weights, err := exportedWeights(m, layout)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(o.Out); err == nil && len(entries) > 0 {
		return fmt.Errorf("-out %s is not empty: name another folder", o.Out)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(o.Out)), 0o755); err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", o.Out, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(o.Out)), ".tmp-export-*")
	if err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", o.Out, err)
	}
	defer os.RemoveAll(temp)
	for _, a := range []struct {
		file string
		g    *graph.Graph
	}{{"training_model.onnx", training}, {"eval_model.onnx", eval}, {"optimizer_model.onnx", optimizer}, {"grad_norm_model.onnx", norm}} {
		model, err := a.g.Model()
		if err == nil {
			err = onnx.Check(model)
		}
		if err == nil {
			err = onnx.Save(filepath.Join(temp, a.file), model)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.file, err)
		}
		list.Models[a.file] = signature(a.g)
	}
	if err := safetensors.Write(filepath.Join(temp, "model.safetensors"), map[string]string{"format": "pt"}, weights); err != nil {
		return err
	}
	if err := writeManifestJSON(temp, list); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := os.Remove(o.Out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("-out %s: %w", o.Out, err)
	}
	return os.Rename(temp, o.Out)
}

func signature(g *graph.Graph) modelSignature {
	var s modelSignature
	value := func(name string, v *graph.Value) manifestValue {
		return manifestValue{name, v.DType.String(), append([]int{}, v.Shape...)}
	}
	for _, v := range g.Inputs {
		s.Inputs = append(s.Inputs, value(v.Node.Name, v))
	}
	for _, out := range g.Outputs {
		s.Outputs = append(s.Outputs, value(out.Name, out.Value))
	}
	return s
}

// exportedWeights are the folder's weights as float32 under today's keys.
func exportedWeights(m *models.Model, layout Layout) ([]safetensors.Entry, error) {
	tensors, err := matchWeights(m.Weights, layout)
	if err != nil {
		return nil, err
	}
	var entries []safetensors.Entry
	for i, p := range layout.Params {
		values := make([]float32, p.Numel())
		if err := m.Weights.Float32(tensors[i], values); err != nil {
			return nil, err
		}
		shape := make([]int64, len(p.Shape))
		for k, d := range p.Shape {
			shape[k] = int64(d)
		}
		entries = append(entries, safetensors.Float32Entry(p.Key, shape, values))
	}
	return entries, nil
}

// writeManifestJSON adds the digest of every file in dir and writes the list.
func writeManifestJSON(dir string, list manifest) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		h := sha256.New()
		file, err := os.Open(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		_, err = io.Copy(h, file)
		file.Close()
		if err != nil {
			return err
		}
		list.Digests[f.Name()] = hex.EncodeToString(h.Sum(nil))
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetIndent("", " ")
	if err := e.Encode(list); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(text.String()), 0o644)
}
