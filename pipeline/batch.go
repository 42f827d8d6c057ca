package pipeline

import (
	"context"
	"fmt"
	"slices"

	"immiscible/datasets/rng"
	"immiscible/pipeline/diffusion"
)

// feeder fills the training graph's inputs for a micro-batch. What it draws is
// keyed by the example's position.
type feeder struct {
	config      Config
	schedule    *diffusion.Schedule
	lossWeights []float64 // by timestep
	conditioned bool
	channels    int
	dropout     float64      // probability of the model's dropout
	text        *TextEncoder // nil where the model takes no text
}

// fill writes micro-batch rows [from, from+n) of the pool as the next contents of
// the inputs, and sends them. share is the micro-batch's part of the batch: the
// graph averages over the micro-batch, the step over the batch.
func (f *feeder) fill(ctx context.Context, t *Stepper, p *pool, from, n int, share float64) error {
	seed, dim := uint64(f.config.Train.Seed), p.dim
	images, noise := p.images[from*dim:(from+n)*dim], p.noise[from*dim:(from+n)*dim]
	first := uint64(p.position) + uint64(from)
	noise = f.offset(noise, seed, first, n)

	timesteps := make([]int64, n)
	weights := make([]float32, n)
	for i := range n {
		timesteps[i] = int64(rng.New(seed, "timesteps", first+uint64(i)).Intn(f.schedule.NumTrainTimesteps))
		weights[i] = float32(f.lossWeights[timesteps[i]] * share)
	}
	floats := map[string][]float32{"sample": images, "noise": noise, "loss_weights": weights}
	if gamma := f.config.Train.InputPerturbation; gamma > 0 {
		floats["input_noise"] = perturbed(noise, gamma, seed, first, n)
	}
	if f.text != nil {
		states, err := f.text.Encode(ctx, f.captions(p.texts[from:from+n], seed, first))
		if err != nil {
			return fmt.Errorf("captions of positions %d…%d: %w", first, first+uint64(n)-1, err)
		}
		floats["encoder_hidden_states"] = states
	}
	for name, values := range floats {
		if err := t.feed.SetFloat32(t.Input(name), values); err != nil {
			return fmt.Errorf("input %s: %w", name, err)
		}
	}
	if err := t.feed.SetInt64(t.Input("timesteps"), timesteps); err != nil {
		return fmt.Errorf("input timesteps: %w", err)
	}
	if f.conditioned {
		labels, err := f.labels(p.labels[from:from+n], seed, first)
		if err != nil {
			return err
		}
		if err := t.feed.SetInt64(t.Input("class_labels"), labels); err != nil {
			return fmt.Errorf("input class_labels: %w", err)
		}
	}
	if err := f.masks(t, seed, first, n); err != nil {
		return err
	}
	if err := f.positions(t, first, n); err != nil {
		return err
	}
	return t.feed.Send()
}

// labels are the class labels, a share of them replaced by the label after the
// last class, which stands for "no class": conditioning dropout.
func (f *feeder) labels(labels []int64, seed, first uint64) ([]int64, error) {
	out := make([]int64, len(labels))
	for i, label := range labels {
		if label < 0 || label >= int64(f.config.Data.NumClasses) {
			return nil, fmt.Errorf("the example at position %d has label %d: want 0…%d ([data] num_classes)", first+uint64(i), label, f.config.Data.NumClasses-1)
		}
		out[i] = label
		if f.drops(seed, first+uint64(i)) {
			out[i] = int64(f.config.Data.NumClasses)
		}
	}
	return out, nil
}

// captions are the texts, a share of them replaced by the empty one.
func (f *feeder) captions(texts []string, seed, first uint64) []string {
	out := slices.Clone(texts)
	for i := range out {
		if f.drops(seed, first+uint64(i)) {
			out[i] = ""
		}
	}
	return out
}

// drops reports whether the example of a position trains unconditionally, which
// is what classifier-free guidance needs (Ho & Salimans 2022, arXiv 2207.12598,
// Algorithm 1).
func (f *feeder) drops(seed, position uint64) bool {
	p := f.config.Train.ConditioningDropout
	return p > 0 && rng.New(seed, "conditioning_dropout", position).Float64() < p
}

// offset adds one draw a channel, × noise_offset, after the pairing: the model
// learns to move an image's mean (diffusers' --noise_offset).
func (f *feeder) offset(noise []float32, seed, first uint64, n int) []float32 {
	amount := f.config.Train.NoiseOffset
	if amount == 0 {
		return noise
	}
	out := make([]float32, len(noise))
	dim := len(noise) / n
	channels := f.channels
	draws := make([]float32, channels)
	for i := range n {
		rng.New(seed, "noise_offset", first+uint64(i)).FillNormal(draws)
		for k := range dim {
			out[i*dim+k] = noise[i*dim+k] + float32(amount)*draws[k/(dim/channels)]
		}
	}
	return out
}

// perturbed is the noise that the model's input gets with input perturbation:
// noise + γ·draw, while the target stays noise (Ning et al. 2023, arXiv
// 2301.11706, Eq. 9).
func perturbed(noise []float32, gamma float64, seed, first uint64, n int) []float32 {
	out := make([]float32, len(noise))
	dim := len(noise) / n
	for i := range n {
		row := out[i*dim : (i+1)*dim]
		rng.New(seed, "input_perturbation", first+uint64(i)).FillNormal(row)
		for k, x := range row {
			row[k] = noise[i*dim+k] + float32(gamma)*x
		}
	}
	return out
}
