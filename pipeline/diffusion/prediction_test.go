package diffusion

import (
	"math"
	"strings"
	"testing"
)

// add_noise, get_velocity and pred_original_sample of diffusers in float64.
// Tolerance: some ten float64 roundings of ᾱ, magnified by at most
// 1/√ᾱ_999 ≈ 160.
func TestMixturesMatchDiffusers(t *testing.T) {
	for _, row := range readGolden(t).Mixtures {
		s := build(t, func(c *Config) { c.PredictionType = row.PredictionType })
		signal, sigma := s.NoisyCoefficients(row.T)
		image, noise := s.TargetCoefficients(row.T)
		fromNoisy, fromOutput := s.DenoisedCoefficients(row.T)
		within(t, row.PredictionType+" noisy", signal*row.X0+sigma*row.Noise, row.Noisy, 1e-11)
		within(t, row.PredictionType+" target", image*row.X0+noise*row.Noise, row.Target, 1e-11)
		within(t, row.PredictionType+" denoised", fromNoisy*row.Noisy+fromOutput*row.ModelOutput, row.Denoised, 1e-11)
	}
}

// A model that hits its target denoises perfectly, whatever it predicts. The
// tolerance is of float32 values, divided by √ᾱ as epsilon divides them.
func TestDenoisedInvertsTarget(t *testing.T) {
	x0, n := []float32{0.4, -1, 0.03, 1}, []float32{-1.3, 0.2, 2.5, -0.4}
	for _, kind := range []string{PredictEpsilon, PredictV, PredictSample} {
		s := build(t, func(c *Config) { c.PredictionType = kind })
		for _, at := range []int{0, 1, 250, 500, 999} {
			signal, sigma := s.NoisyCoefficients(at)
			image, noise := s.TargetCoefficients(at)
			noisy, output := make([]float32, 4), make([]float32, 4)
			for i := range x0 {
				noisy[i] = float32(signal*float64(x0[i]) + sigma*float64(n[i]))
				output[i] = float32(image*float64(x0[i]) + noise*float64(n[i]))
			}
			if err := s.Denoised(output, at, noisy, output); err != nil {
				t.Fatal(err)
			}
			for i := range x0 {
				within(t, kind+" denoised", float64(output[i]), float64(x0[i]), 8*0x1p-24/math.Min(signal, 1)*2.5)
			}
		}
	}
}

func TestDenoisedRefuses(t *testing.T) {
	s := build(t, func(*Config) {})
	for _, row := range []struct {
		t             int
		sample, model int
		want          string
	}{
		{-1, 2, 2, "timestep -1 is outside 0…999"},
		{1000, 2, 2, "timestep 1000"},
		{5, 3, 2, "3 sample and 2 model output values for 2 results"},
		{5, 2, 1, "2 sample and 1 model output"},
	} {
		err := s.Denoised(make([]float32, 2), row.t, make([]float32, row.sample), make([]float32, row.model))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("error %v, want it to say %q", err, row.want)
		}
	}
}

// compute_snr and the training scripts' weights are float32 in diffusers: ᾱ
// carries up to t+8 roundings of 2⁻²⁴, which 1−ᾱ magnifies where it is small,
// as does ᾱ itself at the other end.
func TestLossWeightsMatchDiffusers(t *testing.T) {
	for _, row := range readGolden(t).Weights {
		s := build(t, func(c *Config) { c.PredictionType = row.PredictionType })
		weights, err := s.LossWeights(row.SNRGamma)
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range row.T {
			abar := s.AlphasCumprod[at]
			relative := float64(at+8) * 0x1p-24 * (1/(1-abar) + 1)
			within(t, "snr", s.SNR(at), row.SNR[i], relative*row.SNR[i])
			within(t, row.PredictionType+" weight", weights[at], row.Weights[i], relative*row.Weights[i])
		}
	}
}

func TestLossWeightsEdges(t *testing.T) {
	s := build(t, func(c *Config) { c.RescaleBetasZeroSNR = true })
	ones, err := s.LossWeights(0)
	if err != nil {
		t.Fatal(err)
	}
	for at, w := range ones {
		if w != 1 {
			t.Fatalf("weight %v at timestep %d with snr_gamma 0, want 1", w, at)
		}
	}
	weights, err := s.LossWeights(5)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "epsilon weight at SNR 0", weights[999], 1, 0)
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := s.LossWeights(bad); err == nil || !strings.Contains(err.Error(), "snr_gamma") {
			t.Errorf("snr_gamma %v: error %v", bad, err)
		}
	}
}
