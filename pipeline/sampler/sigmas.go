package sampler

import (
	"fmt"
	"math"
	"sort"

	"immiscible/pipeline/diffusion"
)

// sigmaTable is σ_t = √((1−ᾱ_t)/ᾱ_t) [T], rising. With rescale_betas_zero_snr
// the last ᾱ is 2⁻²⁴ instead of 0, as in diffusers, so that σ stays finite.
func sigmaTable(s *diffusion.Schedule) []float64 {
	sigmas := make([]float64, len(s.AlphasCumprod))
	for t, abar := range s.AlphasCumprod {
		if s.RescaleBetasZeroSNR && t == len(sigmas)-1 {
			abar = 0x1p-24
		}
		sigmas[t] = math.Sqrt((1 - abar) / abar)
	}
	return sigmas
}

// interpolate is the table's value at t, a straight line between whole numbers.
func interpolate(table []float64, t float64) float64 {
	low := min(int(t), len(table)-2)
	if low < 0 { // one timestep
		return table[0]
	}
	return table[low] + (t-float64(low))*(table[low+1]-table[low])
}

// karrasSigmas are n values of σ from largest to smallest, evenly spaced in
// σ^(1/7): Karras et al. 2022, arXiv 2206.00364, Eq. (5).
func karrasSigmas(largest, smallest float64, n int) []float64 {
	const rho = 7
	from, to := math.Pow(largest, 1./rho), math.Pow(smallest, 1./rho)
	sigmas := make([]float64, n)
	for i := range sigmas {
		ramp := 0.
		if n > 1 {
			ramp = float64(i) / float64(n-1)
		}
		sigmas[i] = math.Pow(from+ramp*(to-from), rho)
	}
	return sigmas
}

// timestepOf is where the table reaches σ, its logarithm a straight line between
// timesteps; the table's ends beyond them.
func timestepOf(table []float64, sigma float64) float64 {
	low := sort.Search(len(table), func(t int) bool { return table[t] > sigma }) - 1
	low = max(0, min(low, len(table)-2))
	if len(table) == 1 {
		return 0
	}
	a, b := math.Log(table[low]), math.Log(table[low+1])
	return float64(low) + max(0, min(1, (math.Log(math.Max(sigma, 1e-10))-a)/(b-a)))
}

// finalSigma is where the last step goes.
func finalSigma(name string, s *diffusion.Schedule, table []float64) (float64, error) {
	switch s.Solver.FinalSigmasType {
	case "zero":
		return 0, nil
	case "sigma_min":
		return table[0], nil
	}
	return 0, fmt.Errorf("sampler %s: final_sigmas_type %q is not supported; use zero or sigma_min", name, s.Solver.FinalSigmasType)
}

// refuse names the first setting that is on and that nothing here does.
func refuse(name string, settings ...setting) error {
	for _, x := range settings {
		if x.on {
			return fmt.Errorf("sampler %s: %s in scheduler_config.json is not supported; change it, or use ddim", name, x.what)
		}
	}
	return nil
}

type setting struct {
	what string
	on   bool
}
