package sampler

import (
	"fmt"
	"math"

	"immiscible/pipeline/diffusion"
)

// DPMSolverPP is DPM-Solver++(2M) of Lu et al. 2022 (arXiv 2211.01095,
// Algorithm 2), the multistep method on estimates of the image, as
// DPMSolverMultistepScheduler has it. It reads timestep_spacing, steps_offset,
// solver_order (1 or 2), solver_type, use_karras_sigmas, final_sigmas_type,
// lower_order_final, euler_at_final and lambda_min_clipped. With α = 1/√(σ²+1)
// and λ = −ln σ, a step from σ to σ', h = λ' − λ:
//
//	x' = (α'σ'/ασ)·x − α'·(e^−h − 1)·D0 − α'·c·D1
//
//	D0  the estimate from x
//	D1  (D0 − the estimate before)·h/h_before; 0 for order 1
//	c   (e^−h − 1)/2 for solver_type midpoint, −(e^−h − 1)/h − 1 for heun
//
// The first step is of order 1, and so is the last one to σ' = 0, of a run of
// less than 15 steps with lower_order_final, and with euler_at_final.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_dpmsolver_multistep.py
func DPMSolverPP(s *diffusion.Schedule, steps int) (*Sampler, error) {
	const name = "dpm++_2m"
	o := s.Solver
	if err := refuse(name, setting{"thresholding true", s.Thresholding},
		setting{"use_exponential_sigmas true", o.UseExponentialSigmas}, setting{"use_beta_sigmas true", o.UseBetaSigmas},
		setting{"use_lu_lambdas true", o.UseLuLambdas}, setting{"use_flow_sigmas true", o.UseFlowSigmas},
		setting{fmt.Sprintf("solver_order %d", o.SolverOrder), o.SolverOrder != 1 && o.SolverOrder != 2},
		// diffusers takes deis for dpmsolver++, and the solver types of its other classes for midpoint.
		setting{fmt.Sprintf("algorithm_type %q", o.AlgorithmType), o.AlgorithmType != "dpmsolver++" && o.AlgorithmType != "deis"}); err != nil {
		return nil, err
	}
	table := sigmaTable(s)
	timesteps, sigmas, err := dpmSpaced(s, steps, table)
	if err != nil {
		return nil, fmt.Errorf("sampler %s: %w", name, err)
	}
	final, err := finalSigma(name, s, table)
	if err != nil {
		return nil, err
	}
	steps, sigmas = len(sigmas), append(sigmas, final)

	r := discrete(name, s, timesteps)
	before := 0.0 // h of the step before
	for i := range r.steps {
		sigma, to := sigmas[i], sigmas[i+1]
		alpha, alphaTo := 1/math.Hypot(sigma, 1), 1/math.Hypot(to, 1)
		c := &r.steps[i]
		switch s.PredictionType {
		case diffusion.PredictEpsilon:
			c.estimate.sample, c.estimate.output = 1/alpha, -sigma
		case diffusion.PredictV:
			c.estimate.sample, c.estimate.output = alpha, -sigma*alpha
		default:
			c.estimate.output = 1
		}
		shrink := to / sigma // e^−h
		h := math.Log(sigma) - math.Log(to)
		c.sample = alphaTo / alpha * shrink
		d0, d1 := -alphaTo*(shrink-1), 0.0
		last := i == steps-1 && (to == 0 || o.EulerAtFinal || o.LowerOrderFinal && steps < 15)
		if i > 0 && o.SolverOrder == 2 && !last {
			weight := -0.5 * (shrink - 1)
			if o.SolverType == "heun" {
				weight = (shrink-1)/h + 1
			}
			d1 = alphaTo * weight * h / before
		}
		c.past = []term{{i, d0 + d1}}
		if d1 != 0 {
			c.past = append(c.past, term{i - 1, -d1})
		}
		before = h
	}
	return r.finish(), nil
}

// dpmSpaced returns the timesteps of a run and their σ, both falling. Unlike
// other samplers', the timesteps are steps of steps + 1 whose last is left out,
// and Karras' σ span the whole schedule.
func dpmSpaced(s *diffusion.Schedule, steps int, table []float64) (timesteps []int, sigmas []float64, err error) {
	end := s.NumTrainTimesteps
	for end > 0 && -math.Log(table[end-1]) < float64(s.Solver.LambdaMinClipped) {
		end--
	}
	if steps < 1 || steps >= end {
		return nil, nil, fmt.Errorf("%d steps asked of a schedule of %d timesteps; use 1 to %d", steps, end, end-1)
	}
	if s.Solver.UseKarrasSigmas {
		sigmas = karrasSigmas(table[len(table)-1], table[0], steps)
		for _, sigma := range sigmas {
			t := timestepOf(table, sigma)
			if s.BetaSchedule != "squaredcos_cap_v2" { // which diffusers cuts instead
				t = math.RoundToEven(t)
			}
			timesteps = append(timesteps, int(t))
		}
		return timesteps, sigmas, nil
	}
	stride := strideOf(end, s.NumTrainTimesteps, steps)
	for i := range steps {
		up := steps - i
		t := 0
		switch s.TimestepSpacing {
		case "linspace":
			t = int(math.RoundToEven(float64(up) * (float64(end-1) / float64(steps))))
		case "trailing": // with lambda_min_clipped these are less than were asked for
			t = int(math.RoundToEven(float64(end)-float64(float64(i)*stride))) - 1
			if t < 0 {
				return timesteps, sigmas, nil
			}
		default: // leading
			t = up*(end/(steps+1)) + s.StepsOffset
		}
		if t >= s.NumTrainTimesteps {
			return nil, nil, fmt.Errorf("%d steps and steps_offset %d reach timestep %d of a schedule that ends at %d; use fewer steps or steps_offset 0", steps, s.StepsOffset, t, s.NumTrainTimesteps-1)
		}
		timesteps, sigmas = append(timesteps, t), append(sigmas, table[t])
	}
	return timesteps, sigmas, nil
}
