package sampler

import (
	"math"
	"testing"

	"immiscible/pipeline/diffusion"
)

// law is the mean and variance of a Gaussian sample.
type law struct{ mean, variance float64 }

// images of one pixel are N(mean, variance), so the best estimate of the image
// at timestep t is known: E[x0 | x] = mean + gain·(x − √ᾱ·mean).
func (images law) denoise(s *diffusion.Schedule, t int, x float32) float32 {
	signal, sigma := s.NoisyCoefficients(t)
	gain := signal * images.variance / (signal*signal*images.variance + sigma*sigma)
	return float32(images.mean + gain*(float64(x)-signal*images.mean))
}

// noisy is the law of x_t.
func (images law) noisy(s *diffusion.Schedule, t int) law {
	signal, sigma := s.NoisyCoefficients(t)
	return law{signal * images.mean, signal*signal*images.variance + sigma*sigma}
}

// push carries the law of a sample through step i. The step is affine in the
// sample and the noise, so three probes determine it: no random draw.
func push(t *testing.T, run *Sampler, s *diffusion.Schedule, images law, i int, before law) law {
	t.Helper()
	x, noise := []float32{0, 1, 0}, []float32{0, 0, 1}
	denoised := make([]float32, 3)
	for k := range x {
		denoised[k] = images.denoise(s, int(run.Timesteps()[i]), x[k])
	}
	if err := run.Step(i, x, denoised, noise); err != nil {
		t.Fatal(err)
	}
	offset, gain, spread := float64(x[0]), float64(x[1]-x[0]), float64(x[2]-x[0])
	return law{offset + gain*before.mean, gain*gain*before.variance + spread*spread}
}

// unclipped is a configuration whose model gives the estimate of the image.
func unclipped(change func(*diffusion.Config)) func(*diffusion.Config) {
	return func(c *diffusion.Config) { c.ClipSample, c.PredictionType = false, diffusion.PredictSample; change(c) }
}

// Deterministic DDIM solves an ODE whose flow on a Gaussian is known: x_T goes
// to mean + sd·(x_T − its mean)/(its sd). With all 1,000 steps each x lands
// within 5e-3 of that; twice the steps halve the error, as a first-order
// solver's must (a factor between 1.6 and 2.4 at 125 to 500 steps).
func TestDDIMFollowsTheKnownFlow(t *testing.T) {
	images := law{0.3, 0.25}
	s := schedule(t, unclipped(func(*diffusion.Config) {}))
	worst := func(steps int) float64 {
		run, err := DDIM(s, steps, 0)
		if err != nil {
			t.Fatal(err)
		}
		first := images.noisy(s, int(run.Timesteps()[0]))
		off := 0.0
		for _, start := range []float32{-2, -0.5, 0, 1, 2.5} {
			x, denoised := []float32{start}, []float32{0}
			for i, at := range run.Timesteps() {
				denoised[0] = images.denoise(s, int(at), x[0])
				if err := run.Step(i, x, denoised, nil); err != nil {
					t.Fatal(err)
				}
			}
			want := images.mean + math.Sqrt(images.variance/first.variance)*(float64(start)-first.mean)
			off = math.Max(off, math.Abs(float64(x[0])-want))
		}
		return off
	}
	within(t, "distance from the flow after 1000 steps", worst(1000), 0, 5e-3)
	within(t, "error at 125 over 250 steps", worst(125)/worst(250), 2, 0.4)
	within(t, "error at 250 over 500 steps", worst(250)/worst(500), 2, 0.4)
}

// If images are N(0, 1), a deterministic DDIM step is a turn: with θ = arccos √ᾱ
// it multiplies the sample by cos(θ_t − θ_p). float32 values, so one rounding of
// the estimate and one of the sample.
func TestDDIMStepOnUnitGaussianIsATurn(t *testing.T) {
	images := law{0, 1}
	s := schedule(t, unclipped(func(*diffusion.Config) {}))
	run, err := DDIM(s, 20, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range run.Timesteps() {
		end := 0.0 // arccos of ᾱ = 1, where the last step goes
		if i+1 < 20 {
			end = math.Acos(math.Sqrt(s.AlphasCumprod[int(run.Timesteps()[i+1])]))
		}
		want := math.Cos(math.Acos(math.Sqrt(s.AlphasCumprod[int(at)])) - end)
		x := []float32{1}
		if err := run.Step(i, x, []float32{images.denoise(s, int(at), 1)}, nil); err != nil {
			t.Fatal(err)
		}
		within(t, "gain", float64(x[0]), want, 3*0x1p-24)
	}
}

// If every image is the same, any eta and fixed_small are exact in any number
// of steps: each state has the law of x_t, and the end is the image (DDIM
// section 3.1; DDPM section 3.2, "x0 deterministically set to one point").
func TestOneImageIsExact(t *testing.T) {
	image := law{-0.7, 0}
	s := schedule(t, unclipped(func(*diffusion.Config) {}))
	for _, steps := range []int{1, 10, 50, 1000} {
		for _, name := range []string{"ddim 0", "ddim 0.4", "ddim 1", "ddpm"} {
			run, err := map[string]func() (*Sampler, error){
				"ddim 0":   func() (*Sampler, error) { return DDIM(s, steps, 0) },
				"ddim 0.4": func() (*Sampler, error) { return DDIM(s, steps, 0.4) },
				"ddim 1":   func() (*Sampler, error) { return DDIM(s, steps, 1) },
				"ddpm":     func() (*Sampler, error) { return DDPM(s, steps) },
			}[name]()
			if err != nil {
				t.Fatal(err)
			}
			state := image.noisy(s, int(run.Timesteps()[0]))
			for i := range run.Timesteps() {
				state = push(t, run, s, image, i, state)
				want := image
				if i+1 < steps {
					want = image.noisy(s, int(run.Timesteps()[i+1]))
				}
				// float32 probes: a rounding a step, damped by the steps after it.
				within(t, name+" mean", state.mean, want.mean, 1e-5)
				within(t, name+" variance", state.variance, want.variance, 1e-5)
			}
		}
	}
}

// If images are N(0, 1), so is every x_t, and fixed_large keeps that law
// exactly down to the last step, which adds nothing (DDPM section 3.2).
func TestUnitGaussianIsExactWithFixedLarge(t *testing.T) {
	images := law{0, 1}
	s := schedule(t, unclipped(func(c *diffusion.Config) { c.VarianceType = "fixed_large" }))
	for _, steps := range []int{10, 50, 1000} {
		run, err := DDPM(s, steps)
		if err != nil {
			t.Fatal(err)
		}
		state := images
		for i := range run.Timesteps() {
			if wants := run.Timesteps()[i] > 0; run.NeedsNoise(i) != wants {
				t.Fatalf("step %d of %d: NeedsNoise %v, want %v", i, steps, !wants, wants)
			}
			state = push(t, run, s, images, i, state)
			want := 1.0
			if i == steps-1 {
				want = s.AlphasCumprod[0]
			}
			within(t, "variance", state.variance, want, 1e-5)
		}
	}
}
