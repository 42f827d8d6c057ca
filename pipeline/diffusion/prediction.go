package diffusion

import (
	"fmt"
	"math"
)

// NoisyCoefficients returns what makes a noisy image at timestep t
// (0 ≤ t < T): x_t = signal·x0 + noise·n with signal = √ᾱ_t and
// noise = √(1−ᾱ_t). Ho et al. 2020, arXiv 2006.11239, Eq. (4).
func (s *Schedule) NoisyCoefficients(t int) (signal, noise float64) {
	abar := s.AlphasCumprod[t]
	return math.Sqrt(abar), math.Sqrt(1 - abar)
}

// TargetCoefficients returns what the model's output is trained towards at
// timestep t: target = image·x0 + noise·n. The velocity of v_prediction is
// that of Salimans & Ho 2022, arXiv 2202.00512, appendix D.
func (s *Schedule) TargetCoefficients(t int) (image, noise float64) {
	signal, sigma := s.NoisyCoefficients(t)
	switch s.PredictionType {
	case PredictV:
		return -sigma, signal
	case PredictSample:
		return 1, 0
	default: // PredictEpsilon: New admits no fourth
		return 0, 1
	}
}

// DenoisedCoefficients returns what turns the model's output at timestep t
// into its estimate of the image, diffusers' pred_original_sample:
// denoised = noisy·x_t + output·model_output. It solves the definitions of
// NoisyCoefficients and TargetCoefficients for x0. Both are infinite for
// epsilon where ᾱ_t = 0: noise alone says nothing of the image there.
func (s *Schedule) DenoisedCoefficients(t int) (noisy, output float64) {
	signal, sigma := s.NoisyCoefficients(t)
	switch s.PredictionType {
	case PredictV:
		return signal, -sigma
	case PredictSample:
		return 0, 1
	default:
		return 1 / signal, -sigma / signal
	}
}

// Denoised writes the model's estimate of the images to dst, which may be one
// of the inputs: dst[i] = noisy·sample[i] + output·modelOutput[i] with
// DenoisedCoefficients(t). Slices of different lengths and a timestep outside
// 0 … T−1 are errors.
func (s *Schedule) Denoised(dst []float32, t int, sample, modelOutput []float32) error {
	if t < 0 || t >= len(s.AlphasCumprod) {
		return fmt.Errorf("denoise: timestep %d is outside 0…%d; use the sampler's timesteps", t, len(s.AlphasCumprod)-1)
	}
	if len(sample) != len(dst) || len(modelOutput) != len(dst) {
		return fmt.Errorf("denoise: got %d sample and %d model output values for %d results; pass equal lengths", len(sample), len(modelOutput), len(dst))
	}
	noisy, output := s.DenoisedCoefficients(t)
	for i := range dst {
		dst[i] = float32(noisy*float64(sample[i]) + output*float64(modelOutput[i]))
	}
	return nil
}
