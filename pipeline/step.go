package pipeline

import (
	"context"
	"fmt"
	"math"

	"immiscible/models/engine"
	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/pipeline/optim"
)

// Stepper runs training steps on a State: the training graph once a micro-batch,
// then the norm and the optimizer graph once a chunk. Gradients and update are
// different sessions, so that gradients can be summed, measured and skipped
// before any parameter moves; it also makes the update in place exact, since no
// reader of an old parameter is left.
type Stepper struct {
	State *State

	training, norm, accumulate, optimizer *engine.Session
	inputs                                map[string]*engine.Tensor
	batch                                 *engine.Arena // of all inputs but loss_scale
	feed                                  *engine.Feed  // of batch
	ahead                                 bool          // the feed may be filled while a step runs
	lossScale                             float32       // on the device; 0 before it is set
	perSample, loss                       *engine.Tensor
	sums                                  *engine.Tensor // sum_of_squares of each chunk
	scalars                               *engine.Tensor // the optimizer graph's, one after another
	scalarNames                           []string
}

// NewStepper builds the sessions for a training graph whose parameters are laid
// out in s.
func NewStepper(e *engine.Engine, g *graph.Graph, s *State) (*Stepper, error) {
	return newStepper(e, g, s, e.Provider != "cpu")
}

// newStepper is NewStepper; ahead says whether the inputs of the next step can be
// filled while one runs.
func newStepper(e *engine.Engine, g *graph.Graph, s *State, ahead bool) (*Stepper, error) {
	t := &Stepper{State: s, inputs: map[string]*engine.Tensor{}, ahead: ahead}
	ok := false
	defer func() {
		if !ok {
			t.Close()
		}
	}()
	var err error
	options := engine.SessionOptions{Name: "training", FixedAddresses: true, KeepOrder: true}
	if t.training, err = newSession(e, g, onDevice(e, options)); err != nil {
		return nil, err
	}
	if err := t.bindInputs(e, g); err != nil {
		return nil, err
	}
	for _, p := range s.Layout.Params {
		if err := bindView(t.training, p.Key, p, s.Params); err != nil {
			return nil, err
		}
		if p.Trained {
			if err := bindView(t.training, p.Key+".grad", p, s.Grads); err != nil {
				return nil, err
			}
		}
	}
	for _, o := range g.Outputs[:2] {
		tensor, err := newTensor(e, o.Value)
		if err != nil {
			return nil, err
		}
		if err := t.training.Bind(o.Name, tensor); err != nil {
			return nil, err
		}
		if o.Name == "loss" {
			t.loss = tensor
		} else {
			t.perSample = tensor
		}
	}

	for _, flat := range []struct {
		to    **engine.Session
		name  string
		build func(m int) (*graph.Graph, error)
	}{
		{&t.norm, "grad_norm", optim.GradNormGraph},
		{&t.accumulate, "accumulate", optim.AccumulateGraph},
		{&t.optimizer, "optimizer", optim.AdamWGraph},
	} {
		g, err := flat.build(s.Layout.Chunk)
		if err != nil {
			return nil, err
		}
		if *flat.to, err = newSession(e, g, onDevice(e, engine.SessionOptions{Name: flat.name})); err != nil {
			return nil, err
		}
		if flat.to == &t.optimizer {
			if err := t.bindScalars(e, g); err != nil {
				return nil, err
			}
		}
	}
	if t.sums, err = e.NewTensor(engine.Float32, int64(s.Layout.Trained/s.Layout.Chunk)); err != nil {
		return nil, err
	}
	ok = true
	return t, nil
}

// Close frees the sessions; the State stays.
func (t *Stepper) Close() {
	for _, s := range []*engine.Session{t.training, t.norm, t.accumulate, t.optimizer} {
		if s != nil {
			s.Close()
		}
	}
	if t.feed != nil {
		t.feed.Close()
	}
	if t.batch != nil {
		t.batch.Close()
	}
}

// Gradients runs the training graph on the inputs as they stand. With a sum
// arena the gradients are added to it; first says that they replace it.
// It returns the weighted loss and the unweighted loss of each sample.
// The read of the loss is a device synchronisation.
func (t *Stepper) Gradients(ctx context.Context, first bool) (loss float64, perSample []float32, err error) {
	if err := t.training.Run(ctx); err != nil {
		return 0, nil, err
	}
	s := t.State
	if s.Sum != nil {
		if first {
			if err := s.Sum.Zero(); err != nil {
				return 0, nil, err
			}
		}
		err := t.eachChunk(ctx, t.accumulate, map[string]*engine.Arena{"sum": s.Sum, "grads": s.Grads, "sum.new": s.Sum}, nil)
		if err != nil {
			return 0, nil, err
		}
	}
	var whole [1]float32
	if err := t.loss.ReadFloat32(whole[:]); err != nil {
		return 0, nil, err
	}
	perSample = make([]float32, t.perSample.Len())
	return float64(whole[0]), perSample, t.perSample.ReadFloat32(perSample)
}

// gradients is the arena that holds the whole batch's gradients.
func (s *State) gradients() *engine.Arena {
	if s.Sum != nil {
		return s.Sum
	}
	return s.Grads
}

