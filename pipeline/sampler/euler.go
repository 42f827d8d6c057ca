package sampler

import (
	"fmt"
	"math"

	"immiscible/pipeline/diffusion"
)

// Euler is Algorithm 2 of Karras et al. 2022 (arXiv 2206.00364) without its
// second-order correction and without churn, as EulerDiscreteScheduler has it.
// It reads timestep_spacing, steps_offset, use_karras_sigmas, sigma_min,
// sigma_max and final_sigmas_type. A sample is x0 + σ·n, and the model sees it
// divided by √(σ²+1):
//
//	x' = x + (σ' − σ)·(x − x̂0)/σ
//
//	x̂0  x − σ·o for epsilon, x/(σ²+1) − σ/√(σ²+1)·o for v_prediction, o for sample
//
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_euler_discrete.py
func Euler(s *diffusion.Schedule, steps int) (*Sampler, error) {
	return euler("euler", s, steps, false)
}

// EulerAncestral is Euler with as much noise put back after a shorter step that
// the law at σ' stays, as EulerAncestralDiscreteScheduler (and k-diffusion's
// sample_euler_ancestral) has it:
//
//	x' = x + (σ_down − σ)·(x − x̂0)/σ + σ_up·n
//	σ_up² = σ'²·(σ² − σ'²)/σ²,  σ_down² = σ'² − σ_up²
//
// It reads timestep_spacing and steps_offset.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_euler_ancestral_discrete.py
func EulerAncestral(s *diffusion.Schedule, steps int) (*Sampler, error) {
	plain := *s
	plain.Solver = diffusion.DefaultSolver() // the class has none of its keys
	return euler("euler_a", &plain, steps, true)
}

func euler(name string, s *diffusion.Schedule, steps int, ancestral bool) (*Sampler, error) {
	o := s.Solver
	if err := refuse(name, setting{"use_exponential_sigmas true", o.UseExponentialSigmas}, setting{"use_beta_sigmas true", o.UseBetaSigmas},
		setting{fmt.Sprintf("interpolation_type %q", o.InterpolationType), o.InterpolationType != "linear"},
		setting{fmt.Sprintf("timestep_type %q", o.TimestepType), o.TimestepType != "discrete" && s.PredictionType == diffusion.PredictV}); err != nil {
		return nil, err
	}
	table := sigmaTable(s)
	timesteps, err := continuous(s, steps)
	if err != nil {
		return nil, fmt.Errorf("sampler %s: %w", name, err)
	}
	sigmas := make([]float64, steps)
	for i, t := range timesteps {
		sigmas[i] = interpolate(table, t)
	}
	if o.UseKarrasSigmas {
		largest, smallest := sigmas[0], sigmas[steps-1]
		if o.SigmaMax != nil {
			largest = *o.SigmaMax
		}
		if o.SigmaMin != nil {
			smallest = *o.SigmaMin
		}
		if !(smallest > 0 && smallest <= largest) {
			return nil, fmt.Errorf("sampler %s: sigma_min %g and sigma_max %g, want 0 < sigma_min ≤ sigma_max", name, smallest, largest)
		}
		sigmas = karrasSigmas(largest, smallest, steps)
		for i, sigma := range sigmas {
			timesteps[i] = float64(float32(timestepOf(table, sigma)))
		}
	}
	final, err := finalSigma(name, s, table)
	if err != nil {
		return nil, err
	}
	sigmas = append(sigmas, final)

	r := &Sampler{name: name, timesteps: timesteps, steps: make([]step, steps), clip: math.Inf(1)}
	r.InitNoiseSigma = sigmas[0]
	if s.TimestepSpacing == "leading" {
		r.InitNoiseSigma = math.Hypot(sigmas[0], 1)
	}
	for i := range r.steps {
		sigma, to, noise := sigmas[i], sigmas[i+1], 0.0
		if ancestral {
			noise = to * math.Sqrt((sigma*sigma-to*to)/(sigma*sigma))
			to = math.Sqrt(to*to - noise*noise)
		}
		var x, out float64 // x̂0 = x·sample + out·output
		switch s.PredictionType {
		case diffusion.PredictEpsilon:
			x, out = 1, -sigma
		case diffusion.PredictV:
			x, out = 1/(sigma*sigma+1), -sigma/math.Hypot(sigma, 1)
		default:
			x, out = 0, 1
		}
		along := (to - sigma) / sigma
		r.steps[i] = step{scale: 1 / math.Hypot(sigma, 1), base: i, sample: 1 + along*(1-x), output: -along * out, noise: noise}
	}
	return r.finish(), nil
}
