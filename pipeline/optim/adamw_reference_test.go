package optim

import (
	"fmt"
	"math"
	"testing"
)

// referenceAdamW is the optimizer step in float64, one plain loop: the oracle
// of the optimizer graph. It updates params, m (exp_avg), v (exp_avg_sq) and
// ema in place; step counts from 1. Loshchilov & Hutter 2019, arXiv
// 1711.05101, Algorithm 2, in the order of torch.optim.AdamW: decay the
// weights, move the moments, step.
type referenceAdamW struct {
	beta1, beta2, eps, weightDecay float64
}

func (a referenceAdamW) step(step int, lr, clipCoef, emaDecay float64, params, grads, m, v, ema []float64) {
	for i := range params {
		g := grads[i] * clipCoef
		params[i] *= 1 - lr*a.weightDecay
		m[i] = a.beta1*m[i] + (1-a.beta1)*g
		v[i] = a.beta2*v[i] + (1-a.beta2)*g*g
		denominator := math.Sqrt(v[i])/math.Sqrt(BiasCorrection(a.beta2, step)) + a.eps
		params[i] -= lr / BiasCorrection(a.beta1, step) * m[i] / denominator
		ema[i] = emaDecay*ema[i] + (1-emaDecay)*params[i]
	}
}

// Twelve steps of clip, AdamW, a warmed-up cosine and EMA, as PyTorch and
// diffusers take them in float64. The tolerance is rounding over twelve steps;
// a step counted from 0, an unclipped gradient or a coupled weight decay is
// off by 1e-4 or more.
func TestReferenceAdamWFollowsPyTorch(t *testing.T) {
	g := readGolden(t).AdamW
	n := len(g.Start)
	params := append([]float64(nil), g.Start...)
	ema := append([]float64(nil), g.Start...)
	m, v, grads := make([]float64, n), make([]float64, n), make([]float64, n)
	a := referenceAdamW{0.9, 0.999, 1e-8, 0.01}
	lr, average := DefaultLR("cosine", 0.05, 3, 12), DefaultEMA()
	for i := range g.Params {
		step, sum := i+1, 0.0
		for k := range grads {
			grads[k] = 3*params[k] + math.Sin(float64(step+k))/float64(step)
			sum += grads[k] * grads[k]
		}
		norm := math.Sqrt(sum)
		within(t, fmt.Sprintf("norm of step %d", step), norm, g.Norms[i], 1e-12)
		a.step(step, lr.At(step), ClipCoef(norm, 1), EMADecay(average, step), params, grads, m, v, ema)
		for k := range params {
			within(t, fmt.Sprintf("parameter %d after step %d", k, step), params[k], g.Params[i][k], 1e-12)
			within(t, fmt.Sprintf("average %d after step %d", k, step), ema[k], g.EMAParams[i][k], 1e-12)
		}
	}
}

func TestClipCoef(t *testing.T) {
	for _, row := range []struct{ norm, maxNorm, want float64 }{
		{0, 1, 1},
		{0.5, 1, 1},
		{1, 1, 1 / (1 + 1e-6)}, // PyTorch's 1e-6 shrinks a norm of exactly maxNorm
		{4, 1, 1 / (4 + 1e-6)},
		{4, 0, 1}, // off
		{1e30, 2, 2e-30},
	} {
		within(t, fmt.Sprintf("ClipCoef(%v, %v)", row.norm, row.maxNorm), ClipCoef(row.norm, row.maxNorm), row.want, 1e-15*row.want)
	}
	if c := ClipCoef(math.NaN(), 1); !math.IsNaN(c) {
		t.Errorf("ClipCoef of a NaN norm is %v and hides it", c)
	}
}

func TestBiasCorrection(t *testing.T) {
	within(t, "beta 0.9 at step 1", BiasCorrection(0.9, 1), 0.1, 1e-16)
	within(t, "beta 0.9 at step 2", BiasCorrection(0.9, 2), 0.19, 1e-15)
	within(t, "beta 0.999 at step 1000", BiasCorrection(0.999, 1000), 1-math.Exp(1000*math.Log1p(-0.001)), 1e-12)
	within(t, "beta 0", BiasCorrection(0, 1), 1, 0)
}
