package pipeline

import (
	"fmt"
	"strings"

	"immiscible/models/graph"
)

// Plan is what -dry-run tells of a run beside its settings.
type Plan struct {
	Config            Config `json:"config"`
	Parameters        int    `json:"parameters"`
	TrainedParameters int    `json:"trained_parameters"`
	FLOPsPerStep      int64  `json:"flops_per_step"`    // of one optimizer step, forward and backward; a multiply-add is two
	StateBytes        int64  `json:"state_bytes"`       // parameters, gradients, moments, moving average
	ActivationBytes   int64  `json:"activation_bytes"`  // an estimate of a micro-batch's peak
	Published         string `json:"published_numbers"` // others' figures for the preset
}

// DryRun works out a run's size without starting it: no library, no data.
func DryRun(c Config) (*Plan, error) {
	s, err := openSubject(c)
	if err != nil {
		return nil, err
	}
	defer s.close()
	g, err := TrainingGraph(s.unet, s.schedule, s.graph(c))
	if err != nil {
		return nil, err
	}
	lowered, err := graph.Lower(g)
	if err != nil {
		return nil, err
	}
	layout := NewLayout(g.Params(), s.trained(c))
	p := &Plan{Config: c}
	p.Parameters, p.TrainedParameters = layout.Count()
	p.FLOPsPerStep = lowered.FLOPs() * int64(c.Train.BatchSize/c.Train.MicroBatch)
	arenas := int64(4)
	if c.Train.MicroBatch < c.Train.BatchSize {
		arenas++
	}
	p.StateBytes = 4 * (int64(layout.Total) + arenas*int64(layout.Trained))
	running := lowered
	if c.Runtime.Provider != "cuda" { // the graph that the CPU provider gets
		if running, err = graph.Native(g); err != nil {
			return nil, err
		}
	}
	p.ActivationBytes = running.PeakBytes()
	return p, nil
}

// String is the plan as a table.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "parameters        %d (%d trained)\n", p.Parameters, p.TrainedParameters)
	fmt.Fprintf(&b, "compute           %.1f GFLOP a step\n", float64(p.FLOPsPerStep)/1e9)
	fmt.Fprintf(&b, "training state    %.1f MiB\n", float64(p.StateBytes)/(1<<20))
	fmt.Fprintf(&b, "activations       %.1f MiB (estimate, micro-batch of %d)\n", float64(p.ActivationBytes)/(1<<20), p.Config.Train.MicroBatch)
	if p.Published != "" {
		fmt.Fprintf(&b, "published         %s\n", p.Published)
	}
	return b.String()
}
