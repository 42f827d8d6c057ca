package pipeline

import (
	"slices"

	"immiscible/models/graph"
	"immiscible/models/unet"
	"immiscible/pipeline/diffusion"
)

// GraphOptions say for which shapes and with which parts a graph is built.
type GraphOptions struct {
	Batch, Height, Width int
	Tokens               int                   // T of encoder_hidden_states; 0: CLIP's 77
	FractionalTimesteps  bool                  // timesteps are float32 [N]: samplers may walk between whole ones
	Dropout              bool                  // apply the configuration's dropout, with masks as inputs
	InputPerturbation    bool                  // the image is noised by input_noise, the target stays noise
	Checkpointing        bool                  // gradient checkpointing: activations inside a block are computed again
	Trained              func(key string) bool // parameters to differentiate; nil: all that the model trains
}

// TrainingGraph is one training step up to the gradients, the contract of
// training_model.onnx:
//
//	x_t    = √ᾱ_t·sample + √(1−ᾱ_t)·noise           (Ho et al. 2020, Eq. 4)
//	output = model(x_t, t, class_labels, encoder_hidden_states)
//	loss_per_sample[i] = mean over C, H, W of (target − output)²
//	loss   = (1/N)·Σ loss_weights[i]·loss_per_sample[i]
//	<key>.grad = ∂(loss·loss_scale)/∂<key>
//
// Inputs: sample and noise [N, C, H, W], timesteps int64 [N], class_labels where
// the model is conditioned, encoder_hidden_states [N, T, D] where it takes them,
// input_noise with input perturbation, loss_weights [N], loss_scale [], and the
// parameters. Gradients are declared in forward-layer order, which halves the
// peak memory (see graph.Model).
func TrainingGraph(c unet.Net, s *diffusion.Schedule, o GraphOptions) (*graph.Graph, error) {
	g, err := graph.Build("training", func(b *graph.Builder) {
		in := declareInputs(b, c, o)
		image := in.Sample.Shape
		noise := b.Input("noise", graph.Float32, image...)
		lossWeights := b.Input("loss_weights", graph.Float32, o.Batch)
		lossScale := b.Input("loss_scale", graph.Float32)

		lookup := func(coefficient func(t int) float64) *graph.Value { // [N, 1, 1, 1]
			table := make([]float32, s.NumTrainTimesteps)
			for t := range table {
				table[t] = float32(coefficient(t))
			}
			return b.Reshape(b.Gather(b.Const(table, len(table)), in.Timesteps, 0), o.Batch, 1, 1, 1)
		}
		first := func(f func(int) (float64, float64)) func(int) float64 {
			return func(t int) float64 { x, _ := f(t); return x }
		}
		second := func(f func(int) (float64, float64)) func(int) float64 {
			return func(t int) float64 { _, y := f(t); return y }
		}
		added := noise
		if o.InputPerturbation {
			added = b.Input("input_noise", graph.Float32, image...)
		}
		noisy := b.Add(b.Mul(in.Sample, lookup(first(s.NoisyCoefficients))), b.Mul(added, lookup(second(s.NoisyCoefficients))))
		given := in
		given.Sample = noisy
		output := c.Forward(b, given, o.Dropout)
		var target *graph.Value
		switch s.PredictionType {
		case diffusion.PredictEpsilon:
			target = noise
		case diffusion.PredictSample:
			target = in.Sample
		default:
			target = b.Add(b.Mul(in.Sample, lookup(first(s.TargetCoefficients))), b.Mul(noise, lookup(second(s.TargetCoefficients))))
		}
		b.AssertShape(output, image...)
		diff := b.Reshape(b.Sub(output, target), o.Batch, -1)
		perSample := b.ReduceMean(b.Mul(diff, diff), false, 1)
		loss := b.Mul(b.ReduceSum(b.Mul(perSample, lossWeights), false, 0), b.Scalar(1/float64(o.Batch)))
		b.Output("loss", loss)
		b.Output("loss_per_sample", perSample)

		trained := trainedParams(b.Params(), c, o)
		for i, g := range b.Grad(b.Mul(loss, lossScale), trained) {
			b.Output(trained[i].Node.Name+".grad", g)
		}
	})
	if err != nil || !o.Checkpointing {
		return g, err
	}
	return graph.Remat(g, unet.Segment)
}

// EvalGraph is the model alone, the contract of eval_model.onnx: sample (noisy)
// [N, C, H, W], timesteps int64 [N], conditioning and parameters to out_sample.
func EvalGraph(c unet.Net, o GraphOptions) (*graph.Graph, error) {
	return graph.Build("eval", func(b *graph.Builder) {
		b.Output("out_sample", c.Forward(b, declareInputs(b, c, o), false))
	})
}

// declareInputs declares what the model takes.
func declareInputs(b *graph.Builder, c unet.Net, o GraphOptions) unet.Inputs {
	channels, _ := c.Channels()
	times := graph.Int64
	if o.FractionalTimesteps {
		times = graph.Float32
	}
	in := unet.Inputs{
		Sample:    b.Input("sample", graph.Float32, o.Batch, channels, o.Height, o.Width),
		Timesteps: b.Input("timesteps", times, o.Batch),
	}
	if d := c.LabelDim(); d > 0 {
		in.ClassLabels = b.Input("class_labels", graph.Float32, o.Batch, d)
	} else if c.Conditioning() != "" {
		in.ClassLabels = b.Input("class_labels", graph.Int64, o.Batch)
	}
	if d := c.CrossAttentionDim(); d > 0 {
		tokens := o.Tokens
		if tokens == 0 {
			tokens = 77
		}
		in.EncoderHiddenStates = b.Input("encoder_hidden_states", graph.Float32, o.Batch, tokens, d)
	}
	return in
}

func trainedParams(params []*graph.Value, c unet.Net, o GraphOptions) []*graph.Value {
	return slices.DeleteFunc(slices.Clone(params), func(p *graph.Value) bool {
		return !c.Trained(p.Node.Name) || (o.Trained != nil && !o.Trained(p.Node.Name))
	})
}
