package optim

import "immiscible/models/graph"

// AdamWGraph is graph.AdamW over a chunk of m elements: clipping, AdamW and the
// moving average.
//
// Inputs: params, grads, exp_avg, exp_avg_sq, ema_params [m]; scalars lr,
// beta1, beta2, eps, weight_decay, bias_correction1, bias_correction2,
// clip_coef, ema_decay. Outputs: params.new, exp_avg.new, exp_avg_sq.new,
// ema_params.new [m]; each may be the memory of the input that it replaces.
func AdamWGraph(m int) (*graph.Graph, error) {
	return graph.Build("optimizer", func(b *graph.Builder) {
		flat := func(name string) *graph.Value { return b.Input(name, graph.Float32, m) }
		scalar := func(name string) *graph.Value { return b.Input(name, graph.Float32) }
		params, expAvg, expAvgSq, ema := b.AdamW(graph.AdamWOperands{
			Params: flat("params"), Grads: flat("grads"), ExpAvg: flat("exp_avg"), ExpAvgSq: flat("exp_avg_sq"), EMAParams: flat("ema_params"),
			LR: scalar("lr"), Beta1: scalar("beta1"), Beta2: scalar("beta2"), Eps: scalar("eps"), WeightDecay: scalar("weight_decay"),
			BiasCorrection1: scalar("bias_correction1"), BiasCorrection2: scalar("bias_correction2"),
			ClipCoef: scalar("clip_coef"), EMADecay: scalar("ema_decay"),
		})
		b.Output("params.new", params)
		b.Output("exp_avg.new", expAvg)
		b.Output("exp_avg_sq.new", expAvgSq)
		b.Output("ema_params.new", ema)
	})
}

// GradNormGraph reduces a chunk of m gradients: grads [m] to sum_of_squares [].
// The host adds the chunks in order; a sum that is not finite marks a step to
// skip.
func GradNormGraph(m int) (*graph.Graph, error) {
	return graph.Build("grad_norm", func(b *graph.Builder) {
		b.Output("sum_of_squares", b.ReduceSumSquare(b.Input("grads", graph.Float32, m), false, 0))
	})
}

// AccumulateGraph adds a chunk of gradients of one micro-batch to those of the
// ones before: sum, grads [m] to sum.new, which may be sum's memory.
func AccumulateGraph(m int) (*graph.Graph, error) {
	return graph.Build("accumulate", func(b *graph.Builder) {
		b.Output("sum.new", b.Add(b.Input("sum", graph.Float32, m), b.Input("grads", graph.Float32, m)))
	})
}
