package pipeline

import (
	"context"
	"fmt"
	"slices"

	"immiscible/pipeline/sampler"
)

// LayersReport is what analyze layers says, and its JSON: what the models take
// the image to be on the way from noise to image (arXiv 2406.12303, Fig. 3; in
// 2505.18521, Fig. 8, as the FID of predicted images).
type LayersReport struct {
	Schema string `json:"schema"` // immiscible.analyze.layers/1
	AnalyzedSettings
	Steps     int           `json:"steps"`     // num_inference_steps S
	Layers    []int         `json:"layers"`    // τ, falling: S is pure noise, before the first step; 0 is the image after the last
	Timesteps []float64     `json:"timesteps"` // of the layers but 0
	Models    []LayersModel `json:"models"`
}

// LayersModel are the figures of one model.
type LayersModel struct {
	AnalyzedModel
	Layers []ImageFigures `json:"layers"` // of the predicted clean images, by layer; of layer 0 those of the images
	// Shown [layers but 0, 3, shown images, C, H, W] holds the noisy samples, predicted noises and predicted clean
	// images of the first records, and Images [shown images, C, H, W] what becomes of them; latents are decoded
	// but for the noises; nothing in Shown is cut off.
	Shown  [][3][][]float32 `json:"-"`
	Images [][]float32      `json:"-"`
	// Side is the height and width of the pictures in Shown and Images; NoiseSide that of the predicted noises.
	Channels, Side, NoiseChannels, NoiseSide int `json:"-"`
}

const layersSchema = "immiscible.analyze.layers/1"

// AnalyzeLayers walks from noise to images with each model and looks at the
// predicted clean image at the given layers τ, 1 … S, falling; show is the number
// of images to keep for a picture.
func AnalyzeLayers(ctx context.Context, o AnalyzeOptions, layers []int, show int) (*LayersReport, error) {
	a, err := openAnalyzerOf(ctx, o, true)
	if err != nil {
		return nil, err
	}
	defer a.close()
	r := &LayersReport{Schema: layersSchema, Steps: o.Steps, Layers: append(slices.Clone(layers), 0)}
	err = a.models(func(m *analyzedModel) error {
		if r.Models == nil {
			if r.AnalyzedSettings, err = a.settings(ctx, m); err != nil {
				return err
			}
			times := m.job.sampler.Timesteps()
			if len(times) != o.Steps {
				return fmt.Errorf("%s evaluates the model %d times in %d steps, and layers are counted in steps: take ddim", m.job.Sampler, len(times), o.Steps)
			}
			for _, layer := range layers {
				r.Timesteps = append(r.Timesteps, times[o.Steps-layer])
			}
		}
		one, err := a.layers(ctx, m, layers, min(show, o.N))
		if err == nil {
			r.Models = append(r.Models, *one)
		}
		return err
	})
	return r, err
}

// layers looks at one model.
func (a *analyzer) layers(ctx context.Context, m *analyzedModel, layers []int, show int) (*LayersModel, error) {
	g := m.parts.unet
	s, n, dim := m.job.sampler, len(m.records), g.Dim()
	samples, clean, noises := make([][]float32, len(layers)), make([][]float32, len(layers)), make([][]float32, len(layers))
	for i := range layers {
		samples[i], noises[i], clean[i] = make([]float32, show*dim), make([]float32, show*dim), make([]float32, n*dim)
	}
	times := s.Timesteps()
	var failed error
	images := m.noise()
	err := a.walk(ctx, m, s, m.records, images, m.Name, func(first, step int, noisy, output []float32) {
		at := slices.Index(layers, a.options.Steps-step)
		if at < 0 || failed != nil {
			return
		}
		predicted := clean[at][first*dim : first*dim+len(noisy)]
		if failed = denoised(g, s, step, times[step], predicted, noisy, output); failed != nil {
			return
		}
		if kept := min(len(noisy), (show-first)*dim); kept > 0 {
			t := int(times[step])
			copy(samples[at][first*dim:], noisy[:kept])
			signal, noise := g.Schedule.NoisyCoefficients(t)
			for k := range kept {
				noises[at][first*dim+k] = float32((float64(noisy[k]) - signal*g.ImageScale*float64(predicted[k])) / noise)
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	out := &LayersModel{AnalyzedModel: m.AnalyzedModel, Channels: a.config.Data.Channels, Side: a.config.Data.Resolution}
	out.NoiseChannels, _ = g.Config.Channels()
	out.NoiseSide = g.Height
	for i := range layers {
		pixels, err := m.parts.decode(ctx, clean[i])
		if err != nil {
			return nil, err
		}
		shown := rowsOf(slices.Clone(pixels[:show*a.dim()]), show)
		clipPixels(pixels)
		f, err := a.figures(ctx, pixels, m.labels)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", layers[i], err)
		}
		out.Layers = append(out.Layers, f)
		noisy, err := m.parts.decode(ctx, samples[i])
		if err != nil {
			return nil, err
		}
		out.Shown = append(out.Shown, [3][][]float32{rowsOf(noisy, show), rowsOf(noises[i], show), shown})
	}
	pixels, err := m.pixels(ctx, images)
	if err != nil {
		return nil, err
	}
	f, err := a.figures(ctx, pixels, m.labels)
	out.Layers, out.Images = append(out.Layers, f), rowsOf(pixels[:show*a.dim()], show)
	return out, err
}

// denoised is the model's estimate of images at a step, in the scale that
// images have outside of the model.
func denoised(g *Generator, s *sampler.Sampler, step int, t float64, dst, noisy, output []float32) error {
	if t != float64(int(t)) || s.InputScale(step) != 1 {
		return fmt.Errorf("timestep %g of this sampler is between the schedule's: take ddim", t)
	}
	if err := g.Schedule.Denoised(dst, int(t), noisy, output); err != nil {
		return err
	}
	scale(dst, 1/g.ImageScale)
	return nil
}

// rowsOf cuts n rows.
func rowsOf(x []float32, n int) [][]float32 {
	dim := len(x) / n
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = x[i*dim : (i+1)*dim]
	}
	return rows
}
