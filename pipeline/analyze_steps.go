package pipeline

import (
	"context"
	"fmt"

	"immiscible/pipeline/sampler"
)

// StepsReport is what analyze steps says, and its JSON: the images of trained
// models by number of sampler steps, where the papers find the gain to be largest
// (arXiv 2406.12303, Fig. 5 and Table 4).
type StepsReport struct {
	Schema string `json:"schema"` // immiscible.analyze.steps/1
	AnalyzedSettings
	Steps  []int        `json:"steps"` // num_inference_steps
	Models []StepsModel `json:"models"`
}

// StepsModel are the figures of one model.
type StepsModel struct {
	AnalyzedModel
	Steps []ImageFigures `json:"steps"` // of the images, by number of steps
	// Shown [numbers of steps, shown images] are images [C, Side, Side].
	Shown          [][][]float32 `json:"-"`
	Channels, Side int           `json:"-"`
}

const stepsSchema = "immiscible.analyze.steps/1"

// AnalyzeSteps makes images of the same noises with each number of sampler
// steps; show is how many to keep for a picture.
func AnalyzeSteps(ctx context.Context, o AnalyzeOptions, steps []int, show int) (*StepsReport, error) {
	o.Steps = steps[0]
	a, err := openAnalyzerOf(ctx, o, true)
	if err != nil {
		return nil, err
	}
	defer a.close()
	r := &StepsReport{Schema: stepsSchema, Steps: steps}
	show = min(show, o.N)
	err = a.models(func(m *analyzedModel) error {
		if r.Models == nil {
			if r.AnalyzedSettings, err = a.settings(ctx, m); err != nil {
				return err
			}
		}
		one := StepsModel{AnalyzedModel: m.AnalyzedModel, Channels: a.config.Data.Channels, Side: a.config.Data.Resolution}
		for _, n := range steps {
			s, err := sampler.New(m.job.Sampler, m.job.schedule, n, 0)
			if err != nil {
				return err
			}
			images := m.noise()
			if err := a.walk(ctx, m, s, m.records, images, fmt.Sprintf("%s, %d steps", m.Name, n), nil); err != nil {
				return err
			}
			pixels, err := m.pixels(ctx, images)
			if err != nil {
				return err
			}
			f, err := a.figures(ctx, pixels, m.labels)
			if err != nil {
				return fmt.Errorf("%d steps: %w", n, err)
			}
			one.Steps, one.Shown = append(one.Steps, f), append(one.Shown, rowsOf(pixels[:show*a.dim()], show))
		}
		r.Models = append(r.Models, one)
		return nil
	})
	return r, err
}
