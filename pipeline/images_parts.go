package pipeline

import (
	"context"

	"immiscible/models"
	"immiscible/models/engine"
	"immiscible/pipeline/diffusion"
)

// imageParts are the models that turn noise into pictures.
type imageParts struct {
	unet  *Generator
	state *State
	vae   *Autoencoder // nil: the denoiser's samples are the images
	text  *TextEncoder // nil where the model takes no text
}

// openParts loads what the job needs to make n images, and makes the denoiser's
// session.
func (j *imageJob) openParts(e *engine.Engine, n int) (*imageParts, error) {
	p := &imageParts{}
	if err := p.open(j, e, n); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *imageParts) open(j *imageJob, e *engine.Engine, n int) (err error) {
	g := GenerateOptions{Sampler: j.sampler, GuidanceScale: j.Guidance}
	o := GraphOptions{Batch: min(j.Batch, n), Height: j.Height / j.factor, Width: j.Width / j.factor}
	// Never one row: ONNX Runtime multiplies a single row by another kernel, whose
	// last bits differ, and those of all other batches agree.
	if !g.guided() {
		o.Batch = max(2, o.Batch)
	}
	if j.model.Text != nil {
		o.Tokens = j.model.Text.MaxPositionEmbeddings
	}
	if p.unet, p.state, err = loadGenerator(e, j.model, j.schedule, o); err != nil {
		return err
	}
	if _, err = p.unet.evaluator(p.unet.kind(g)); err != nil {
		return err
	}
	if j.model.VAE != nil {
		if p.vae, err = newAutoencoder(e, j.model, min(o.Batch, vaeBatch), j.Height, j.Width); err != nil {
			return err
		}
	}
	if j.text() {
		p.text, err = newTextEncoder(e, j.model, textBatch)
	}
	return err
}

// textBatch is how many captions are encoded at once.
const textBatch = 2

// vaeBatch is how many images a VAE decodes at once: at 512 pixels its widest
// layers hold 128 MiB an image.
const vaeBatch = 4

func (p *imageParts) close() {
	if p.unet != nil {
		p.unet.Close()
	}
	if p.state != nil {
		p.state.Close()
	}
	if p.vae != nil {
		p.vae.Close()
	}
	if p.text != nil {
		p.text.Close()
	}
}

// encode gives the options the hidden states of a batch's captions.
func (p *imageParts) encode(ctx context.Context, records []ImageRecord, o *GenerateOptions) error {
	if p.text == nil {
		return nil
	}
	captions := []string{records[0].Negative}
	for _, r := range records {
		captions = append(captions, *r.Prompt)
	}
	states, err := p.text.Encode(ctx, captions)
	if err != nil {
		return err
	}
	each := len(states) / len(captions)
	o.NullHiddenStates, o.HiddenStates = states[:each], nil
	for i := range records {
		o.HiddenStates = append(o.HiddenStates, states[(1+i)*each:(2+i)*each])
	}
	return nil
}

// decode turns samples into pixels in [−1, 1].
func (p *imageParts) decode(ctx context.Context, samples []float32) ([]float32, error) {
	if p.vae == nil {
		return samples, nil
	}
	return p.vae.Decode(ctx, samples)
}

// loadGenerator opens a generator on a model folder's weights. Its sessions are
// made when they are first needed.
func loadGenerator(e *engine.Engine, m *models.Model, schedule *diffusion.Schedule, o GraphOptions) (*Generator, *State, error) {
	graph, err := EvalGraph(m.UNet, o)
	if err != nil {
		return nil, nil, err
	}
	none := func(string) bool { return false }
	state, err := NewState(e, NewLayout(graph.Params(), none), false)
	if err != nil {
		return nil, nil, err
	}
	if err := state.LoadParams(m.Weights, state.Params, nil); err != nil {
		state.Close()
		return nil, nil, err
	}
	g := newGenerator(e, m.UNet, schedule, state, state.Params, o)
	g.ImageScale = imageScale(m.Weights.Metadata)
	return g, state, nil
}
