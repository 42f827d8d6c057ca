package pipeline

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"immiscible/datasets/rng"
	"immiscible/models"
	"immiscible/models/engine"
)

// BenchOptions say which training step is timed.
type BenchOptions struct {
	Model      string    // diffusers folder; "": the preset's model
	Preset     string    // "": the default preset
	Sets       []string  // "table.key=value", as LoadConfig takes them
	Batch      int       // 0: the preset's micro-batch, 16 for a folder
	Resolution int       // pixels; 0: the preset's, or the folder's sample_size
	Threads    int       // 0: as many as there are cores
	Profile    string    // prefix of each session's trace (see engine.Options); "": none
	Messages   io.Writer // what the engine has to tell
}

// StepBench is a model's training step on synthetic images: drawing noise,
// timesteps and dropout masks, filling the inputs, gradients, norm, update.
type StepBench struct {
	Batch, Resolution int
	Parameters        int
	Threads           int
	Library, Provider string // ONNX Runtime's version, and what computes
	ModelConfig       []byte // the model's config.json

	engine  *engine.Engine
	subject *subject
	trainer *trainer
	pool    *pool
	fed     *batches
	drawn   bool // the pool has been used
	updates int
}

// OpenStepBench builds the model with fresh weights and its sessions. Close it
// after use.
func OpenStepBench(ctx context.Context, o BenchOptions) (*StepBench, error) {
	c, err := o.config()
	if err != nil {
		return nil, err
	}
	b := &StepBench{Batch: c.Train.MicroBatch, Resolution: c.Data.Resolution}
	if err := b.open(ctx, c, o); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *StepBench) open(ctx context.Context, c Config, o BenchOptions) (err error) {
	if b.subject, err = openSubject(c); err != nil {
		return err
	}
	if b.ModelConfig, err = b.subject.unet.JSON(); err != nil {
		return err
	}
	options := c.engineOptions(func(line string) { fmt.Fprintln(o.Messages, line) })
	options.Profile = o.Profile
	if b.engine, err = engine.Open(ctx, options); err != nil {
		return err
	}
	b.pool = syntheticPool(c, b.subject)
	b.Threads, b.Library, b.Provider = b.engine.Threads, b.engine.Version, b.engine.Provider
	if b.trainer, err = newTrainer(b.engine, c, b.subject, false); err != nil {
		return err
	}
	b.Parameters, _ = b.trainer.state.Layout.Count()
	if states := b.trainer.step.Input("encoder_hidden_states"); states != nil {
		values := make([]float32, states.Len())
		rng.New(uint64(c.Train.Seed), "bench/encoder_hidden_states", 0).FillNormal(values)
		if err := b.trainer.step.feed.SetFloat32(states, values); err != nil {
			return err
		}
	}
	b.fed = startBatches(context.WithoutCancel(ctx), c, b.trainer.feed, b.trainer.step, b.draw, 0, math.MaxInt64)
	return b.trainer.state.Draw(uint64(c.Train.Seed))
}

// config is the preset's, with the model, batch and size that are timed.
func (o BenchOptions) config() (Config, error) {
	c, err := LoadConfig(o.Preset, "", o.Sets)
	if err != nil {
		return c, err
	}
	if o.Model != "" {
		m, err := models.Open(o.Model, "unet")
		if err != nil {
			return c, err
		}
		defer m.Close()
		c.Model.Path, c.Model.Init = o.Model, "random"
		size := m.UNet.Sample()
		c.Data.Channels, _ = m.UNet.Channels()
		c.Data.NumClasses, c.Data.Resolution = 0, size.H
		if size.H != size.W {
			c.Data.Resolution = 0 // a square is what a run has
		}
		if m.VAE != nil { // sample_size is in latents, [data] in pixels
			c.Data.Channels = m.VAE.InChannels
			c.Data.Resolution *= m.VAE.Factor()
		}
		if m.UNet.Conditioning() != "" {
			c.Data.NumClasses = 1
		}
		c.Train.ConditioningDropout, c.Noise.PerClass = 0, false
		c.Train.MicroBatch = 16
	}
	if o.Batch > 0 {
		c.Train.MicroBatch = o.Batch
	}
	c.Train.BatchSize = c.Train.MicroBatch
	if o.Resolution > 0 {
		c.Data.Resolution = o.Resolution
	}
	if c.Data.Resolution == 0 {
		return c, fmt.Errorf("%s: its config.json names no square sample_size: want a resolution", o.Model)
	}
	if c.Data.Resolution > maxResolution {
		return c, fmt.Errorf("-resolution %d: want at most %d pixels", c.Data.Resolution, maxResolution)
	}
	if most := maxPixels / (c.Data.Resolution * c.Data.Resolution); c.Train.BatchSize > most {
		return c, fmt.Errorf("-batch %d images of -resolution %d: want at most %d of them", c.Train.BatchSize, c.Data.Resolution, most)
	}
	c.Runtime.Threads = o.Threads
	return c, nil
}

