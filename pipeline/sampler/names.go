package sampler

import (
	"fmt"
	"math"
	"strings"

	"immiscible/pipeline/diffusion"
)

// table names the samplers; New, Names and Default read it.
var table = []struct {
	name, class string // class is diffusers'
	build       func(s *diffusion.Schedule, steps int, eta float64) (*Sampler, error)
}{
	{"ddim", "DDIMScheduler", DDIM},
	{"ddpm", "DDPMScheduler", withoutEta("ddpm", DDPM)},
	{"pndm", "PNDMScheduler", withoutEta("pndm", PNDM)},
	{"euler", "EulerDiscreteScheduler", withoutEta("euler", Euler)},
	{"euler_a", "EulerAncestralDiscreteScheduler", withoutEta("euler_a", EulerAncestral)},
	{"dpm++_2m", "DPMSolverMultistepScheduler", withoutEta("dpm++_2m", karras(false))},
	{"dpm++_2m_karras", "DPMSolverMultistepScheduler", withoutEta("dpm++_2m_karras", karras(true))},
}

// withoutEta refuses an eta that the sampler would not read.
func withoutEta(name string, build func(*diffusion.Schedule, int) (*Sampler, error)) func(*diffusion.Schedule, int, float64) (*Sampler, error) {
	return func(s *diffusion.Schedule, steps int, eta float64) (*Sampler, error) {
		if eta != 0 {
			return nil, fmt.Errorf("sampler %s: eta is %v, but only ddim reads it; leave it 0", name, eta)
		}
		return build(s, steps)
	}
}

// karras is DPMSolverPP with use_karras_sigmas as given.
func karras(on bool) func(*diffusion.Schedule, int) (*Sampler, error) {
	return func(s *diffusion.Schedule, steps int) (*Sampler, error) {
		given := *s
		given.Solver.UseKarrasSigmas = on
		return DPMSolverPP(&given, steps)
	}
}

// Names lists what New accepts.
func Names() []string {
	names := make([]string, len(table))
	for i, row := range table {
		names[i] = row.name
	}
	return names
}

// Default is the sampler that a scheduler_config.json stands for. A class that
// is none of ours is sampled with ddim, and so is DDPMScheduler: it says how a
// model was trained, and takes a thousand steps to sample well.
func Default(c diffusion.Config) string {
	name := "ddim"
	for _, row := range table {
		if row.class == c.ClassName && row.name != "ddpm" {
			name = row.name
			if c.Solver.UseKarrasSigmas == strings.HasSuffix(name, "_karras") {
				break
			}
		}
	}
	return name
}

// New builds a sampler by name: steps is num_inference_steps, eta is DDIM's
// and must be 0 for others. Keys that the schedule's file lacks have the default
// of the sampler's class in diffusers. The error names the setting that cannot
// be used.
func New(name string, s *diffusion.Schedule, steps int, eta float64) (*Sampler, error) {
	for _, row := range table {
		if row.name == name {
			given := *s
			given.Config = s.Config.For(row.class)
			return row.build(&given, steps, eta)
		}
	}
	return nil, fmt.Errorf("sampler %q does not exist; use one of %s", name, strings.Join(Names(), ", "))
}

// discrete begins the table of a sampler of whole timesteps whose samples are
// those of training, √ᾱ·x0 + √(1−ᾱ)·n.
func discrete(name string, s *diffusion.Schedule, timesteps []int) *Sampler {
	r := &Sampler{name: name, InitNoiseSigma: 1, steps: make([]step, len(timesteps)), clip: math.Inf(1)}
	for i, t := range timesteps {
		r.timesteps = append(r.timesteps, float64(t))
		r.steps[i].scale, r.steps[i].base = 1, i
	}
	return r
}

// denoised begins the table of DDIM and DDPM, whose estimates are of the image
// and are clipped as clip_sample says, and refuses what neither can do.
func denoised(name string, s *diffusion.Schedule, steps int) (*Sampler, []int, error) {
	if s.Thresholding {
		return nil, nil, fmt.Errorf("sampler %s: thresholding is true in scheduler_config.json, and dynamic thresholding is not supported; set it to false", name)
	}
	timesteps, err := spaced(s, steps)
	if err != nil {
		return nil, nil, fmt.Errorf("sampler %s: %w", name, err)
	}
	if t := timesteps[0]; s.AlphasCumprod[t] == 0 && s.PredictionType == diffusion.PredictEpsilon {
		return nil, nil, fmt.Errorf("sampler %s: alphas_cumprod is 0 at timestep %d, where a model of prediction_type epsilon says nothing of the image; use timestep_spacing leading, or train v_prediction", name, t)
	}
	r := discrete(name, s, timesteps)
	if s.ClipSample {
		r.clip = s.ClipSampleRange
	}
	for i, t := range timesteps {
		r.steps[i].estimate.sample, r.steps[i].estimate.output = s.DenoisedCoefficients(t)
	}
	return r, timesteps, nil
}
