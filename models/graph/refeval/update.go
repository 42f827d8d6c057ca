package refeval

import (
	"math"

	"immiscible/models/graph"
)

// adamw is torch.optim.AdamW's step on clipped gradients, element by element,
// and diffusers' moving average: decay the weights, move the moments, step.
func adamw(_ *graph.Node, in []array) []array {
	lr, beta1, beta2, eps, decay := in[5].data[0], in[6].data[0], in[7].data[0], in[8].data[0], in[9].data[0]
	c1, c2, clip, emaDecay := in[10].data[0], in[11].data[0], in[12].data[0], in[13].data[0]
	shape := in[0].shape
	params, expAvg, expAvgSq, ema := zeros(shape), zeros(shape), zeros(shape), zeros(shape)
	for i, p := range in[0].data {
		g := clip * in[1].data[i]
		m := beta1*in[2].data[i] + (1-beta1)*g
		v := beta2*in[3].data[i] + (1-beta2)*g*g
		p = p*(1-lr*decay) - lr*(m/c1)/(math.Sqrt(v/c2)+eps)
		params.data[i], expAvg.data[i], expAvgSq.data[i] = p, m, v
		ema.data[i] = emaDecay*in[4].data[i] + (1-emaDecay)*p
	}
	return []array{params, expAvg, expAvgSq, ema}
}
