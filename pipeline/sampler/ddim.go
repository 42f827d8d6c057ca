package sampler

import (
	"fmt"
	"math"

	"immiscible/pipeline/diffusion"
)

// DDIM is the sampler of Song, Meng & Ermon 2021 (arXiv 2010.02502), with
// steps timesteps and eta from 0 (deterministic) to 1 (the noise of DDPM).
// It reads clip_sample, clip_sample_range, set_alpha_to_one, timestep_spacing
// and steps_offset.
//
// One step is their Eq. (12), where σ is that of Eq. (16):
//
//	x_p = √ᾱ_p·x̂0 + √(1−ᾱ_p−σ²)·ε̂ + σ·n
//	σ²  = η²·(1−ᾱ_p)/(1−ᾱ_t)·(1−ᾱ_t/ᾱ_p)
//
//	ᾱ_t, ᾱ_p  alphas_cumprod before and after the step
//	x̂0        denoised, clipped
//	ε̂         (x_t − √ᾱ_t·denoised)/√(1−ᾱ_t), of the estimate before clipping
//
// diffusers steps to t − ⌊T/steps⌋, which under trailing and linspace spacing
// is not always the next timestep of the list; so does this.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_ddim.py
func DDIM(s *diffusion.Schedule, steps int, eta float64) (*Sampler, error) {
	if !(eta >= 0 && eta <= 1) {
		return nil, fmt.Errorf("sampler ddim: eta is %v, want 0 to 1; 0 is deterministic", eta)
	}
	r, timesteps, err := denoised("ddim", s, steps)
	if err != nil {
		return nil, err
	}
	final := 1.0
	if !s.SetAlphaToOne {
		final = s.AlphasCumprod[0]
	}
	for i, t := range timesteps {
		abar, abarPrev := s.AlphasCumprod[t], final
		if p := t - s.NumTrainTimesteps/steps; p >= 0 {
			abarPrev = s.AlphasCumprod[p]
		}
		sigma := eta * math.Sqrt((1-abarPrev)/(1-abar)*(1-abar/abarPrev))
		// The direction to x_t is a mixture of x_t and denoised, and denoised one
		// of x_t and the output.
		direction := math.Sqrt(max(0, 1-abarPrev-sigma*sigma)) / math.Sqrt(1-abar)
		c := &r.steps[i]
		c.past = []term{{i, math.Sqrt(abarPrev)}}
		c.sample = direction * (1 - math.Sqrt(abar)*c.estimate.sample)
		c.output = -direction * math.Sqrt(abar) * c.estimate.output
		c.noise = sigma
	}
	return r.finish(), nil
}