// Norm is the global L2 norm of the gradients, which are multiplied by
// lossScale; it is not finite if any of them is not. Chunk sums are added in
// float64 in the arena's order. They are read together: one device
// synchronisation, whatever the number of chunks.
func (t *Stepper) Norm(ctx context.Context, lossScale float64) (float64, error) {
	err := t.eachChunk(ctx, t.norm, map[string]*engine.Arena{"grads": t.State.gradients()}, func(chunk int) error {
		sum, err := t.sums.Element(chunk)
		if err != nil {
			return err
		}
		return t.norm.Bind("sum_of_squares", sum)
	})
	if err != nil {
		return 0, err
	}
	sums := make([]float32, t.sums.Len())
	if err := t.sums.ReadFloat32(sums); err != nil {
		return 0, err
	}
	total := 0.0
	for _, sum := range sums {
		total += float64(sum)
	}
	return math.Sqrt(total) / lossScale, nil
}

// Update runs AdamW and the moving average in place. scalars are the optimizer
// graph's: lr, beta1, …, ema_decay.
func (t *Stepper) Update(ctx context.Context, scalars map[string]float64) error {
	values := make([]float32, len(t.scalarNames))
	for i, name := range t.scalarNames {
		x, ok := scalars[name]
		if !ok {
			return fmt.Errorf("optimizer: no value for its input %q", name)
		}
		values[i] = float32(x)
	}
	if err := t.scalars.SetFloat32(values); err != nil {
		return err
	}
	s := t.State
	return t.eachChunk(ctx, t.optimizer, map[string]*engine.Arena{
		"params": s.Params, "grads": s.gradients(), "exp_avg": s.ExpAvg, "exp_avg_sq": s.ExpAvgSq, "ema_params": s.EMA,
		"params.new": s.Params, "exp_avg.new": s.ExpAvg, "exp_avg_sq.new": s.ExpAvgSq, "ema_params.new": s.EMA,
	}, nil)
}

// eachChunk runs a flat graph over the trained part of the arenas, and waits for
// the device once, after the last chunk; bind, if set, binds what else a chunk has.
func (t *Stepper) eachChunk(ctx context.Context, s *engine.Session, arenas map[string]*engine.Arena, bind func(chunk int) error) error {
	l := t.State.Layout
	for at := 0; at < l.Trained; at += l.Chunk {
		for name, arena := range arenas {
			view, err := arena.View(4*int64(at), engine.Float32, int64(l.Chunk))
			if err != nil {
				return err
			}
			if err := s.Bind(name, view); err != nil {
				return err
			}
		}
		if bind != nil {
			if err := bind(at / l.Chunk); err != nil {
				return err
			}
		}
		run := s.Queue
		if at+l.Chunk == l.Trained {
			run = s.Run
		}
		if err := run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// FirstBad names the first tensor, in forward order, that is not finite, and the
// value: a weight or, where all weights are finite, a gradient. Where all
// gradients are finite too, it is the sum of their squares that overflows.
func (t *Stepper) FirstBad() (name string, weight bool, err error) {
	s := t.State
	for _, look := range []struct {
		arena  *engine.Arena
		suffix string
	}{{s.Params, ""}, {s.gradients(), ".grad"}} {
		for _, p := range s.Layout.Params {
			if !p.Trained && look.arena != s.Params {
				continue
			}
			values, err := p.Read(look.arena)
			if err != nil {
				return "", false, err
			}
			for i, x := range values {
				if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
					return fmt.Sprintf("%s%s[%d] = %g", p.Key, look.suffix, i, x), look.arena == s.Params, nil
				}
			}
		}
	}
	return "the norm of all gradients", false, nil
}

// newSession loads a graph, written for the engine's operators.
func newSession(e *engine.Engine, g *graph.Graph, o engine.SessionOptions) (*engine.Session, error) {
	model := g.NativeModel
	if o.KeepOrder {
		model = g.TrainingModel
	}
	m, err := model(e.Kernels)
	if err != nil {
		return nil, err
	}
	raw, err := onnx.Marshal(m)
	if err != nil {
		return nil, err
	}
	o.DisableCSE = g.Recomputes
	return e.NewSession(raw, o)
}

// onDevice asks for the proof that no node of a training step is left to the
// CPU. None is excepted by name: the graphs have static shapes, so that no node
// computes one, which is all that ONNX Runtime keeps on the CPU by choice.
func onDevice(e *engine.Engine, o engine.SessionOptions) engine.SessionOptions {
	o.OnDevice = e.Provider != "cpu"
	return o
}

// newTensor allocates device memory for a graph's input or output.
func newTensor(e *engine.Engine, v *graph.Value) (*engine.Tensor, error) {
	return e.NewTensor(engineType(v.DType), engineShape(v.Shape)...)
}

// engineType is the graph's element type by the engine's name.
func engineType(d graph.DType) engine.DType {
	return map[graph.DType]engine.DType{
		graph.Float32: engine.Float32, graph.Int64: engine.Int64, graph.Bool: engine.Bool, graph.Float16: engine.Float16, graph.BFloat16: engine.BFloat16,
	}[d]
}

func engineShape(shape []int) []int64 {
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i] = int64(d)
	}
	return dims
}

func bindView(s *engine.Session, name string, p Param, a *engine.Arena) error {
	view, err := p.View(a)
	if err != nil {
		return err
	}
	return s.Bind(name, view)
}
