package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"immiscible/models"
	"immiscible/models/graph"
	"immiscible/models/safetensors"
	"immiscible/pipeline/diffusion"
)

// ExportOptions say what Export writes.
type ExportOptions struct {
	Model         string // diffusers folder
	Out           string // folder for the artifacts; must not exist, or be empty
	Batch         int
	Height, Width int  // pixels, of a latent model too; 0: the configuration's sample_size
	Tokens        int  // of encoder_hidden_states; 0: the text encoder's max_position_embeddings, or CLIP's 77
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
// stock ONNX Runtime, in any language, needs to train the model; and, of a
// pipeline folder that has them, its autoencoder and its text encoder
// (export_parts.go). The folder appears whole or not at all.
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
	factor := 1 // pixels a number of the model's input, in each direction
	if m.VAE != nil {
		factor = m.VAE.Factor()
	} else if m.UNet.CrossAttentionDim() > 0 {
		fmt.Fprintf(o.Messages, "%s has no vae folder: sizes are the model's own, in latents\n", o.Model)
	}
	if o.Height == 0 {
		size := m.UNet.Sample()
		o.Height, o.Width = size.H*factor, size.W*factor
	}
	if o.Height == 0 {
		return fmt.Errorf("%s: config.json has no sample_size: name one with -resolution", o.Model)
	}
	if o.Height%factor != 0 || o.Width%factor != 0 {
		return fmt.Errorf("-resolution %dx%d: want multiples of %d pixels, one latent of the VAE", o.Height, o.Width, factor)
	}
	if most := maxPixels / (o.Height * o.Width); o.Batch > most {
		return fmt.Errorf("-batch %d images of %dx%d: want at most %d of them", o.Batch, o.Height, o.Width, most)
	}
	if m.Text != nil && o.Tokens == 0 {
		o.Tokens = m.Text.MaxPositionEmbeddings
	}
	options := GraphOptions{Batch: o.Batch, Height: o.Height / factor, Width: o.Width / factor, Tokens: o.Tokens, Dropout: o.Dropout}
	training, err := TrainingGraph(m.UNet, schedule, options)
	if err != nil {
		return err
	}
	eval, err := EvalGraph(m.UNet, options)
	if err != nil {
		return err
	}
	layout := NewLayout(training.Params(), m.UNet.Trained)
	weights, err := exportedWeights(m.Weights, layout, todaysKey)
	if err != nil {
		return err
	}
	parts, err := exportedParts(m, o)
	if err != nil {
		return err
	}
	return artifacts{training: training, eval: eval, layout: layout, weights: weights, more: func(dir string, models map[string]modelSignature) error {
		for _, part := range parts {
			if err := part.write(dir, models); err != nil {
				return err
			}
		}
		return nil
	}}.write(o.Out)
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

// exportedWeights are a file's weights as float32 under today's keys, which key
// maps its names to. One tensor at a time is in memory while they are written.
func exportedWeights(f *safetensors.File, layout Layout, key func(name string) (string, bool)) ([]safetensors.Entry, error) {
	tensors, err := matchWeights(f, layout, key)
	if err != nil {
		return nil, err
	}
	var entries []safetensors.Entry
	for i, p := range layout.Params {
		shape := make([]int64, len(p.Shape))
		for k, d := range p.Shape {
			shape[k] = int64(d)
		}
		entries = append(entries, safetensors.Entry{Name: p.Key, DType: "F32", Shape: shape, Write: func(w io.Writer) error {
			values := make([]float32, p.Numel())
			if err := readWeights(f, tensors[i], values); err != nil {
				return err
			}
			return safetensors.Float32Entry(p.Key, shape, values).Write(w)
		}})
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
