package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"immiscible/models/engine"
	"immiscible/models/graph"
	"immiscible/pipeline/optim"
)

// Plan is what -dry-run tells of a run beside its settings.
type Plan struct {
	Config            Config     `json:"config"`
	Parameters        int        `json:"parameters"`
	TrainedParameters int        `json:"trained_parameters"`
	FLOPsPerStep      int64      `json:"flops_per_step"`      // of one optimizer step, forward and backward; a multiply-add is two
	StateBytes        int64      `json:"state_bytes"`         // parameters, gradients, moments, moving average
	ActivationBytes   int64      `json:"activation_bytes"`    // an estimate of a micro-batch's peak
	Memory            PlanMemory `json:"memory"`              // the estimate in parts
	Largest           []string   `json:"largest_activations"` // of those alive at the peak, the largest first
	Published         string     `json:"published_numbers"`   // others' figures for the preset
}

// PlanMemory is the estimate of a run's memory on the device, in bytes.
type PlanMemory struct {
	Parameters  int64 `json:"parameters"`
	Gradients   int64 `json:"gradients"` // with micro-batches, their sum too
	Moments     int64 `json:"moments"`
	EMA         int64 `json:"ema"`
	Inputs      int64 `json:"inputs"`      // on a GPU twice: the next ones are there while a step runs
	Pairing     int64 `json:"pairing"`     // images, noise and products of a pool, where a GPU multiplies them
	Activations int64 `json:"activations"` // of the training graph, weights cast to half among them; on a GPU all that its arena holds
	Workspace   int64 `json:"workspace"`   // of the update's graph, and of the provider's libraries
	Sampling    int64 `json:"sampling"`    // activations of the sample grid's graph
	Total       int64 `json:"total"`
}

// DryRun works out a run's size without starting it: no library, no data.
func DryRun(c Config) (*Plan, error) {
	s, err := openSubject(c)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.plan(c)
}

