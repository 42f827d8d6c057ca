package pipeline

import (
	"fmt"
	"path"
	"strings"

	"immiscible/datasets"
	"immiscible/models"
	"immiscible/models/unet"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/sampler"
)

// subject is what a run trains: a configuration, a noise schedule and, where it
// starts from a folder, that folder's weights.
type subject struct {
	unet     unet.Net
	schedule *diffusion.Schedule
	source   *models.Model // nil: a new model from [model.unet]

	classNames []string // of the data, where captions are made of them
}

// openSubject resolves [model], [scheduler] and prediction_type.
func openSubject(c Config) (*subject, error) {
	var s subject
	scheduler := c.Scheduler.diffusers(c.Train.PredictionType)
	if c.Model.Path == "" {
		text, err := c.Model.UNetJSON()
		if err != nil {
			return nil, err
		}
		if s.unet, err = unet.ParseConfig("[model.unet]", text); err != nil {
			return nil, err
		}
	} else {
		m, err := openSource(c.Model.Path)
		if err != nil {
			return nil, err
		}
		s.source, s.unet = m, m.UNet
		if m.Scheduler != "" {
			if scheduler, err = diffusion.LoadConfig(m.Scheduler); err != nil {
				m.Close()
				return nil, err
			}
			if c.Model.Init == "pretrained" && scheduler.PredictionType != c.Train.PredictionType {
				m.Close()
				return nil, fmt.Errorf("%s: prediction_type is %q, [train] prediction_type is %q: pretrained weights predict the former; set it, or start with model.init=random",
					m.Scheduler, scheduler.PredictionType, c.Train.PredictionType)
			}
			scheduler.PredictionType = c.Train.PredictionType
		}
	}
	scheduler.ClipSampleRange *= c.Noise.Scale // the model's images are as much larger
	if s.source != nil {
		scheduler.ClipSampleRange /= imageScale(s.source.Weights.Metadata)
	}
	err := s.check(c)
	if err == nil {
		s.schedule, err = diffusion.New(scheduler)
	}
	if err == nil { // before the first step, rather than at the first grid
		_, err = sampler.New(c.Sample.Sampler, s.schedule, c.Sample.Steps, c.Sample.Eta)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return &s, nil
}

// warnings says where the noise schedule comes from, where that may surprise.
func (s *subject) warnings(c Config) []string {
	switch {
	case s.source == nil:
	case s.source.Scheduler == "":
		return []string{s.source.Dir + " has no scheduler_config.json: the noise schedule is that of [scheduler]"}
	case c.Scheduler != presetBase().Scheduler:
		return []string{s.source.Scheduler + " is the noise schedule, and the settings of [scheduler] are not used"}
	}
	return nil
}

// latent reports whether the model sees a VAE's latents.
func (s *subject) latent() bool { return s.source != nil && s.source.VAE != nil }

// text reports whether the model takes a text encoder's output.
func (s *subject) text() bool { return s.unet.CrossAttentionDim() > 0 }

// graph says for which shapes the model is built when it trains: an image's
// height and width are those that the model sees.
func (s *subject) graph(c Config) GraphOptions {
	o := GraphOptions{Batch: c.Train.MicroBatch, Height: c.Data.Resolution, Width: c.Data.Resolution,
		Dropout: true, InputPerturbation: c.Train.InputPerturbation > 0, Checkpointing: c.Train.GradientCheckpointing, Trained: s.trained(c)}
	if s.latent() {
		o.Height, o.Width = o.Height/s.source.VAE.Factor(), o.Width/s.source.VAE.Factor()
	}
	if s.source != nil && s.source.Text != nil {
		o.Tokens = s.source.Text.MaxPositionEmbeddings
	}
	return o
}

func (s *subject) close() {
	if s.source != nil {
		s.source.Close()
	}
}

// check compares the model's configuration with the data's.
func (s *subject) check(c Config) error {
	u := s.unet
	in, out := u.Channels()
	switch {
	case s.latent() && s.source.VAE.InChannels != c.Data.Channels:
		return fmt.Errorf("the VAE has in_channels %d, [data] channels is %d: want the same", s.source.VAE.InChannels, c.Data.Channels)
	case s.latent() && c.Data.Resolution%s.source.VAE.Factor() != 0:
		return fmt.Errorf("[data] resolution is %d, and a latent of the VAE stands for %d pixels: want a multiple", c.Data.Resolution, s.source.VAE.Factor())
	case !s.latent() && s.text() && in != c.Data.Channels:
		return fmt.Errorf("the U-Net has in_channels %d, [data] channels is %d, and %s has no VAE between them: copy the pipeline's vae folder there, and name it in model_index.json", in, c.Data.Channels, s.source.Dir)
	case !s.latent() && in != c.Data.Channels:
		return fmt.Errorf("the model has in_channels %d, [data] channels is %d: want the same", in, c.Data.Channels)
	case s.latent() && in != s.source.VAE.LatentChannels:
		return fmt.Errorf("the U-Net has in_channels %d, the VAE latent_channels %d: an in-painting or upscaling model cannot be trained", in, s.source.VAE.LatentChannels)
	case out != in:
		return fmt.Errorf("the model has out_channels %d and in_channels %d: a learned variance cannot be trained", out, in)
	case u.LabelDim() > 0:
		return fmt.Errorf("class_embed_type %q takes embeddings, and a data set has labels: it can be exported, not trained", u.Conditioning())
	case u.Conditioning() != "" && c.Data.NumClasses == 0:
		return fmt.Errorf("the model is conditioned on classes, [data] num_classes is 0: want the number of classes")
	case u.Conditioning() == "" && c.Noise.PerClass && !(s.text() && c.Data.Captions != datasets.CaptionsNone):
		return fmt.Errorf("[noise] per_class = true, and the model is not conditioned on classes: want false")
	case !s.text() && c.Data.Captions != datasets.CaptionsNone:
		return fmt.Errorf("[data] captions = %q, and the model takes no text: want %q", c.Data.Captions, datasets.CaptionsNone)
	case c.Train.ConditioningDropout > 0 && u.Conditioning() == "" && !s.text():
		return fmt.Errorf("[train] conditioning_dropout = %v, and the model is not conditioned: there is nothing to drop; want 0", c.Train.ConditioningDropout)
	case u.Conditioning() == "embedding" && u.ClassEmbeds() < c.Data.NumClasses+boolInt(c.Train.ConditioningDropout > 0):
		return fmt.Errorf("the model has num_class_embeds %d, [data] num_classes is %d (one more is needed for conditioning_dropout)", u.ClassEmbeds(), c.Data.NumClasses)
	}
	return nil
}

// trained reports whether the run trains a parameter.
func (s *subject) trained(c Config) func(key string) bool {
	return func(key string) bool {
		if !s.unet.Trained(key) {
			return false
		}
		for _, glob := range c.Train.Parameters {
			if matchKey(glob, key) {
				return true
			}
		}
		return false
	}
}

// matchKey matches a state-dict key with a glob in which * crosses dots.
func matchKey(glob, key string) bool {
	ok, err := path.Match(strings.ReplaceAll(glob, "/", "\x00"), strings.ReplaceAll(key, "/", "\x00"))
	return err == nil && ok
}

// diffusers gives the [scheduler] table as a scheduler_config.json.
func (c ConfigScheduler) diffusers(predictionType string) diffusion.Config {
	d := diffusion.DefaultConfig()
	d.NumTrainTimesteps, d.BetaStart, d.BetaEnd, d.BetaSchedule = c.NumTrainTimesteps, c.BetaStart, c.BetaEnd, c.BetaSchedule
	d.RescaleBetasZeroSNR, d.PredictionType = c.RescaleBetasZeroSNR, predictionType
	d.ClipSample, d.ClipSampleRange = c.ClipSample, c.ClipSampleRange
	d.TimestepSpacing, d.StepsOffset = c.TimestepSpacing, c.StepsOffset
	d.SetAlphaToOne, d.VarianceType = c.SetAlphaToOne, c.VarianceType
	return d
}

func boolInt(x bool) int {
	if x {
		return 1
	}
	return 0
}
