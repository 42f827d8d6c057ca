package main

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"immiscible/pipeline/whole"
)

// plotLaw draws a report beside what Gaussian noise would have: norms,
// components along x̂, variances along the leading directions. The PNG file is
// whole or not there.
func plotLaw(path string, r *assignReport) error {
	blue, red := color.RGBA{70, 120, 180, 255}, color.RGBA{190, 40, 40, 255}

	// |n| of a Gaussian is nearly N(√(D − ½), ½).
	norms, err := densityPanel("|n|, E|n|²/D = "+fmt.Sprintf("%.4f", r.NoiseSecondMoment), r.law.Norms, func(x float64) float64 {
		d := x - math.Sqrt(float64(r.Dim)-0.5)
		return math.Exp(-d*d) / math.Sqrt(math.Pi)
	}, blue, red)
	if err != nil {
		return err
	}
	along, err := densityPanel(fmt.Sprintf("n·x̂, mean %.3f", r.AlongX), r.law.Along, func(x float64) float64 {
		return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
	}, blue, red)
	if err != nil {
		return err
	}
	variances := plot.New()
	variances.Title.Text = fmt.Sprintf("variance along leading directions, shift %.4f", r.MeanShift)
	variances.Y.Min, variances.Y.Max = 0, max(1.2, 1.1*largestOf(r.LeadingVariance))
	variances.X.Min, variances.X.Max = 0.5, float64(len(r.LeadingVariance))+0.5
	points := make(lawPoints, len(r.LeadingVariance))
	for i, v := range r.LeadingVariance {
		points[i] = [3]float64{float64(i + 1), v, r.StandardError.LeadingVariance[i]}
	}
	one := plotter.NewFunction(func(float64) float64 { return 1 })
	one.Color = red
	marks, err := plotter.NewScatter(points)
	if err != nil {
		return fmt.Errorf("-plot: %w", err)
	}
	marks.Color, marks.Shape = blue, draw.CircleGlyph{}
	bars, err := plotter.NewYErrorBars(points)
	if err != nil {
		return fmt.Errorf("-plot: %w", err)
	}
	variances.Add(one, marks, bars)
	file, err := encodePanels(36*vg.Centimeter, 10*vg.Centimeter, []*plot.Plot{norms, along, variances})
	if err != nil {
		return fmt.Errorf("-plot: %w", err)
	}
	return whole.File(path, file)
}

// densityPanel is a histogram of values under the density that they should have.
func densityPanel(title string, values []float64, density func(float64) float64, bars, line color.Color) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	h, err := plotter.NewHist(plotter.Values(values), 60)
	if err != nil {
		return nil, fmt.Errorf("-plot: %w", err)
	}
	h.Normalize(1)
	h.FillColor, h.LineStyle.Width = bars, 0
	f := plotter.NewFunction(density)
	f.Color, f.Width, f.Samples = line, vg.Points(1.5), 400
	p.Add(h, f)
	p.Legend.Add("chosen", h)
	p.Legend.Add("Gaussian", f)
	p.Legend.Top = true
	return p, nil
}
