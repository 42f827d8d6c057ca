package graph_test

import "immiscible/models/graph"

// updateRows have the optimizer's update, which has no gradient: its operands
// are integers, and what is differentiated stands behind it.
func updateRows() []row {
	states := make([]float64, 5*6)
	for i := range states {
		states[i] = float64(i*i%13 - 6)
	}
	return []row{{op: "AdamW", name: "times x", exact: true, in: []arg{normal(6), ints(states, 30)},
		build: func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			s := b.Split(b.Mul(b.Cast(x[1], graph.Float32), b.Scalar(0.25)), 0, 6, 6, 6, 6, 6)
			p, m, v, e := b.AdamW(graph.AdamWOperands{
				Params: s[0], Grads: s[1], ExpAvg: s[2], ExpAvgSq: b.Mul(s[3], s[3]), EMAParams: s[4],
				LR: b.Scalar(0.125), Beta1: b.Scalar(0.875), Beta2: b.Scalar(0.9375), Eps: b.Scalar(0.0625), WeightDecay: b.Scalar(0.25),
				BiasCorrection1: b.Scalar(0.5), BiasCorrection2: b.Scalar(0.75), ClipCoef: b.Scalar(0.375), EMADecay: b.Scalar(0.625),
			})
			return []*graph.Value{b.Mul(p, x[0]), b.Mul(m, x[0]), b.Mul(v, x[0]), b.Mul(e, x[0])}
		}}}
}
