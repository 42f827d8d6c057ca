package pipeline

import (
	"context"
	"fmt"
	"math"

	"immiscible/models/engine"
	"immiscible/models/graph"
	"immiscible/models/unet"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/sampler"
)

// Generator makes images, or latents, from a model's parameters in batches of a
// fixed size.
type Generator struct {
	Config        unet.Net
	Schedule      *diffusion.Schedule
	ImageScale    float64 // the model's images are this many times larger than ours
	Batch, Height int
	Width         int

	engine     *engine.Engine
	state      *State
	weights    *engine.Arena
	options    GraphOptions
	evaluators map[evaluatorKind]*evaluator
}

// evaluatorKind is what an evaluation session is made for.
type evaluatorKind struct {
	rows       int  // of a run: the batch, or twice as many with guidance
	fractional bool // timesteps between whole ones
}

// evaluator is the model in one session.
type evaluator struct {
	session                           *engine.Session
	sample, timesteps, labels, output *engine.Tensor
	hiddenStates                      *engine.Tensor // nil where the model takes none
}

// NewGenerator builds a generator and its session for runs without guidance and
// whole timesteps; others are made when they are first needed. Trained
// parameters are read from weights (the parameter arena or the moving average)
// each time it runs, frozen ones from the parameter arena.
func NewGenerator(e *engine.Engine, c unet.Net, s *diffusion.Schedule, state *State, weights *engine.Arena, o GraphOptions) (*Generator, error) {
	g := newGenerator(e, c, s, state, weights, o)
	if _, err := g.evaluator(evaluatorKind{rows: o.Batch}); err != nil {
		return nil, err
	}
	return g, nil
}

func newGenerator(e *engine.Engine, c unet.Net, s *diffusion.Schedule, state *State, weights *engine.Arena, o GraphOptions) *Generator {
	return &Generator{Config: c, Schedule: s, ImageScale: 1, Batch: o.Batch, Height: o.Height, Width: o.Width,
		engine: e, state: state, weights: weights, options: o, evaluators: map[evaluatorKind]*evaluator{}}
}

// evaluator is the session of a kind, made at its first use.
func (g *Generator) evaluator(kind evaluatorKind) (*evaluator, error) {
	if e, ok := g.evaluators[kind]; ok {
		return e, nil
	}
	o := g.options
	o.Batch, o.FractionalTimesteps = kind.rows, kind.fractional
	eval, err := EvalGraph(g.Config, o)
	if err != nil {
		return nil, err
	}
	e := &evaluator{}
	if e.session, err = newSession(g.engine, eval, engine.SessionOptions{Name: "eval"}); err != nil {
		return nil, err
	}
	if err := e.bind(g, eval); err != nil {
		e.session.Close()
		return nil, err
	}
	g.evaluators[kind] = e
	return e, nil
}

func (e *evaluator) bind(g *Generator, eval *graph.Graph) (err error) {
	tensors := map[string]**engine.Tensor{"sample": &e.sample, "timesteps": &e.timesteps, "class_labels": &e.labels, "encoder_hidden_states": &e.hiddenStates}
	for _, v := range eval.Inputs {
		if v.Node.Param {
			continue
		}
		t, err := newTensor(g.engine, v)
		if err == nil {
			err = e.session.Bind(v.Node.Name, t)
		}
		if err != nil {
			return err
		}
		*tensors[v.Node.Name] = t
	}
	for _, p := range g.state.Layout.Params {
		from := g.weights
		if !p.Trained {
			from = g.state.Params
		}
		if err := bindView(e.session, p.Key, p, from); err != nil {
			return err
		}
	}
	if e.output, err = newTensor(g.engine, eval.Outputs[0].Value); err != nil {
		return err
	}
	return e.session.Bind("out_sample", e.output)
}

// Close frees the sessions.
func (g *Generator) Close() {
	for _, e := range g.evaluators {
		e.session.Close()
	}
}

// Dim is the number of elements of one image.
func (g *Generator) Dim() int {
	channels, _ := g.Config.Channels()
	return channels * g.Height * g.Width
}

// GenerateOptions say how a batch of images is made.
type GenerateOptions struct {
	Sampler       *sampler.Sampler
	GuidanceScale float64 // classifier-free guidance; 1 is off
	NullLabel     int64   // the label that stands for "no class", with guidance
	// HiddenStates are encoder_hidden_states [T, D], one for each image, where the
	// model takes them; NullHiddenStates those of the negative prompt, with guidance.
	HiddenStates     [][]float32
	NullHiddenStates []float32
	// Noise fills dst with the draw that image i needs at a step. Nil where the
	// sampler needs none.
	Noise func(dst []float32, image, step int)
	// Progress is told of every finished step; nil: nobody is.
	Progress func()
	// Watch sees the samples of images first… before a step, and the model's
	// output for them, both [any number, C, H, W], to read and not to keep; nil:
	// nobody does.
	Watch func(first, step int, samples, output []float32)
}

// guided reports whether guidance needs the model's answer to "no condition".
func (o GenerateOptions) guided() bool { return o.GuidanceScale != 1 }

// kind is the session that a batch needs.
func (g *Generator) kind(o GenerateOptions) evaluatorKind {
	k := evaluatorKind{rows: g.Batch}
	if o.guided() {
		k.rows *= 2
	}
	for _, t := range o.Sampler.Timesteps() {
		k.fractional = k.fractional || t != math.Trunc(t)
	}
	return k
}

