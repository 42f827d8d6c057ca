package main

import (
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"immiscible/pipeline"
)

// figuresPNG draws a panel for each figure of images, a line a model, and the
// data's own figure as a dashed one.
func figuresPNG(title, x string, at []float64, logX bool, names []string, figures [][]pipeline.ImageFigures, reference pipeline.AnalyzedSet, label func(x float64) string) ([]byte, error) {
	var panels []*plot.Plot
	for _, part := range imageFigureParts {
		var lines []plotLine
		for i, name := range names {
			l := plotLine{Name: name}
			for _, f := range figures[i] {
				l.Values = append(l.Values, part.Of(f))
			}
			lines = append(lines, l)
		}
		data := plotLine{Name: "the data itself", Dashed: true}
		for range at {
			data.Values = append(data.Values, part.Of(reference.ImageFigures))
		}
		p, err := linePanel(title+part.Text, x, "", at, logX, 0, append(lines, data))
		if err != nil {
			return nil, err
		}
		ticks := make(plot.ConstantTicks, len(at))
		for i, v := range at {
			ticks[i] = plot.Tick{Value: v, Label: label(v)}
		}
		p.X.Tick.Marker = ticks
		panels = append(panels, p)
	}
	return encodePanels(36*vg.Centimeter, 10*vg.Centimeter, panels)
}

// bijectivityPNG draws a line a model over W.
func bijectivityPNG(w []float64, lines []plotLine) ([]byte, error) {
	p, err := linePanel("images of one noise, perturbed", "W", "distance / distance of independent noises", w, true, 0, lines)
	if err != nil {
		return nil, err
	}
	p.Legend.Left = true
	return encodePanels(16*vg.Centimeter, 10*vg.Centimeter, []*plot.Plot{p})
}

// sweepPNG draws the figures by value, and, in grey, what independent noise
// would have.
func sweepPNG(key string, values []analyzeOptions, reports []*assignReport) ([]byte, error) {
	at, names := make([]float64, len(values)), make([]string, len(values))
	numbers := true
	for i, row := range values {
		names[i] = row.over
		x, err := strconv.ParseFloat(row.over, 64)
		at[i], numbers = x, numbers && err == nil
	}
	logX := numbers && slices.Min(at) > 0 && slices.Max(at) >= 8*slices.Min(at)
	if !numbers {
		for i := range at {
			at[i] = float64(i)
		}
	}
	pointer := func(p *float64) float64 {
		if p == nil {
			return 0
		}
		return *p
	}
	panels := []struct {
		title    string
		of, err  func(r *assignReport) float64
		gaussian func(r *assignReport) *float64 // nil: none is known
		origin   float64
	}{
		{"change of the mean distance, %", func(r *assignReport) float64 { return 100 * (r.DistanceAfter/r.DistanceBefore - 1) }, nil, zero, 0},
		{"E|n|²/D", func(r *assignReport) float64 { return r.NoiseSecondMoment }, func(r *assignReport) float64 { return r.StandardError.NoiseSecondMoment }, one, 1},
		{"align: along the residual, σ", func(r *assignReport) float64 { return r.AlongResidual }, func(r *assignReport) float64 { return r.StandardError.AlongResidual }, zero, 0},
		{"class read from the noise, share", func(r *assignReport) float64 { return pointer(r.ClassProbe) }, func(r *assignReport) float64 { return pointer(r.StandardError.ClassProbe) },
			func(r *assignReport) *float64 { return r.ClassChance }, 0},
		{"miscibility: distance of clusters", func(r *assignReport) float64 { return pointer(r.ClusterDistance) },
			func(r *assignReport) float64 { return pointer(r.StandardError.ClusterDistance) }, zero, 0},
		{"time of the choice, ms an image", func(r *assignReport) float64 { return r.PairMS.Median / float64(r.PoolSize) }, nil, nil, 0},
	}
	var drawn []*plot.Plot
	for _, p := range panels {
		lines := []plotLine{{Name: "chosen"}}
		for _, r := range reports {
			lines[0].Values = append(lines[0].Values, p.of(r))
			if p.err != nil {
				lines[0].Errors = append(lines[0].Errors, p.err(r))
			}
		}
		if p.gaussian != nil && p.gaussian(reports[0]) != nil {
			independent := plotLine{Name: "independent", Dashed: true}
			for _, r := range reports {
				independent.Values = append(independent.Values, *p.gaussian(r))
			}
			lines = append(lines, independent)
		}
		panel, err := linePanel(p.title, key, "", at, logX, p.origin, lines)
		if err != nil {
			return nil, err
		}
		ticks := make(plot.ConstantTicks, len(at))
		for i := range at {
			ticks[i] = plot.Tick{Value: at[i], Label: names[i]}
		}
		panel.X.Tick.Marker = ticks
		drawn = append(drawn, panel)
	}
	return encodePanels(36*vg.Centimeter, 20*vg.Centimeter, drawn[:3], drawn[3:])
}

func zero(*assignReport) *float64 { return new(float64) }

func one(*assignReport) *float64 {
	x := 1.0
	return &x
}
