package diffusion

import (
	"fmt"
	"math"
)

// Schedule is a noise schedule: its configuration and the tables that follow
// from it, one entry a timestep.
//
// The tables are float64 throughout. diffusers computes them in float32: its
// betas differ from these by at most a few float32 roundings, its
// alphas_cumprod by up to T of them (relative T·2⁻²⁴, 6e-5 at T = 1,000).
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
	s := &Schedule{Config: c, Betas: betas, Alphas: make([]float64, T), AlphasCumprod: cumprod(betas)}
	for t, beta := range betas {
		// β = 1 leaves no signal, so only the last timestep may have it.
		if !(beta > 0 && (beta < 1 || beta == 1 && t == T-1)) {
			return nil, fmt.Errorf("scheduler_config.json: the beta of timestep %d is %v, want more than 0 and less than 1; correct trained_betas or the beta keys", t, beta)
		}
		s.Alphas[t] = 1 - beta
	}
	return s, nil
}

// betas is β_t before any rescaling.
func (c Config) betas() []float64 {
	if c.TrainedBetas != nil {
		return append([]float64(nil), c.TrainedBetas...)
	}
	T := c.NumTrainTimesteps
	betas := make([]float64, T)
	for t := range betas {
		switch c.BetaSchedule {
		case "linear": // Ho et al. 2020, arXiv 2006.11239, section 4
			betas[t] = lerp(c.BetaStart, c.BetaEnd, t, T)
		case "scaled_linear": // linear in √β; latent diffusion, Stable Diffusion
			root := lerp(math.Sqrt(c.BetaStart), math.Sqrt(c.BetaEnd), t, T)
			betas[t] = root * root
		case "squaredcos_cap_v2": // Nichol & Dhariwal 2021, arXiv 2102.09672, Eq. (17), β capped at 0.999
			betas[t] = min(1-cosineAlphaBar(t+1, T)/cosineAlphaBar(t, T), 0.999)
		case "sigmoid": // GeoDiff, arXiv 2203.02923: a logistic curve over [−6, 6]
			betas[t] = c.BetaStart + (c.BetaEnd-c.BetaStart)/(1+math.Exp(-lerp(-6, 6, t, T)))
		}
	}
	return betas
}

// lerp is entry i of n evenly spaced numbers from a to b; a where n is 1.
func lerp(a, b float64, i, n int) float64 {
	if n == 1 {
		return a
	}
	return a + (b-a)*float64(i)/float64(n-1)
}

// cosineAlphaBar is the cosine schedule's ᾱ after the share i/n of the process.
func cosineAlphaBar(i, n int) float64 {
	c := math.Cos((float64(i)/float64(n) + 0.008) / 1.008 * math.Pi / 2)
	return c * c
}

// cumprod returns ᾱ, the running product of 1 − β.
func cumprod(betas []float64) []float64 {
	abar := make([]float64, len(betas))
	product := 1.0
	for t, beta := range betas {
		product *= 1 - beta
		abar[t] = product
	}
	return abar
}

// rescaleZeroTerminalSNR shifts and scales √ᾱ so that its first value stays
// and its last is exactly 0: Lin et al. 2024, arXiv 2305.08891, Algorithm 1.
func rescaleZeroTerminalSNR(betas []float64) []float64 {
	abar := cumprod(betas)
	first, last := math.Sqrt(abar[0]), math.Sqrt(abar[len(abar)-1])
	rescaled := make([]float64, len(betas))
	previous := 1.0
	for t := range abar {
		root := (math.Sqrt(abar[t]) - last) * (first / (first - last))
		rescaled[t] = 1 - root*root/previous
		previous = root * root
	}
	return rescaled
}
