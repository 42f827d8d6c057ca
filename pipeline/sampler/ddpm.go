package sampler

import (
	"fmt"
	"math"

	"immiscible/pipeline/diffusion"
)

// DDPM is the ancestral sampler of Ho, Jain & Abbeel 2020 (arXiv 2006.11239,
// Algorithm 2), with steps timesteps. It reads clip_sample,
// clip_sample_range, timestep_spacing, steps_offset and variance_type.
//
// One step draws from the posterior of their Eq. (6) and (7):
//
//	x_p = √ᾱ_p·β/(1−ᾱ_t)·x̂0 + √α·(1−ᾱ_p)/(1−ᾱ_t)·x_t + σ·n
//
//	ᾱ_t, ᾱ_p  alphas_cumprod before and after the step; ᾱ_p = 1 after the last
//	α, β      ᾱ_t/ᾱ_p and 1 − α, of all timesteps that the step leaps over
//	x̂0        denoised, clipped
//	σ²        fixed_small, fixed_small_log: (1−ᾱ_p)/(1−ᾱ_t)·β, at least 1e-20;
//	          fixed_large: β (the two bounds of their section 3.2);
//	          nothing is added at timestep 0
//
// learned and learned_range need a model with twice the channels and are
// refused. So is fixed_large_log, whose step in diffusers takes the square
// root of a logarithm below 0 and gives NaN.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_ddpm.py
func DDPM(s *diffusion.Schedule, steps int) (*Sampler, error) {
	switch s.VarianceType {
	case "fixed_small", "fixed_small_log", "fixed_large":
	default:
		return nil, fmt.Errorf("sampler ddpm: variance_type %q is not supported; use one of fixed_small, fixed_small_log, fixed_large, or sampler ddim", s.VarianceType)
	}
	r, timesteps, err := denoised("ddpm", s, steps)
	if err != nil {
		return nil, err
	}
	for i, t := range timesteps {
		abar, abarPrev := s.AlphasCumprod[t], 1.0
		if i+1 < steps {
			abarPrev = s.AlphasCumprod[timesteps[i+1]]
		}
		alpha := abar / abarPrev
		beta := 1 - alpha
		variance := max((1-abarPrev)/(1-abar)*beta, 1e-20)
		if s.VarianceType == "fixed_large" {
			variance = beta
		}
		if t == 0 {
			variance = 0
		}
		c := &r.steps[i]
		c.past = []term{{i, math.Sqrt(abarPrev) * beta / (1 - abar)}}
		c.sample = math.Sqrt(alpha) * (1 - abarPrev) / (1 - abar)
		c.noise = math.Sqrt(variance)
	}
	return r.finish(), nil
}
