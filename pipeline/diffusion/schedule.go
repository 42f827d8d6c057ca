package diffusion

import (
	"fmt"
	"math"
)

// Schedule is a noise schedule: its configuration and the tables that follow
// from it, one entry a timestep.
//
// Every entry is the float32 number that diffusers has: pretrained weights were
// trained with those, and ᾱ in float64 is off from them by up to 6e-5 (each α =
// 1 − β is rounded to 2⁻²⁴, and a thousand are multiplied). The arithmetic is
// torch's on a CPU: linspace in one fused multiply-add, cumprod in float64.
// Source: https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/schedulers/scheduling_ddpm.py#L214-L242
type Schedule struct {
	Config
	Betas         []float64 // [T] β_t, the variance that timestep t adds
	Alphas        []float64 // [T] α_t = 1 − β_t
	AlphasCumprod []float64 // [T] ᾱ_t = α_0·…·α_t, the signal's share of variance
}

// New computes the tables of c. The error names the first key whose value no
// schedule can have.
func New(c Config) (*Schedule, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("scheduler_config.json: %w", err)
	}
	betas := c.betas()
	if c.RescaleBetasZeroSNR {
		betas = rescaleZeroTerminalSNR(betas)
	}
	T := len(betas)
	s := &Schedule{Config: c, Betas: make([]float64, T), Alphas: make([]float64, T), AlphasCumprod: make([]float64, T)}
	abar := cumprod(betas)
	for t := range betas {
		beta := float64(betas[t])
		// β = 1 leaves no signal, so only the last timestep may have it.
		if !(beta > 0 && (beta < 1 || beta == 1 && t == T-1)) {
			return nil, fmt.Errorf("scheduler_config.json: the beta of timestep %d is %v, want more than 0 and less than 1; correct trained_betas or the beta keys", t, beta)
		}
		s.Betas[t], s.Alphas[t], s.AlphasCumprod[t] = beta, float64(1-betas[t]), float64(abar[t])
	}
	return s, nil
}

// betas is β_t before any rescaling.
func (c Config) betas() []float32 {
	T := c.NumTrainTimesteps
	if c.TrainedBetas != nil {
		T = len(c.TrainedBetas)
	}
	betas := make([]float32, T)
	for t := range betas {
		switch {
		case c.TrainedBetas != nil:
			betas[t] = float32(c.TrainedBetas[t])
		case c.BetaSchedule == "linear": // Ho et al. 2020, arXiv 2006.11239, section 4
			betas[t] = linspace(c.BetaStart, c.BetaEnd, t, T)
		case c.BetaSchedule == "scaled_linear": // linear in √β; latent diffusion, Stable Diffusion
			root := linspace(math.Sqrt(c.BetaStart), math.Sqrt(c.BetaEnd), t, T)
			betas[t] = root * root
		case c.BetaSchedule == "squaredcos_cap_v2": // Nichol & Dhariwal 2021, arXiv 2102.09672, Eq. (17), β capped at 0.999
			betas[t] = float32(min(1-cosineAlphaBar(t+1, T)/cosineAlphaBar(t, T), 0.999))
		case c.BetaSchedule == "sigmoid": // GeoDiff, arXiv 2203.02923: a logistic curve over [−6, 6]
			sigmoid := float32(1 / (1 + math.Exp(-float64(linspace(-6, 6, t, T)))))
			betas[t] = float32(sigmoid*float32(c.BetaEnd-c.BetaStart)) + float32(c.BetaStart)
		}
	}
	return betas
}

// linspace is entry i of n evenly spaced numbers from a to b, counted from the
// nearer end; a where n is 1. The product and the sum are rounded once.
func linspace(a, b float64, i, n int) float32 {
	start, end := float32(a), float32(b)
	if n == 1 {
		return start
	}
	step := float64((end - start) / float32(n-1))
	if i < n/2 {
		return float32(float64(start) + step*float64(i))
	}
	return float32(float64(end) - step*float64(n-1-i))
}

// cosineAlphaBar is the cosine schedule's ᾱ after the share i/n of the process.
func cosineAlphaBar(i, n int) float64 {
	c := math.Cos((float64(i)/float64(n) + 0.008) / 1.008 * math.Pi / 2)
	return c * c
}

// cumprod returns ᾱ, the running product of 1 − β.
func cumprod(betas []float32) []float32 {
	abar := make([]float32, len(betas))
	product := 1.0
	for t, beta := range betas {
		product *= float64(1 - beta)
		abar[t] = float32(product)
	}
	return abar
}

// rescaleZeroTerminalSNR shifts and scales √ᾱ so that its first value stays
// and its last is exactly 0: Lin et al. 2024, arXiv 2305.08891, Algorithm 1.
func rescaleZeroTerminalSNR(betas []float32) []float32 {
	sqrt := func(x float32) float32 { return float32(math.Sqrt(float64(x))) }
	abar := cumprod(betas)
	first, last := sqrt(abar[0]), sqrt(abar[len(abar)-1])
	rescaled := make([]float32, len(betas))
	previous := float32(1)
	for t := range abar {
		root := (sqrt(abar[t]) - last) * (first / (first - last))
		square := root * root
		rescaled[t] = 1 - square/previous
		previous = square
	}
	return rescaled
}
