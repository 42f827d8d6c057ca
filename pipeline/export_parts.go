package pipeline

import (
	"fmt"
	"path/filepath"
	"slices"

	"immiscible/models"
	"immiscible/models/clip"
	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
)

// exportedPart is a part of a pipeline that is not trained: graphs whose weights
// are initializers, external data in a safetensors file beside them, so that
// whoever runs them gives the one input only.
type exportedPart struct {
	weightsFile string
	weights     []safetensors.Entry
	graphs      []*graph.Graph // each is written as <name>.onnx
}

// exportedParts are the parts that a model's folder has: vae_encoder.onnx,
// vae_decoder.onnx and text_encoder.onnx.
func exportedParts(m *models.Model, o ExportOptions) ([]exportedPart, error) {
	var parts []exportedPart
	add := func(file string, f *safetensors.File, key func(string) (string, bool), graphs ...*graph.Graph) error {
		var params []*graph.Value
		for _, g := range graphs {
			params = append(params, g.Params()...)
		}
		weights, err := exportedWeights(f, NewLayout(params, func(string) bool { return false }), key)
		parts = append(parts, exportedPart{file, weights, graphs})
		return err
	}
	if m.VAE != nil {
		f := m.VAE.Factor()
		encoder, err := VAEEncoderGraph(*m.VAE, GraphOptions{Batch: o.Batch, Height: o.Height, Width: o.Width})
		if err != nil {
			return nil, err
		}
		decoder, err := VAEDecoderGraph(*m.VAE, GraphOptions{Batch: o.Batch, Height: o.Height / f, Width: o.Width / f})
		if err != nil {
			return nil, err
		}
		if err := add("vae.safetensors", m.VAEWeights, todaysKey, encoder, decoder); err != nil {
			return nil, err
		}
	}
	if m.Text != nil {
		text, err := TextEncoderGraph(*m.Text, o.Batch, o.Tokens)
		if err != nil {
			return nil, err
		}
		if err := add("text_encoder.safetensors", m.TextWeights, clip.Key, text); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// TextEncoderGraph is the contract of text_encoder.onnx: input_ids int64 [N, T]
// and the text model's parameters to last_hidden_state [N, T, hidden_size].
func TextEncoderGraph(c clip.Config, batch, tokens int) (*graph.Graph, error) {
	return graph.Build("text_encoder", func(b *graph.Builder) {
		b.Output("last_hidden_state", clip.TextModel(b, c, b.Input("input_ids", graph.Int64, batch, tokens)))
	})
}

// write writes the weights and the graphs into dir, and the graphs' signatures
// into signatures.
func (p exportedPart) write(dir string, signatures map[string]modelSignature) error {
	path := filepath.Join(dir, p.weightsFile)
	if err := safetensors.Write(path, map[string]string{"format": "pt"}, p.weights); err != nil {
		return err
	}
	written, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer written.Close()
	for _, g := range p.graphs {
		file := g.Name + ".onnx"
		model, err := g.Model()
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		given := map[string]bool{}
		for _, v := range g.Params() {
			t, _ := written.Lookup(v.Node.Name)
			given[t.Name] = true
			model.Graph.Initializer = append(model.Graph.Initializer,
				onnx.ExternalTensor(t.Name, v.DType.ONNX(), t.Shape, p.weightsFile, t.Offset, t.Size))
		}
		model.Graph.Input = slices.DeleteFunc(model.Graph.Input, func(in *onnx.ValueInfoProto) bool { return given[in.GetName()] })
		if err := onnx.Check(model); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := onnx.Save(filepath.Join(dir, file), model); err != nil {
			return err
		}
		s := signature(g)
		s.Inputs = slices.DeleteFunc(s.Inputs, func(in manifestValue) bool { return given[in.Name] })
		signatures[file] = s
	}
	return nil
}
