// Package sampler walks from noise to images. Each sampler here is a table: a
// step's next samples are a mixture of samples, model outputs and noise with
// fixed coefficients, so that the walk is one function (Step) and a sampler is
// the arithmetic of its coefficients. The caller runs the model:
//
//	for i, t := range s.Timesteps() {
//		output := model(s.InputScale(i)·sample, t)
//		s.Step(i, sample, output, noise)    // noise only where s.NeedsNoise(i)
//	}
//
// with sample = s.InitNoiseSigma·noise at first. Samplers know neither guidance
// nor models and draw nothing. Timesteps, step arithmetic and their
// peculiarities are diffusers'.
package sampler

import "fmt"

// Sampler steps from pure noise, before step 0, to images, after the last one.
// A step is an evaluation of the model; PNDM has more of them than
// num_inference_steps. One Sampler walks one batch at a time: step 0 forgets the
// batch before. What a batch becomes depends on nothing else.
type Sampler struct {
	// InitNoiseSigma is diffusers' init_noise_sigma: what standard normal noise
	// is multiplied by before step 0.
	InitNoiseSigma float64

	name      string
	timesteps []float64
	steps     []step  // as many as timesteps
	clip      float64 // estimates are clipped to [−clip, clip]; +Inf for none

	// What later steps of this batch read, by the step that made it, and the
	// last step that does.
	estimates, samples [][]float32
	reads              []reads
}

// reads are the last steps that read a step's sample and estimate; 0 for none.
type reads struct{ sample, estimate int }

// step is what one evaluation does with the samples x and the model's output o:
//
//	e_i = clip(x·estimate.sample + o·estimate.output)
//	x'  = sample·x_base + output·o + Σ weight·e_at + noise·n
//
// where x_base are the samples before step base, which is i or earlier.
type step struct {
	scale                 float64 // the model sees scale·x
	estimate              struct{ sample, output float64 }
	base                  int
	sample, output, noise float64
	past                  []term
}

// term is a weight on the estimate of step at, which is i or earlier.
type term struct {
	at     int
	weight float64
}

// Timesteps are those at which the model is evaluated, one a step, from 0 to
// T−1 and not always whole numbers. The slice is the sampler's own and not to
// be changed.
func (s *Sampler) Timesteps() []float64 { return s.timesteps }

// InputScale is what samples are multiplied by for the model, at step i:
// diffusers' scale_model_input.
func (s *Sampler) InputScale(i int) float64 { return s.steps[i].scale }

// NeedsNoise says whether step i adds fresh noise.
func (s *Sampler) NeedsNoise(i int) bool { return s.steps[i].noise != 0 }

// Step replaces sample, the samples before step i (not scaled by InputScale), by
// those after it. output is the model's; noise is standard normal, and not read
// where NeedsNoise(i) is false. All have the same length. An error leaves sample
// alone: another i or length, or a step that reads what earlier steps of the
// batch have not left.
func (s *Sampler) Step(i int, sample, output, noise []float32) error {
	if i < 0 || i >= len(s.steps) {
		return fmt.Errorf("sampler %s: step %d is outside 0…%d", s.name, i, len(s.steps)-1)
	}
	if len(output) != len(sample) {
		return fmt.Errorf("sampler %s: step %d got %d model output values for %d of the sample; pass equal lengths", s.name, i, len(output), len(sample))
	}
	c := s.steps[i]
	if c.noise != 0 && len(noise) != len(sample) {
		return fmt.Errorf("sampler %s: step %d got %d noise values for %d of the sample; pass equal lengths", s.name, i, len(noise), len(sample))
	}
	if err := s.check(i, len(sample)); err != nil {
		return err
	}
	s.keep(i, sample, output)
	defer s.drop(i)
	from := sample
	if c.base != i {
		from = s.samples[c.base]
	}
	for k, o := range output {
		x := c.sample*float64(from[k]) + c.output*float64(o)
		for _, p := range c.past {
			e := c.clipped(s.clip, sample[k], o)
			if p.at != i {
				e = float64(s.estimates[p.at][k])
			}
			x += p.weight * e
		}
		if c.noise != 0 {
			x += c.noise * float64(noise[k])
		}
		sample[k] = float32(x)
	}
	return nil
}

// clipped is this step's estimate from one number of the sample and the output.
func (c step) clipped(limit float64, x, o float32) float64 {
	return max(-limit, min(limit, c.estimate.sample*float64(x)+c.estimate.output*float64(o)))
}

// check reports a step that reads what this batch has not kept.
func (s *Sampler) check(i, n int) error {
	c := s.steps[i]
	missing := func(kept []float32, at int) error {
		if at == i || len(kept) == n {
			return nil
		}
		return fmt.Errorf("sampler %s: step %d reads step %d, which this batch of %d values has not made; begin at step 0", s.name, i, at, n)
	}
	if err := missing(s.samples[c.base], c.base); err != nil {
		return err
	}
	for _, p := range c.past {
		if err := missing(s.estimates[p.at], p.at); err != nil {
			return err
		}
	}
	return nil
}

// keep stores what later steps read of step i.
func (s *Sampler) keep(i int, sample, output []float32) {
	if i == 0 {
		clear(s.samples)
		clear(s.estimates)
	}
	if s.reads[i].sample > i {
		s.samples[i] = append([]float32(nil), sample...)
	}
	if s.reads[i].estimate > i {
		s.estimates[i] = make([]float32, len(sample))
		for k, o := range output {
			s.estimates[i][k] = float32(s.steps[i].clipped(s.clip, sample[k], o))
		}
	}
}

// drop forgets what no step after i reads.
func (s *Sampler) drop(i int) {
	for at := range i {
		if s.reads[at].sample <= i {
			s.samples[at] = nil
		}
		if s.reads[at].estimate <= i {
			s.estimates[at] = nil
		}
	}
}

// finish makes a sampler of its table.
func (s *Sampler) finish() *Sampler {
	s.estimates, s.samples = make([][]float32, len(s.steps)), make([][]float32, len(s.steps))
	s.reads = make([]reads, len(s.steps))
	for i, c := range s.steps {
		s.reads[c.base].sample = i
		for _, p := range c.past {
			s.reads[p.at].estimate = i
		}
	}
	return s
}
