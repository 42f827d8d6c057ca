package sampler

import (
	"fmt"
	"math"

	"immiscible/pipeline/diffusion"
)

// PNDM is F-PNDM of Liu, Ren, Lin & Zhao 2022 (arXiv 2202.09778, Algorithm 2),
// the linear multistep method on a model's outputs. It reads timestep_spacing,
// steps_offset, set_alpha_to_one and skip_prk_steps:
//
//	true   orders 1 to 4 one after the other, where the second timestep is
//	       evaluated twice and corrects the first step (PLMS, Katherine Crowson's);
//	       steps + 1 evaluations
//	false  three Runge-Kutta steps of four evaluations, then order 4;
//	       steps + 9 evaluations, of which the last three of the paper's start
//	       coincide with multistep ones; at least 4 steps
//
// A step from ᾱ_t to ᾱ_p with a mixture m of outputs is their Eq. (11):
//
//	x_p = √(ᾱ_p/ᾱ_t)·x_t − (ᾱ_p − ᾱ_t)/(ᾱ_t·√(1−ᾱ_p) + √(ᾱ_t·(1−ᾱ_t)·ᾱ_p))·ε(m)
//
// with ε(m) = m, or √ᾱ_t·m + √(1−ᾱ_t)·x_t for v_prediction: velocities are mixed
// as they are. prediction_type sample and rescale_betas_zero_snr are refused, as
// in diffusers, whose PNDMScheduler has no such key.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_pndm.py
func PNDM(s *diffusion.Schedule, steps int) (*Sampler, error) {
	switch {
	case s.PredictionType == diffusion.PredictSample:
		return nil, fmt.Errorf("sampler pndm: prediction_type is sample, want epsilon or v_prediction; use ddim")
	case s.RescaleBetasZeroSNR:
		return nil, fmt.Errorf("sampler pndm: rescale_betas_zero_snr is true, and PNDM divides by the last alphas_cumprod; use ddim")
	case !s.Solver.SkipPRKSteps && steps < 4:
		return nil, fmt.Errorf("sampler pndm: %d steps with skip_prk_steps false, want at least 4", steps)
	}
	grid, err := spaced(s, steps)
	if err != nil {
		return nil, fmt.Errorf("sampler pndm: %w", err)
	}
	stride := s.NumTrainTimesteps / steps
	var timesteps []int
	kutta := 0 // evaluations in Runge-Kutta steps
	if s.Solver.SkipPRKSteps {
		timesteps = append(timesteps, grid...)
		if steps > 1 {
			timesteps = append(append([]int{grid[0]}, grid[1]), grid[1:]...)
		}
	} else {
		for k := range 3 {
			middle := grid[k+1] + stride/2
			timesteps = append(timesteps, grid[k], middle, middle, grid[k+1])
		}
		kutta = len(timesteps)
		timesteps = append(timesteps, grid[3:]...)
	}
	r := discrete("pndm", s, timesteps)
	var kept []int // evaluations that the multistep formula reads, oldest first
	for i, t := range timesteps {
		r.steps[i].estimate.output = 1
		switch {
		case i < kutta:
			first := i / 4 * 4
			from, to := timesteps[first], t
			if i%2 == 0 {
				to = t - stride/2
			}
			mixture := []term{{i, 1}}
			if i%4 == 0 {
				kept = append(kept, i)
			}
			if i%4 == 3 {
				mixture = []term{{first, 1. / 6}, {first + 1, 1. / 3}, {first + 2, 1. / 3}, {i, 1. / 6}}
			}
			err = pndmStep(r, s, i, first, from, to, mixture)
		case i == 1: // once more from the first timestep, with the mean of both slopes
			err = pndmStep(r, s, i, 0, t+stride, t, []term{{0, 0.5}, {1, 0.5}})
		default:
			kept = append(kept[max(0, len(kept)-3):], i)
			var mixture []term
			for k, weight := range multistep[len(kept)-1] {
				mixture = append(mixture, term{kept[len(kept)-1-k], weight})
			}
			err = pndmStep(r, s, i, i, t, t-stride, mixture)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.finish(), nil
}

// multistep holds the Adams–Bashforth weights of orders 1 to 4, newest first
// (their Eq. (12) for order 4).
var multistep = [4][]float64{
	{1},
	{3. / 2, -1. / 2},
	{23. / 12, -16. / 12, 5. / 12},
	{55. / 24, -59. / 24, 37. / 24, -9. / 24},
}

// pndmStep sets step i to lead from the samples before step base, of timestep
// from, to timestep to, along a mixture of outputs.
func pndmStep(r *Sampler, s *diffusion.Schedule, i, base, from, to int, mixture []term) error {
	if from >= s.NumTrainTimesteps {
		return fmt.Errorf("sampler pndm: %d steps of spacing %s make a step from timestep %d of %d; use timestep_spacing leading", len(r.steps), s.TimestepSpacing, from, s.NumTrainTimesteps)
	}
	abar, abarPrev := s.AlphasCumprod[from], 1.0
	switch {
	case to >= 0:
		abarPrev = s.AlphasCumprod[to]
	case !s.SetAlphaToOne:
		abarPrev = s.AlphasCumprod[0]
	}
	slope := -(abarPrev - abar) / (abar*math.Sqrt(1-abarPrev) + math.Sqrt(abar*(1-abar)*abarPrev))
	c := &r.steps[i]
	c.base, c.sample = base, math.Sqrt(abarPrev/abar)
	if s.PredictionType == diffusion.PredictV {
		c.sample += slope * math.Sqrt(1-abar)
		slope *= math.Sqrt(abar)
	}
	for _, m := range mixture {
		c.past = append(c.past, term{m.at, slope * m.weight})
	}
	return nil
}