// Generate turns standard normal noise [n, C, H, W] into images in [-1, 1] (or
// into latents), in place, batch after batch; the last batch is filled up with
// copies. labels [n] is nil for a model that no class conditions. With guidance,
// output = o(∅) + s·(o(c) − o(∅)), both from one run of a doubled batch (Ho &
// Salimans 2022, arXiv 2207.12598, Eq. 6 with w = s − 1).
func (g *Generator) Generate(ctx context.Context, samples []float32, labels []int64, o GenerateOptions) error {
	dim := g.Dim()
	n := len(samples) / dim
	e, err := g.evaluator(g.kind(o))
	if err != nil {
		return err
	}
	switch {
	case len(samples) != n*dim || (e.labels != nil) != (labels != nil) || (labels != nil && len(labels) != n):
		return fmt.Errorf("generate: %d numbers and %d labels for images of %d numbers (conditioned: %v)", len(samples), len(labels), dim, e.labels != nil)
	case e.hiddenStates != nil && len(o.HiddenStates) != n:
		return fmt.Errorf("generate: %d encoder_hidden_states for %d images, want one each", len(o.HiddenStates), n)
	}
	batch, draw := make([]float32, g.Batch*dim), make([]float32, g.Batch*dim)
	for at := 0; at < n; at += g.Batch {
		image := func(i int) int { return min(at+i, n-1) }
		for i := range g.Batch {
			copy(batch[i*dim:(i+1)*dim], samples[image(i)*dim:])
		}
		scale(batch, o.Sampler.InitNoiseSigma)
		if err := e.condition(g.Batch, image, labels, o); err != nil {
			return err
		}
		for step, t := range o.Sampler.Timesteps() {
			output, err := e.run(ctx, batch, o.Sampler.InputScale(step), t)
			if err != nil {
				return err
			}
			if o.guided() {
				output = guide(output, o.GuidanceScale)
			}
			for i, x := range output {
				if x-x != 0 {
					return &notFiniteError{image: image(i / dim), step: step, timestep: t}
				}
			}
			if o.Watch != nil {
				rows := min(g.Batch, n-at) * dim
				o.Watch(at, step, batch[:rows], output[:rows])
			}
			var noise []float32
			if o.Sampler.NeedsNoise(step) {
				noise = draw
				for i := range g.Batch {
					o.Noise(draw[i*dim:(i+1)*dim], image(i), step)
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
		copy(samples[at*dim:min(at+g.Batch, n)*dim], batch)
	}
	return nil
}

// guide mixes the halves of a doubled batch, the unconditional one first.
func guide(output []float32, s float64) []float32 {
	half := len(output) / 2
	for i, u := range output[:half] {
		output[i] = u + float32(s)*(output[half+i]-u)
	}
	return output[:half]
}

// condition fills in labels and hidden states, which stay for all steps of a
// batch: with guidance those of "no condition" first.
func (e *evaluator) condition(batch int, image func(int) int, labels []int64, o GenerateOptions) error {
	if e.labels != nil {
		var rows []int64
		if o.guided() {
			for range batch {
				rows = append(rows, o.NullLabel)
			}
		}
		for i := range batch {
			rows = append(rows, labels[image(i)])
		}
		if err := e.labels.SetInt64(rows); err != nil {
			return err
		}
	}
	if e.hiddenStates == nil {
		return nil
	}
	rows := make([]float32, 0, e.hiddenStates.Len())
	if o.guided() {
		for range batch {
			rows = append(rows, o.NullHiddenStates...)
		}
	}
	for i := range batch {
		rows = append(rows, o.HiddenStates[image(i)]...)
	}
	return e.hiddenStates.SetFloat32(rows)
}

// run evaluates the model once on scale·batch at timestep t; a session of twice
// the rows sees the batch twice. The result is a copy.
func (e *evaluator) run(ctx context.Context, batch []float32, inputScale, t float64) ([]float32, error) {
	rows := make([]float32, 0, e.sample.Len())
	for len(rows) < e.sample.Len() {
		rows = append(rows, batch...)
	}
	scale(rows, inputScale)
	if err := e.sample.SetFloat32(rows); err != nil {
		return nil, err
	}
	if err := e.setTimestep(t); err != nil {
		return nil, err
	}
	if err := e.session.Run(ctx); err != nil {
		return nil, err
	}
	images := make([]float32, e.output.Len())
	return images, e.output.ReadFloat32(images)
}

func (e *evaluator) setTimestep(t float64) error {
	n := e.timesteps.Len()
	if e.timesteps.DType() == engine.Float32 {
		all := make([]float32, n)
		for i := range all {
			all[i] = float32(t)
		}
		return e.timesteps.SetFloat32(all)
	}
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(t)
	}
	return e.timesteps.SetInt64(all)
}

// notFiniteError is a model whose output is no number.
type notFiniteError struct {
	image, step int // counted from 0
	timestep    float64
}

func (e *notFiniteError) Error() string {
	return fmt.Sprintf("the model's output is not finite at step %d (timestep %g): the weights are broken or overflow; take others, or less guidance", e.step, e.timestep)
}
