package sampler

import (
	"fmt"
	"math"

	"immiscible/pipeline/diffusion"
)

// spaced returns the timesteps of a run of n steps, descending, spaced as
// s.TimestepSpacing says: Lin et al. 2024, arXiv 2305.08891, Table 2, rounded
// half to even like NumPy, as diffusers' set_timesteps does.
//
//	leading   0, r, 2r, … with r = ⌊T/n⌋, plus steps_offset; never sees T−1
//	trailing  T−1 downwards by T/n
//	linspace  T−1 and 0 included, evenly between; only 0 where n is 1
//
// For some n (29 of 50 timesteps, say) diffusers' trailing list ends with one
// more entry, −1, by a rounding accident; it is left out here.
func spaced(s *diffusion.Schedule, n int) ([]int, error) {
	T := s.NumTrainTimesteps
	if n < 1 || n > T {
		return nil, fmt.Errorf("%d steps asked of a schedule of %d timesteps; use 1 to %d", n, T, T)
	}
	stride := strideOf(T, T, n)
	timesteps := make([]int, n)
	for i := range timesteps {
		up := n - 1 - i // counts from the smallest timestep
		switch s.TimestepSpacing {
		case "trailing":
			timesteps[i] = int(math.RoundToEven(float64(T)-float64(float64(i)*stride))) - 1
		case "linspace":
			if up > 0 {
				timesteps[i] = int(math.RoundToEven(float64(up) * (float64(T-1) / float64(n-1))))
			}
		default: // leading: diffusion.New admits no fourth
			timesteps[i] = up*(T/n) + s.StepsOffset
		}
	}
	if timesteps[0] >= T {
		return nil, fmt.Errorf("%d steps and steps_offset %d reach timestep %d of a schedule that ends at %d; use fewer steps or steps_offset 0", n, s.StepsOffset, timesteps[0], T-1)
	}
	return timesteps, nil
}

// strideOf is what trailing spacing from end takes off a timestep each time, as
// NumPy's arange computes it: it adds a rounded stride, and ties turn on that
// rounding.
func strideOf(end, T, n int) float64 {
	return float64(end) - (float64(end) - float64(T)/float64(n))
}

// continuous is spaced for the samplers that walk in σ: linspace is not rounded
// to whole timesteps there, only to float32.
func continuous(s *diffusion.Schedule, n int) ([]float64, error) {
	whole, err := spaced(s, n)
	if err != nil {
		return nil, err
	}
	timesteps := make([]float64, n)
	for i, t := range whole {
		timesteps[i] = float64(t)
		if up := n - 1 - i; s.TimestepSpacing == "linspace" && n > 1 {
			timesteps[i] = float64(float32(float64(up) * (float64(s.NumTrainTimesteps-1) / float64(n-1))))
		}
	}
	return timesteps, nil
}
