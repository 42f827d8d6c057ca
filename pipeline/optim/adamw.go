package optim

import "immiscible/models/graph"

// AdamWGraph is one update of a flat chunk of m elements: gradient clipping,
// AdamW (Loshchilov & Hutter 2019, algorithm 2, as torch.optim.AdamW computes
// it) and the exponential moving average of the parameters.
//
//	g  = clip_coef·grads
//	m' = β1·m + (1−β1)·g              v' = β2·v + (1−β2)·g²
//	p' = p·(1 − lr·λ) − (lr/c1)·m'/(√v'/√c2 + ε)      c1 = 1−β1ᵗ, c2 = 1−β2ᵗ
//	e' = e − (1 − d)·(e − p')
//
// Inputs: params, grads, exp_avg, exp_avg_sq, ema_params [m]; scalars lr,
// beta1, beta2, eps, weight_decay, bias_correction1 (c1), bias_correction2 (c2),
// clip_coef, ema_decay (d). Outputs: params.new, exp_avg.new, exp_avg_sq.new,
// ema_params.new [m]; each may be the memory of the input that it replaces,
// since every read of an old value is an ancestor of its new one.
func AdamWGraph(m int) (*graph.Graph, error) {
	return graph.Build("optimizer", func(b *graph.Builder) {
		flat := func(name string) *graph.Value { return b.Input(name, graph.Float32, m) }
		scalar := func(name string) *graph.Value { return b.Input(name, graph.Float32) }
		p, g, avg, avgSq, ema := flat("params"), flat("grads"), flat("exp_avg"), flat("exp_avg_sq"), flat("ema_params")
		lr, beta1, beta2 := scalar("lr"), scalar("beta1"), scalar("beta2")
		eps, decay := scalar("eps"), scalar("weight_decay")
		c1, c2 := scalar("bias_correction1"), scalar("bias_correction2")
		clip, emaDecay := scalar("clip_coef"), scalar("ema_decay")
		one := b.Scalar(1)

		// m + (1−β)(g−m) reads m once and is torch's lerp. What is constant over
		// the chunk is folded into scalars: (1−β2)·g² = (√(1−β2)·clip·grads)².
		g = b.Mul(g, clip)
		avg = b.Add(avg, b.Mul(b.Sub(g, avg), b.Sub(one, beta1)))
		avgSq = b.Add(b.Mul(avgSq, beta2), b.Mul(b.Mul(g, g), b.Sub(one, beta2)))
		// (lr/c1)/(√v/√c2 + ε) = (lr·√c2/c1)/(√v + ε·√c2)
		rootC2 := b.Sqrt(c2)
		update := b.Div(avg, b.Add(b.Sqrt(avgSq), b.Mul(eps, rootC2)))
		update = b.Mul(update, b.Div(b.Mul(lr, rootC2), c1))
		p = b.Sub(b.Mul(p, b.Sub(one, b.Mul(lr, decay))), update)
		ema = b.Sub(ema, b.Mul(b.Sub(ema, p), b.Sub(one, emaDecay)))

		b.Output("params.new", p)
		b.Output("exp_avg.new", avg)
		b.Output("exp_avg_sq.new", avgSq)
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
