// Package sampler walks from noise to images. A sampler is a pure step: the
// caller runs the model at Timesteps()[i], turns its output into an estimate
// of the image with diffusion.Schedule.Denoised, and asks for step i. Samplers
// know neither prediction types nor guidance nor models, draw nothing, and
// count nothing, so a run can be cut and continued at any i:
//
//	for i, t := range s.Timesteps() {
//		output := model(sample, t)
//		schedule.Denoised(output, t, sample, output)
//		s.Step(i, sample, output, noise)    // noise only where s.NeedsNoise(i)
//	}
//
// Timesteps, step arithmetic and their peculiarities are diffusers'.
package sampler

import (
	"fmt"
	"math"
	"strings"

	"immiscible/pipeline/diffusion"
)

// Sampler steps from pure noise, before step 0, to images, after the last one.
type Sampler interface {
	// Timesteps are those at which the model is evaluated, descending, one a
	// step. The slice is the sampler's own and not to be changed.
	Timesteps() []int
	// NeedsNoise says whether step i adds fresh noise.
	NeedsNoise(i int) bool
	// Step replaces sample, the noisy images before step i, by those after it.
	// denoised is the unclipped estimate of the images from sample; noise is
	// standard normal, and not read where NeedsNoise(i) is false. All have the
	// same length; another i or length is an error and leaves sample alone.
	Step(i int, sample, denoised, noise []float32) error
}

// table names the samplers; New and Names read it.
var table = []struct {
	name  string
	build func(s *diffusion.Schedule, steps int, eta float64) (Sampler, error)
}{
	{"ddim", DDIM},
	{"ddpm", func(s *diffusion.Schedule, steps int, eta float64) (Sampler, error) {
		if eta != 0 {
			return nil, fmt.Errorf("sampler ddpm: eta is %v, but only ddim reads it; leave it 0", eta)
		}
		return DDPM(s, steps)
	}},
}

// Names lists what New accepts.
func Names() []string {
	names := make([]string, len(table))
	for i, row := range table {
		names[i] = row.name
	}
	return names
}

// New builds a sampler by name: steps is num_inference_steps, eta is DDIM's
// and must be 0 for others. The error names the setting that cannot be used.
func New(name string, s *diffusion.Schedule, steps int, eta float64) (Sampler, error) {
	for _, row := range table {
		if row.name == name {
			return row.build(s, steps, eta)
		}
	}
	return nil, fmt.Errorf("sampler %q does not exist; use one of %s", name, strings.Join(Names(), ", "))
}

// coefficients of one step:
// x' = clipped·clip(denoised) + plain·denoised + sample·x + noise·n.
type coefficients struct {
	clipped, plain, sample, noise float64
}

// linear is any sampler whose next sample is a fixed mixture of this one, the
// denoised estimate and noise, as DDIM's and DDPM's are.
type linear struct {
	name      string
	timesteps []int
	steps     []coefficients // as many as timesteps
	clip      float64        // estimates are clipped to [−clip, clip]; +Inf for none
}

func (l *linear) Timesteps() []int { return l.timesteps }

func (l *linear) NeedsNoise(i int) bool { return l.steps[i].noise != 0 }

func (l *linear) Step(i int, sample, denoised, noise []float32) error {
	if i < 0 || i >= len(l.steps) {
		return fmt.Errorf("sampler %s: step %d is outside 0…%d", l.name, i, len(l.steps)-1)
	}
	if len(denoised) != len(sample) {
		return fmt.Errorf("sampler %s: step %d got %d denoised values for %d of the sample; pass equal lengths", l.name, i, len(denoised), len(sample))
	}
	c := l.steps[i]
	if c.noise != 0 && len(noise) != len(sample) {
		return fmt.Errorf("sampler %s: step %d got %d noise values for %d of the sample; pass equal lengths", l.name, i, len(noise), len(sample))
	}
	for k, d := range denoised {
		x := c.clipped*max(-l.clip, min(l.clip, float64(d))) + c.plain*float64(d) + c.sample*float64(sample[k])
		if c.noise != 0 {
			x += c.noise * float64(noise[k])
		}
		sample[k] = float32(x)
	}
	return nil
}

// newLinear checks what both samplers ask of a schedule and sets the timesteps.
func newLinear(name string, s *diffusion.Schedule, steps int) (*linear, error) {
	if s.Thresholding {
		return nil, fmt.Errorf("sampler %s: thresholding is true in scheduler_config.json, and dynamic thresholding is not supported; set it to false", name)
	}
	timesteps, err := spaced(s, steps)
	if err != nil {
		return nil, fmt.Errorf("sampler %s: %w", name, err)
	}
	if t := timesteps[0]; s.AlphasCumprod[t] == 0 && s.PredictionType == diffusion.PredictEpsilon {
		return nil, fmt.Errorf("sampler %s: alphas_cumprod is 0 at timestep %d, where a model of prediction_type epsilon says nothing of the image; use timestep_spacing leading, or train v_prediction", name, t)
	}
	l := &linear{name: name, timesteps: timesteps, steps: make([]coefficients, steps), clip: math.Inf(1)}
	if s.ClipSample {
		l.clip = s.ClipSampleRange
	}
	return l, nil
}
