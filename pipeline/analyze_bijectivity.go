package pipeline

import (
	"context"
	"fmt"
	"math"

	"immiscible/assign"
	"immiscible/pipeline/analysis"
)

// BijectivityReport is what analyze bijectivity says, and its JSON: how far
// images move when their noise does (arXiv 2505.18521, §4.1 and Fig. 3).
type BijectivityReport struct {
	Schema        string             `json:"schema"` // immiscible.analyze.bijectivity/1
	Sampler       string             `json:"sampler"`
	Steps         int                `json:"steps"` // num_inference_steps
	Seed          uint64             `json:"seed"`
	Weights       string             `json:"weights"`
	Originals     int                `json:"originals"`     // noises
	Perturbations int                `json:"perturbations"` // of each
	W             []float64          `json:"w"`             // how much of them, rising
	Models        []BijectivityModel `json:"models"`
}

// BijectivityModel is one model.
type BijectivityModel struct {
	AnalyzedModel
	// Distance is the mean Euclidean distance of two images of the same original with different perturbations, by
	// W, over Independent, that of two images of independent noises: 0: the same image; 1: nothing of the
	// original's is left.
	Distance      []float64 `json:"distance"`
	StandardError []float64 `json:"standard_error"` // over the originals
	Independent   float64   `json:"independent"`
	// Shown [len(W)+1, Perturbations] are the first original's images [C, Side, Side], those of independent noises last.
	Shown          [][][]float32 `json:"-"`
	Channels, Side int           `json:"-"`
}

const bijectivitySchema = "immiscible.analyze.bijectivity/1"

// AnalyzeBijectivity makes images of (N + W·P)/√(1 + W²) for o.N originals N,
// the given number of perturbations P, the same for every W and model, and each
// W; and of independent noises, which is W = ∞. The paper leaves the root out, so
// that noise is out of the sampler's law: by 4 % at its largest W, 0.3. An
// original's images are all of its class or prompt.
func AnalyzeBijectivity(ctx context.Context, o AnalyzeOptions, w []float64, perturbations int) (*BijectivityReport, error) {
	if perturbations < 2 {
		return nil, fmt.Errorf("%d perturbations, want at least 2", perturbations)
	}
	a, err := openAnalyzer(ctx, o)
	if err != nil {
		return nil, err
	}
	defer a.close()
	r := &BijectivityReport{Schema: bijectivitySchema, Steps: o.Steps, Seed: o.Seed, Weights: o.Weights, Originals: o.N, Perturbations: perturbations, W: w}
	err = a.models(func(m *analyzedModel) error {
		r.Sampler = m.job.Sampler
		one, err := a.bijectivity(ctx, m, w, perturbations)
		if err == nil {
			r.Models = append(r.Models, *one)
		}
		return err
	})
	return r, err
}

func (a *analyzer) bijectivity(ctx context.Context, m *analyzedModel, w []float64, perturbations int) (*BijectivityModel, error) {
	dim, n := m.parts.unet.Dim(), len(m.records)
	var records []ImageRecord
	for _, r := range m.records {
		for range perturbations {
			records = append(records, r)
		}
	}
	originals := m.noise()
	out := &BijectivityModel{AnalyzedModel: m.AnalyzedModel, Side: m.job.Height}
	var byW [][]float64 // mean distance of each original's images
	for _, part := range append(append([]float64(nil), w...), math.Inf(1)) {
		kept, fresh := 1/math.Hypot(1, part), part/math.Hypot(1, part)
		if math.IsInf(part, 1) {
			fresh = 1
		}
		noise := make([]float32, len(records)*dim)
		for i := range records {
			row, original := noise[i*dim:(i+1)*dim], originals[i/perturbations*dim:][:dim]
			m.records[i/perturbations].draw(fmt.Sprintf("bijectivity/%d", i%perturbations)).FillNormal(row)
			for k, p := range row {
				row[k] = float32(kept*float64(original[k]) + fresh*float64(p))
			}
		}
		if err := a.walk(ctx, m, m.job.sampler, records, noise, fmt.Sprintf("%s, W = %g", m.Name, part), nil); err != nil {
			return nil, err
		}
		pixels, err := m.pixels(ctx, noise)
		if err != nil {
			return nil, err
		}
		each := len(pixels) / n
		out.Channels = each / (perturbations * m.job.Height * m.job.Width)
		var distances []float64
		for i := range n {
			distances = append(distances, analysis.PairDistance(pixels[i*each:(i+1)*each], perturbations, each/perturbations))
		}
		byW = append(byW, distances)
		out.Shown = append(out.Shown, rowsOf(pixels[:each], perturbations))
	}
	independent := analysis.MeanOf(byW[len(w)])
	if !(independent.Value > 0) {
		return nil, fmt.Errorf("all images of independent noises are the same")
	}
	out.Independent = independent.Value
	for i := range w {
		e := ratioOf(byW[i], byW[len(w)])
		out.Distance, out.StandardError = append(out.Distance, e.Value), append(out.StandardError, e.Error)
	}
	return out, nil
}

// ratioOf is mean(x)/mean(y) of pairs, with its standard error to first order.
func ratioOf(x, y []float64) assign.Estimate {
	of, over := analysis.MeanOf(x), analysis.MeanOf(y)
	ratio := of.Value / over.Value
	rest := make([]float64, len(x))
	for i := range x {
		rest[i] = (x[i] - ratio*y[i]) / over.Value
	}
	return assign.Estimate{Value: ratio, Error: analysis.MeanOf(rest).Error}
}
