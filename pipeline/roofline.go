package pipeline

import (
	"immiscible/models/graph"
	"immiscible/pipeline/optim"
)

// StepGraphs are the graphs of one training step as a provider runs them.
type StepGraphs struct {
	Training         *graph.Graph // once a micro-batch
	GradNorm, Update *graph.Graph // once a chunk
	Chunks           int
}

// OpenStepGraphs builds the graphs of the step that bench step times on a GPU, for
// the kernels of our own that a provider has ("cpu", "cuda"), or in standard
// operators (""). It opens no session.
func OpenStepGraphs(o BenchOptions, kernels string) (*StepGraphs, error) {
	c, err := o.config()
	if err != nil {
		return nil, err
	}
	s, err := openSubject(c)
	if err != nil {
		return nil, err
	}
	defer s.close()
	training, err := TrainingGraph(s.unet, s.schedule, s.graph(c))
	if err != nil {
		return nil, err
	}
	layout := newLayoutFor("cuda", training.Params(), s.trained(c))
	if training, err = c.mixed(training, "cuda", kernels); err != nil {
		return nil, err
	}
	if training, err = drawMasks(training, kernels, c.Train.Seed, s.unet.DropoutRate()); err != nil {
		return nil, err
	}
	norm, err := optim.GradNormGraph(layout.Chunk)
	if err != nil {
		return nil, err
	}
	update, err := optim.AdamWGraph(layout.Chunk)
	if err != nil {
		return nil, err
	}
	for _, g := range []**graph.Graph{&training, &norm, &update} {
		if *g, err = graph.Native(*g, kernels); err != nil {
			return nil, err
		}
	}
	return &StepGraphs{training, norm, update, layout.Trained / layout.Chunk}, nil
}