func (s *subject) plan(c Config) (*Plan, error) {
	provider := "cpu"
	if c.Runtime.Provider == "cuda" {
		provider = "cuda"
	}
	kernels := engine.KernelsOf(c.Runtime.Operators, provider)
	options := s.graph(c)
	g, err := TrainingGraph(s.unet, s.schedule, options)
	if err != nil {
		return nil, err
	}
	lowered, err := graph.Lower(g)
	if err != nil {
		return nil, err
	}
	layout := newLayoutFor(provider, g.Params(), s.trained(c))
	p := &Plan{Config: c}
	p.Parameters, p.TrainedParameters = layout.Count()
	p.FLOPsPerStep = lowered.FLOPs() * int64(c.Train.BatchSize/c.Train.MicroBatch)
	m := &p.Memory
	trained := 4 * int64(layout.Trained)
	m.Parameters, m.Gradients, m.Moments, m.EMA = 4*int64(layout.Total), trained, 2*trained, trained
	if c.Train.MicroBatch < c.Train.BatchSize {
		m.Gradients *= 2
	}
	p.StateBytes = m.Parameters + m.Gradients + m.Moments + m.EMA
	if c.productOnDevice(provider) {
		channels, _ := s.unet.Channels()
		dim := channels * options.Height * options.Width
		rows, cols := productBlock(c.poolSize(), dim)
		m.Pairing = 4 * int64(rows*dim+cols*dim+rows*cols)
	}
	if g, err = c.mixed(g, provider, kernels); err != nil {
		return nil, err
	}
	if g, err = drawMasks(g, kernels, c.Train.Seed, s.unet.DropoutRate()); err != nil {
		return nil, err
	}
	for _, v := range g.Inputs {
		if !v.Node.Param {
			m.Inputs += v.Bytes()
		}
	}
	if provider != "cpu" {
		m.Inputs *= 2
	}
	// As newSession hands it to the provider. The CPU provider computes float16 in
	// float32, whose copies are not in the estimate.
	running, err := graph.Native(g, kernels)
	if err != nil {
		return nil, err
	}
	// A GPU's memory is gone with what an arena holds, the host's with what it uses.
	taken := func(running *graph.Graph) (a graph.Arena, bytes int64) {
		if provider == "cpu" {
			a = running.Arena(true)
			return a, a.Peak
		}
		a = running.Arena(c.CUDA.ArenaExtendStrategy == "kNextPowerOfTwo")
		return a, a.Held
	}
	var arena graph.Arena
	arena, m.Activations = taken(running)
	p.ActivationBytes = arena.Peak
	_, alive := running.Peak()
	for _, v := range alive[:min(5, len(alive))] {
		p.Largest = append(p.Largest, fmt.Sprintf("%v, %s", v, mebibytes(v.Bytes())))
	}
	update, err := optim.AdamWGraph(layout.Chunk)
	if err == nil {
		update, err = graph.Native(update, kernels)
	}
	if err != nil {
		return nil, err
	}
	m.Workspace = update.PeakBytes()
	if provider == "cuda" {
		m.Workspace += cudaLibraries
	}
	options.Batch = c.gridBatch(s)
	eval, err := EvalGraph(s.unet, options)
	if err == nil {
		eval, err = graph.Native(eval, kernels)
	}
	if err != nil {
		return nil, err
	}
	_, m.Sampling = taken(eval)
	m.Total = p.StateBytes + m.Inputs + m.Pairing + m.Activations + m.Workspace + m.Sampling
	return p, nil
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// String is the plan as a table.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "parameters        %d (%d trained)\n", p.Parameters, p.TrainedParameters)
	fmt.Fprintf(&b, "compute           %.1f GFLOP a step\n", float64(p.FLOPsPerStep)/1e9)
	m := p.Memory
	fmt.Fprintf(&b, "training state    %s: parameters %s, gradients %s, moments %s, moving average %s\n",
		mebibytes(p.StateBytes), mebibytes(m.Parameters), mebibytes(m.Gradients), mebibytes(m.Moments), mebibytes(m.EMA))
	fmt.Fprintf(&b, "activations       %s (estimate, micro-batch of %d)\n", mebibytes(p.ActivationBytes), p.Config.Train.MicroBatch)
	fmt.Fprintf(&b, "sample grid       %s (estimate)\n", mebibytes(m.Sampling))
	fmt.Fprintf(&b, "workspace         %s (estimate)\n", mebibytes(m.Workspace))
	if m.Pairing > 0 {
		fmt.Fprintf(&b, "pairing           %s\n", mebibytes(m.Pairing))
	}
	fmt.Fprintf(&b, "memory            %s\n", mebibytes(m.Total))
	for i, v := range p.Largest {
		name := ""
		if i == 0 {
			name = "largest"
		}
		fmt.Fprintf(&b, "%-17s %s\n", name, v)
	}
	if p.Published != "" {
		fmt.Fprintf(&b, "published         %s\n", p.Published)
	}
	return b.String()
}

// explainMemory adds to an error of allocation what the run was estimated to
// need, what its largest values are, and what would make it smaller. The
// error stays one line.
func explainMemory(c Config, err error) error {
	var full *engine.OutOfMemoryError
	if !errors.As(err, &full) {
		return err
	}
	p, planErr := DryRun(c)
	if planErr != nil {
		return err
	}
	what := "out of memory"
	if full.Bytes > 0 {
		what += " for " + mebibytes(full.Bytes)
	}
	if full.Node != "" {
		what += " in " + full.Node
	}
	largest := ""
	if len(p.Largest) > 0 {
		largest = "; largest: " + strings.Join(p.Largest[:min(3, len(p.Largest))], "; ")
	}
	return fmt.Errorf("%s: the run was estimated at %s (training state %s, activations %s, sample grid %s)%s; to need less, set %s: %w",
		what, mebibytes(p.Memory.Total), mebibytes(p.StateBytes), mebibytes(p.ActivationBytes), mebibytes(p.Memory.Sampling), largest, strings.Join(c.smaller(), ", "), err)
}

// smaller lists the settings that would need less memory, the cheapest first.
func (c Config) smaller() []string {
	var list []string
	if c.Train.MixedPrecision == "no" && c.Runtime.Provider != "cpu" {
		list = append(list, `train.mixed_precision = "fp16"`)
	}
	if n := c.Train.MicroBatch; n > 1 {
		for n--; c.Train.BatchSize%n != 0; n-- {
		}
		list = append(list, fmt.Sprintf("train.micro_batch = %d", n))
	}
	if !c.Train.GradientCheckpointing {
		list = append(list, "train.gradient_checkpointing = true")
	}
	return append(list, "sample.per_class lower", "a smaller model or resolution")
}