// syntheticPool is a batch of uniform pixels, or latents, and labels in turn.
func syntheticPool(c Config, s *subject) *pool {
	channels, _ := s.unet.Channels()
	o := s.graph(c)
	p := &pool{n: c.Train.BatchSize, dim: channels * o.Height * o.Width}
	p.images, p.noise, p.labels = make([]float32, p.n*p.dim), make([]float32, p.n*p.dim), make([]int64, p.n)
	r := rng.New(uint64(c.Train.Seed), "bench", 0)
	for i := range p.images {
		p.images[i] = float32(2*r.Float64() - 1)
	}
	for i := range p.labels {
		p.labels[i] = int64(i % max(1, c.Data.NumClasses))
	}
	return p
}

// StepTimes are the phases of one training step.
type StepTimes struct {
	Inputs    time.Duration // noise is drawn, the graph's inputs are filled; on a GPU the wait for that
	Gradients time.Duration // the training graph
	Norm      time.Duration // of all gradients
	Update    time.Duration // clip, AdamW, moving average
}

// Total is the whole step.
func (s StepTimes) Total() time.Duration { return s.Inputs + s.Gradients + s.Norm + s.Update }

// Step runs one whole training step and returns the time it took.
func (b *StepBench) Step(ctx context.Context) (times StepTimes, err error) {
	last := time.Now()
	lap := func(to *time.Duration) {
		now := time.Now()
		*to, last = now.Sub(last), now
	}
	t := b.trainer
	if err := t.step.SetLossScale(t.lossScale()); err != nil {
		return times, err
	}
	if _, _, err := b.fed.next(); err != nil {
		return times, err
	}
	lap(&times.Inputs)
	if _, _, err := t.step.Gradients(ctx, true); err != nil {
		return times, err
	}
	lap(&times.Gradients)
	norm, err := t.step.Norm(ctx, t.lossScale())
	if err != nil {
		return times, err
	}
	lap(&times.Norm)
	b.updates++
	if err := t.step.Update(ctx, t.scalars(t.config.LR.LearningRate, norm, b.updates)); err != nil {
		return times, err
	}
	lap(&times.Update)
	return times, nil
}

// Memory is what the training graph has allocated on its device for what it
// computes: the figure that Plan.ActivationBytes estimates.
func (b *StepBench) Memory() (engine.SessionMemory, error) { return b.trainer.step.training.Memory() }

// Traffic is what the steps so far have copied between host and device.
func (b *StepBench) Traffic() engine.Traffic { return b.engine.Traffic() }

// Estimate is the run's memory as -dry-run tells it, in bytes.
func (b *StepBench) Estimate() (PlanMemory, error) {
	c := b.trainer.config
	c.Runtime.Provider = b.Provider
	p, err := b.subject.plan(c)
	if err != nil {
		return PlanMemory{}, err
	}
	return p.Memory, nil
}

// draw makes the pool the next one: the same images at later positions, with the
// noise of those.
func (b *StepBench) draw(context.Context) (*pool, error) {
	p := b.pool
	if b.drawn {
		p.position += int64(p.n)
	}
	b.drawn = true
	drawNoise(p.noise, uint64(b.trainer.config.Train.Seed), p.position, p.n)
	return p, nil
}

// Close frees the sessions, the state and the engine.
func (b *StepBench) Close() {
	if b.fed != nil {
		b.fed.close()
	}
	if b.trainer != nil {
		b.trainer.close()
	}
	if b.engine != nil {
		b.engine.Close()
	}
	if b.subject != nil {
		b.subject.close()
	}
}

// Quartiles of a set of times.
type Quartiles struct {
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
}

// QuartilesOf interpolates linearly between the sorted values, as NumPy's
// percentile does (Hyndman & Fan 1996, definition 7). values has at least one.
func QuartilesOf(values []float64) Quartiles {
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		whole, part := math.Modf(q * float64(len(sorted)-1))
		i := int(whole)
		return sorted[i] + part*(sorted[min(i+1, len(sorted)-1)]-sorted[i])
	}
	return Quartiles{at(0.25), at(0.5), at(0.75)}
}

// PeakRSS is the most memory in bytes that this process has had resident, as
// Linux counts it; 0 where the system does not say.
func PeakRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kibibytes, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kibibytes << 10
}
