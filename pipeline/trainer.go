package pipeline

import (
	"fmt"

	"immiscible/models/engine"
	"immiscible/pipeline/optim"
)

// trainer holds what the loop uses.
type trainer struct {
	config  Config
	subject *subject
	state   *State
	step    *Stepper
	feed    *feeder
	lr      optim.LR
	ema     optim.EMA
	scaler  optim.LossScaler // of fp16
	gen     *Generator
	vae     *Autoencoder // nil where the model sees pixels
}

// newTrainer builds the sessions of a run. ahead asks the CPU, too, to fill the
// inputs of the next step while one runs.
func newTrainer(e *engine.Engine, c Config, s *subject, ahead bool) (*trainer, error) {
	options := s.graph(c)
	g, err := TrainingGraph(s.unet, s.schedule, options)
	if err != nil {
		return nil, err
	}
	if g, err = c.mixed(g, e.Provider, e.Kernels); err != nil {
		return nil, err
	}
	if g, err = drawMasks(g, e.Kernels, c.Train.Seed, s.unet.DropoutRate()); err != nil {
		return nil, err
	}
	t := &trainer{config: c, subject: s, ema: optim.DefaultEMA(), lr: c.lr(), scaler: optim.NewLossScaler()}
	t.ema.Decay = c.EMA.Decay
	if err := t.lr.Validate(); err != nil {
		return nil, err
	}
	weights, err := s.schedule.LossWeights(c.Train.SNRGamma)
	if err != nil {
		return nil, err
	}
	channels, _ := s.unet.Channels()
	t.feed = &feeder{config: c, schedule: s.schedule, lossWeights: weights, conditioned: s.unet.Conditioning() != "", channels: channels, dropout: s.unet.DropoutRate()}
	layout := newLayoutFor(e.Provider, g.Params(), options.Trained)
	if _, trained := layout.Count(); trained == 0 {
		return nil, fmt.Errorf("[train] parameters = %q matches no parameter of the model: want globs over its state-dict keys, such as \"*.attentions.*\"", c.Train.Parameters)
	}
	if t.state, err = NewState(e, layout, c.Train.MicroBatch < c.Train.BatchSize); err != nil {
		return nil, err
	}
	if t.step, err = newStepper(e, g, t.state, ahead || e.Provider != "cpu"); err != nil {
		t.close()
		return nil, err
	}
	options.Batch = c.gridBatch(s)
	if t.gen, err = NewGenerator(e, s.unet, s.schedule, t.state, t.state.EMA, options); err != nil {
		t.close()
		return nil, err
	}
	t.gen.ImageScale = c.Noise.Scale
	return t, nil
}

// openParts opens what a latent or text-conditioned model needs beside its
// U-Net: the VAE, whose latents it sees, and the text encoder. Both are frozen.
func (t *trainer) openParts(e *engine.Engine) (err error) {
	s, c := t.subject, t.config
	if s.latent() {
		if t.vae, err = newAutoencoder(e, s.source, c.Train.MicroBatch, c.Data.Resolution, c.Data.Resolution); err != nil {
			return err
		}
	}
	if s.text() {
		if s.source.Text == nil || s.source.Tokenizer == "" {
			return fmt.Errorf("%s: the U-Net takes encoder_hidden_states, and text_encoder or tokenizer is missing: copy the pipeline's folders there, and name them in model_index.json", c.Model.Path)
		}
		if t.feed.text, err = newTextEncoder(e, s.source, c.Train.MicroBatch); err != nil {
			return err
		}
	}
	return nil
}

func (t *trainer) close() {
	if t.vae != nil {
		t.vae.Close()
	}
	if t.feed != nil && t.feed.text != nil {
		t.feed.text.Close()
	}
	if t.gen != nil {
		t.gen.Close()
	}
	if t.step != nil {
		t.step.Close()
	}
	t.state.Close()
}

// begin fills the state: from a checkpoint, from the folder that the run starts
// from, or at random.
func (t *trainer) begin(from runStart) error {
	switch {
	case from.path != "":
		if from.state.LossScale > 0 {
			t.scaler = optim.LossScaler{Scale: from.state.LossScale, Growth: from.state.LossGrowth}
		}
		return readCheckpoint(from.path, t.state, t.config.EMA.Enabled)
	case t.subject.source != nil && t.config.Model.Init == "pretrained":
		if err := t.state.LoadParams(t.subject.source.Weights, t.state.Params, nil); err != nil {
			return err
		}
		return t.state.copyEMA()
	}
	return t.state.Draw(uint64(t.config.Train.Seed))
}

// lr is the [lr] table as a schedule.
func (c Config) lr() optim.LR {
	l := optim.DefaultLR(c.LR.Schedule, c.LR.LearningRate, c.LR.WarmupSteps, c.Train.MaxSteps)
	l.Power = c.LR.Power
	if c.LR.Schedule == "cosine_with_restarts" {
		l.NumCycles = float64(c.LR.NumCycles)
	}
	return l
}

// scalars are the optimizer graph's inputs for an update, counted from 1.
func (t *trainer) scalars(lr, norm float64, update int) map[string]float64 {
	o := t.config.Optimizer
	decay := 0.0 // the average is the parameters where it is not enabled
	if t.config.EMA.Enabled {
		decay = optim.EMADecay(t.ema, update)
	}
	return map[string]float64{
		"lr": lr, "beta1": o.Beta1, "beta2": o.Beta2, "eps": o.Eps, "weight_decay": o.WeightDecay,
		"bias_correction1": optim.BiasCorrection(o.Beta1, update), "bias_correction2": optim.BiasCorrection(o.Beta2, update),
		"clip_coef": optim.ClipCoef(norm, t.config.Train.MaxGradNorm) / t.lossScale(), "ema_decay": decay,
	}
}
