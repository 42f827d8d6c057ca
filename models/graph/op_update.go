package graph

// AdamWOperands are the inputs of AdamW: flat chunks [M] of one length, and
// scalars, all float32.
type AdamWOperands struct {
	Params, Grads, ExpAvg, ExpAvgSq, EMAParams           *Value // [M]
	LR, Beta1, Beta2, Eps, WeightDecay                   *Value // []
	BiasCorrection1, BiasCorrection2, ClipCoef, EMADecay *Value // []; corrections are 1 − βᵗ
}

// AdamW is one update of a flat chunk (composite): gradient clipping, AdamW
// (Loshchilov & Hutter 2019, algorithm 2, as torch.optim.AdamW computes it) and
// diffusers' exponential moving average of the parameters, with c = clip_coef
// and d = ema_decay:
//
//	g  = c·grads
//	m' = β1·m + (1−β1)·g              v' = β2·v + (1−β2)·g²
//	p' = p·(1 − lr·λ) − (lr/c1)·m'/(√v'/√c2 + ε)      c1 = 1−β1ᵗ, c2 = 1−β2ᵗ
//	e' = e − (1 − d)·(e − p')
//
// Each result may be the memory of the input that it replaces: every read of an
// old value is an ancestor of its new one, or in the same operator before it.
// It has no gradient.
func (b *Builder) AdamW(o AdamWOperands) (params, expAvg, expAvgSq, emaParams *Value) {
	flat := []*Value{o.Params, o.Grads, o.ExpAvg, o.ExpAvgSq, o.EMAParams}
	scalars := []*Value{o.LR, o.Beta1, o.Beta2, o.Eps, o.WeightDecay, o.BiasCorrection1, o.BiasCorrection2, o.ClipCoef, o.EMADecay}
	for _, v := range flat {
		if v.Rank() != 1 || !sameShape(v.Shape, o.Params.Shape) || v.DType != Float32 {
			b.fail("AdamW", "%v beside params %v: want flat float32 chunks of one length", v, o.Params)
		}
	}
	for _, v := range scalars {
		if v.Rank() != 0 || v.DType != Float32 {
			b.fail("AdamW", "%v: want a float32 scalar", v)
		}
	}
	chunk := out{Float32, o.Params.Shape}
	y := b.composite("AdamW", append(flat, scalars...), nil, chunk, chunk, chunk, chunk)
	return y[0], y[1], y[2], y[3]
}

// lowerAdamW folds what is constant over the chunk into scalars.
func lowerAdamW(b *Builder, _ *Node, in []*Value) []*Value {
	p, g, avg, avgSq, ema := in[0], in[1], in[2], in[3], in[4]
	lr, beta1, beta2, eps, decay := in[5], in[6], in[7], in[8], in[9]
	c1, c2, clip, emaDecay := in[10], in[11], in[12], in[13]
	one := b.Scalar(1)

	// m + (1−β)(g−m) reads m once and is torch's lerp.
	g = b.Mul(g, clip)
	avg = b.Add(avg, b.Mul(b.Sub(g, avg), b.Sub(one, beta1)))
	avgSq = b.Add(b.Mul(avgSq, beta2), b.Mul(b.Mul(g, g), b.Sub(one, beta2)))
	// (lr/c1)/(√v/√c2 + ε) = (lr·√c2/c1)/(√v + ε·√c2)
	rootC2 := b.Sqrt(c2)
	update := b.Div(avg, b.Add(b.Sqrt(avgSq), b.Mul(eps, rootC2)))
	update = b.Mul(update, b.Div(b.Mul(lr, rootC2), c1))
	p = b.Sub(b.Mul(p, b.Sub(one, b.Mul(lr, decay))), update)
	ema = b.Sub(ema, b.Mul(b.Sub(ema, p), b.Sub(one, emaDecay)))
	return []*Value{p, avg, avgSq, ema}
}
