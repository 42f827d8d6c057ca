package pipeline

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"immiscible/models"
	"immiscible/models/unet"
	"immiscible/pipeline/diffusion"
)

// subject is what a run trains: a configuration, a noise schedule and, where it
// starts from a folder, that folder's weights.
type subject struct {
	unet     unet.Config
	schedule *diffusion.Schedule
	source   *models.Model // nil: a new model from [model.unet]
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
		m, err := models.Open(c.Model.Path, "unet")
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
	if err != nil {
		s.close()
		return nil, err
	}
	return &s, nil
}

func (s *subject) close() {
	if s.source != nil {
		s.source.Close()
	}
}

// check compares the model's configuration with the data's.
func (s *subject) check(c Config) error {
	u := s.unet
	switch {
	case u.InChannels != c.Data.Channels:
		return fmt.Errorf("the model has in_channels %d, [data] channels is %d: want the same", u.InChannels, c.Data.Channels)
	case u.OutChannels != u.InChannels:
		return fmt.Errorf("the model has out_channels %d and in_channels %d: a learned variance cannot be trained", u.OutChannels, u.InChannels)
	case u.Conditioning() == "identity":
		return fmt.Errorf("class_embed_type \"identity\" takes embeddings, and a data set has labels: it can be exported, not trained")
	case u.Conditioning() != "" && c.Data.NumClasses == 0:
		return fmt.Errorf("the model is conditioned on classes, [data] num_classes is 0: want the number of classes")
	case u.Conditioning() == "" && c.Noise.PerClass:
		return fmt.Errorf("[noise] per_class = true, and the model is not conditioned on classes: want false")
	case u.Conditioning() == "embedding" && *u.NumClassEmbeds < c.Data.NumClasses+boolInt(c.Train.ConditioningDropout > 0):
		return fmt.Errorf("the model has num_class_embeds %d, [data] num_classes is %d (one more is needed for conditioning_dropout)", *u.NumClassEmbeds, c.Data.NumClasses)
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

// modelIndex is model_index.json of a pipeline that diffusers opens.
func modelIndex() ([]byte, error) {
	text, err := json.MarshalIndent(map[string]any{
		"_class_name": "DDPMPipeline", "_diffusers_version": "0.42.0",
		"scheduler": []string{"diffusers", "DDPMScheduler"},
		"unet":      []string{"diffusers", "UNet2DModel"},
	}, "", "  ")
	return append(text, '\n'), err
}

func boolInt(x bool) int {
	if x {
		return 1
	}
	return 0
}
