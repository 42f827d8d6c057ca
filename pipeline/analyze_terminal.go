package pipeline

import (
	"context"
	"fmt"

	"immiscible/assign"
	"immiscible/datasets/rng"
	"immiscible/pipeline/analysis"
	"immiscible/pipeline/sampler"
)

// TerminalReport is what analyze terminal says, and its JSON: the models at the
// last timestep against the optimum of vanilla training (arXiv 2406.12303, §3;
// see analysis.Terminal).
type TerminalReport struct {
	Schema        string  `json:"schema"` // immiscible.analyze.terminal/1
	N             int     `json:"n"`      // noises
	Seed          uint64  `json:"seed"`
	Weights       string  `json:"weights"`
	Conditioned   bool    `json:"conditioned"`    // whether the mean image is that of the class
	Timestep      int     `json:"timestep"`       // the last, T − 1
	AlphasCumprod float64 `json:"alphas_cumprod"` // ᾱ there
	Data          string  `json:"data"`           // whose images the mean is of
	Images        int     `json:"images"`         // how many
	// Optimum is the exact optimum of vanilla training on these images: what an untouched model tends to.
	Optimum TerminalFigures `json:"optimum"`
	Models  []TerminalModel `json:"models"`
}

// TerminalFigures are analysis.Terminal's.
type TerminalFigures struct {
	Residual      float64       `json:"residual"`       // RMS of predicted noise − (a·mean + b·x_T), a number
	ImageResidual float64       `json:"image_residual"` // RMS of predicted image − mean, over that of an image − mean
	Response      float64       `json:"response"`       // how far the prediction follows the noise along the images' leading directions
	StandardError terminalError `json:"standard_error"`
}

type terminalError struct {
	Residual      float64 `json:"residual"`
	ImageResidual float64 `json:"image_residual"`
	Response      float64 `json:"response"`
}

// TerminalModel is one model.
type TerminalModel struct {
	AnalyzedModel
	TerminalFigures
	Shown [][]float32 `json:"-"` // its predicted images for the first noises
}

// TerminalPicture is what a picture of the report shows beside the models.
type TerminalPicture struct {
	Means, Optimum [][]float32 // of the first noises
	Channels, Side int
}

const terminalSchema = "immiscible.analyze.terminal/1"

// terminalDirections is the number of leading directions for Response.
const terminalDirections = 16

// AnalyzeTerminal gives each model pure noise as if it were x_T; show is the
// number of noises to keep for a picture. Steps and Sampler are of no account.
func AnalyzeTerminal(ctx context.Context, o AnalyzeOptions, show int) (*TerminalReport, *TerminalPicture, error) {
	o.Sampler, o.Steps = "ddim", 1
	a, err := openAnalyzerOf(ctx, o, false)
	if err != nil {
		return nil, nil, err
	}
	defer a.close()
	r := &TerminalReport{Schema: terminalSchema, N: o.N, Seed: o.Seed, Weights: o.Weights, Data: a.name(), Images: len(a.labels)}
	p := &TerminalPicture{Channels: a.config.Data.Channels, Side: a.config.Data.Resolution}
	show = min(show, o.N)
	err = a.models(func(m *analyzedModel) error {
		if m.job.model.VAE != nil {
			return fmt.Errorf("a model of latents: the mean latent is not computed, want a model of pixels")
		}
		one, err := a.terminal(ctx, m, r, p, show)
		if err == nil {
			r.Models = append(r.Models, *one)
		}
		return err
	})
	return r, p, err
}

// terminal measures one model, and before the first one the exact optimum.
func (a *analyzer) terminal(ctx context.Context, m *analyzedModel, r *TerminalReport, p *TerminalPicture, show int) (*TerminalModel, error) {
	g := m.parts.unet
	last := *g.Schedule
	last.TimestepSpacing = "trailing" // one step of it begins at T − 1
	s, err := sampler.DDIM(&last, 1, 0)
	if err != nil {
		return nil, err
	}
	t := int(s.Timesteps()[0])
	noise := m.noise()
	noisy, predicted := append([]float32(nil), noise...), make([]float32, len(noise))
	var failed error
	err = a.walk(ctx, m, s, m.records, noise, m.Name, func(first, _ int, samples, output []float32) {
		at := first * g.Dim()
		if err := denoised(g, s, 0, float64(t), predicted[at:at+len(samples)], samples, output); err != nil && failed == nil {
			failed = err
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	groups, imageGroups := m.labels, a.labels
	if groups == nil {
		imageGroups = nil
	}
	axes, err := a.axes(imageGroups)
	if err != nil {
		return nil, err
	}
	abar, n, dim := g.Schedule.AlphasCumprod[t], len(m.records), a.dim()
	measure := func(estimate []float32) (TerminalFigures, error) {
		f, err := analysis.MeasureTerminal(noisy, estimate, n, groups, a.images, len(a.labels), imageGroups, *axes, abar)
		return TerminalFigures{f.Residual.Value, f.ImageResidual.Value, f.Response.Value, terminalError{f.Residual.Error, f.ImageResidual.Error, f.Response.Error}}, err
	}
	if r.Models == nil {
		r.Timestep, r.AlphasCumprod, r.Conditioned = t, abar, groups != nil
		optimum, err := analysis.Posterior(noisy, n, groups, a.images, len(a.labels), dim, imageGroups, abar)
		if err != nil {
			return nil, err
		}
		if r.Optimum, err = measure(optimum); err != nil {
			return nil, err
		}
		p.Optimum = rowsOf(optimum[:show*dim], show)
		for i := range show {
			c := 0
			if groups != nil {
				c = int(groups[i])
			}
			p.Means = append(p.Means, axes.Means[c*dim:(c+1)*dim])
		}
	}
	out := &TerminalModel{AnalyzedModel: m.AnalyzedModel, Shown: rowsOf(predicted[:show*dim], show)}
	out.TerminalFigures, err = measure(predicted)
	return out, err
}

// axes are the means of the data's images by group, and their leading
// directions about these.
func (a *analyzer) axes(groups []int64) (*assign.Directions, error) {
	dim, n := a.dim(), len(a.labels)
	d := &assign.Directions{Dim: dim}
	var err error
	if d.Means, err = analysis.Means(a.images, n, dim, groups); err != nil {
		return nil, err
	}
	kept := min(n, 4000) // enough for the leading directions
	centred := make([]float32, kept*dim)
	for i := range kept {
		if err := d.Along(centred[i*dim:(i+1)*dim], a.images[i*dim:(i+1)*dim], a.labels[i]); err != nil {
			return nil, err
		}
	}
	return d, d.Whitening(centred, kept, min(terminalDirections, dim), rng.New(a.options.Seed, "analyze/axes", 0))
}
