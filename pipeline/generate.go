package pipeline

import (
	"context"
	"fmt"

	"immiscible/models/engine"
	"immiscible/models/unet"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/sampler"
)

// Generator makes images from a model's parameters in batches of a fixed size.
type Generator struct {
	Config        unet.Config
	Schedule      *diffusion.Schedule
	ImageScale    float64 // the model's images are this many times larger than ours
	Batch, Height int
	Width         int

	session                           *engine.Session
	sample, timesteps, labels, output *engine.Tensor
}

// NewGenerator builds the evaluation session. Trained parameters are read from
// weights (the parameter arena or the moving average) each time it runs, frozen
// ones from the parameter arena.
func NewGenerator(e *engine.Engine, c unet.Config, s *diffusion.Schedule, state *State, weights *engine.Arena, o GraphOptions) (*Generator, error) {
	graph, err := EvalGraph(c, o)
	if err != nil {
		return nil, err
	}
	g := &Generator{Config: c, Schedule: s, ImageScale: 1, Batch: o.Batch, Height: o.Height, Width: o.Width}
	if g.session, err = newSession(e, graph, "eval"); err != nil {
		return nil, err
	}
	for _, v := range graph.Inputs {
		if v.Node.Param {
			continue
		}
		t, err := newTensor(e, v)
		if err == nil {
			err = g.session.Bind(v.Node.Name, t)
		}
		if err != nil {
			g.Close()
			return nil, err
		}
		switch v.Node.Name {
		case "sample":
			g.sample = t
		case "timesteps":
			g.timesteps = t
		case "class_labels":
			g.labels = t
		}
	}
	for _, p := range state.Layout.Params {
		from := weights
		if !p.Trained {
			from = state.Params
		}
		if err := bindView(g.session, p.Key, p, from); err != nil {
			g.Close()
			return nil, err
		}
	}
	if g.output, err = newTensor(e, graph.Outputs[0].Value); err == nil {
		err = g.session.Bind("out_sample", g.output)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// Close frees the session.
func (g *Generator) Close() { g.session.Close() }

// Dim is the number of elements of one image.
func (g *Generator) Dim() int { return g.Config.InChannels * g.Height * g.Width }

// GenerateOptions say how a batch of images is made.
type GenerateOptions struct {
	Sampler       sampler.Sampler
	GuidanceScale float64 // classifier-free guidance; 1 is off
	NullLabel     int64   // the label that stands for "no class", with guidance
	// Noise fills dst with the draw that image i needs at a step. Nil where the
	// sampler needs none.
	Noise func(dst []float32, image, step int)
	// Progress is told of every finished step; nil: nobody is.
	Progress func()
}

// Generate turns initial noise [n, C, H, W] into images in [-1, 1], in place,
// batch after batch; the last batch is filled up with copies. labels [n] is nil
// for an unconditional model. With guidance, output = o(∅) + s·(o(class) − o(∅))
// (Ho & Salimans 2022, arXiv 2207.12598, Eq. 6 with w = s − 1).
func (g *Generator) Generate(ctx context.Context, samples []float32, labels []int64, o GenerateOptions) error {
	dim := g.Dim()
	n := len(samples) / dim
	if len(samples) != n*dim || (g.labels != nil) != (labels != nil) || (labels != nil && len(labels) != n) {
		return fmt.Errorf("generate: %d numbers and %d labels for images of %d numbers (conditioned: %v)", len(samples), len(labels), dim, g.labels != nil)
	}
	batch := make([]float32, g.Batch*dim)
	batchLabels := make([]int64, g.Batch)
	draw := make([]float32, g.Batch*dim)
	for at := 0; at < n; at += g.Batch {
		count := min(g.Batch, n-at)
		for i := range g.Batch {
			from := at + min(i, count-1)
			copy(batch[i*dim:(i+1)*dim], samples[from*dim:(from+1)*dim])
			if labels != nil {
				batchLabels[i] = labels[from]
			}
		}
		for step, t := range o.Sampler.Timesteps() {
			output, err := g.guided(ctx, batch, batchLabels, t, o)
			if err != nil {
				return err
			}
			if err := g.Schedule.Denoised(output, t, batch, output); err != nil {
				return err
			}
			var noise []float32
			if o.Sampler.NeedsNoise(step) {
				noise = draw
				for i := range g.Batch {
					o.Noise(draw[i*dim:(i+1)*dim], at+min(i, count-1), step)
				}
			}
			if err := o.Sampler.Step(step, batch, output, noise); err != nil {
				return err
			}
			if o.Progress != nil {
				o.Progress()
			}
		}
		scale(batch, 1/g.ImageScale)
		copy(samples[at*dim:(at+count)*dim], batch[:count*dim])
	}
	return nil
}

func (g *Generator) guided(ctx context.Context, batch []float32, labels []int64, t int, o GenerateOptions) ([]float32, error) {
	output, err := g.run(ctx, batch, labels, t)
	if err != nil || o.GuidanceScale == 1 {
		return output, err
	}
	null := make([]int64, len(labels))
	for i := range null {
		null[i] = o.NullLabel
	}
	unconditional, err := g.run(ctx, batch, null, t)
	if err != nil {
		return nil, err
	}
	for i, u := range unconditional {
		output[i] = u + float32(o.GuidanceScale)*(output[i]-u)
	}
	return output, nil
}

// run evaluates the model once: batch [N, C, H, W] at timestep t.
func (g *Generator) run(ctx context.Context, batch []float32, labels []int64, t int) ([]float32, error) {
	timesteps := make([]int64, g.Batch)
	for i := range timesteps {
		timesteps[i] = int64(t)
	}
	if err := g.sample.SetFloat32(batch); err != nil {
		return nil, err
	}
	if err := g.timesteps.SetInt64(timesteps); err != nil {
		return nil, err
	}
	if g.labels != nil {
		if err := g.labels.SetInt64(labels); err != nil {
			return nil, err
		}
	}
	if err := g.session.Run(ctx); err != nil {
		return nil, err
	}
	return g.output.GetFloat32(), nil
}
