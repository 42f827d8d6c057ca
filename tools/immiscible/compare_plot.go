package main

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"immiscible/pipeline"
)

// armColors are Okabe and Ito's, which the colour-blind can tell apart
// (https://jfly.uni-koeln.de/color/); arms beyond them come round again, dashed.
var armColors = []color.RGBA{
	{0, 0, 0, 255}, {0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255},
	{204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255},
}

// picture is a PNG of the report.
type picture struct {
	File, Title string
	Data        []byte
}

// comparisonPictures draws FID against training steps, for each number of
// sampler steps, FID against sampler steps after the last one, and how often the
// classifier agrees, where it was asked.
func comparisonPictures(r *pipeline.Comparison) ([]picture, error) {
	var pictures []picture
	add := func(file, title, x, y string, ticks []int, logX bool, value func(c pipeline.CompareCurve) (values, errors []float64), curves []pipeline.CompareCurve) error {
		data, err := linesPNG(r, title, x, y, ticks, logX, value, curves)
		pictures = append(pictures, picture{file, title, data})
		return err
	}
	fid := func(c pipeline.CompareCurve) (values, errors []float64) { return c.FID, c.StandardError }
	accuracy := func(c pipeline.CompareCurve) (values, errors []float64) { return c.ClassAccuracy, nil }
	for _, n := range r.SamplerSteps {
		var of []pipeline.CompareCurve
		for _, c := range r.Curves {
			if c.SamplerSteps == n {
				of = append(of, c)
			}
		}
		title := fmt.Sprintf("%d sampler steps", n)
		if err := add(fmt.Sprintf("fid-sampler-%d.png", n), "FID, "+title, "training steps", "FID", r.At, false, fid, of); err != nil {
			return nil, err
		}
		if of[0].ClassAccuracy != nil {
			if err := add(fmt.Sprintf("class-sampler-%d.png", n), "class as asked for, "+title, "training steps", "share", r.At, false, accuracy, of); err != nil {
				return nil, err
			}
		}
	}
	if len(r.SamplerSteps) > 1 {
		last := len(r.At) - 1
		var of []pipeline.CompareCurve
		for _, arm := range r.Arms {
			all := pipeline.CompareCurve{Arm: arm.Name}
			for _, c := range r.Curves {
				if c.Arm != arm.Name {
					continue
				}
				all.FID = append(all.FID, c.FID[last])
				if c.StandardError != nil {
					all.StandardError = append(all.StandardError, c.StandardError[last])
				}
			}
			of = append(of, all)
		}
		if err := add("fid-last.png", fmt.Sprintf("FID after %d steps", r.Steps), "sampler steps", "FID", r.SamplerSteps, true, fid, of); err != nil {
			return nil, err
		}
	}
	return pictures, nil
}

// linesPNG draws a line an arm, with standard errors where there are some.
func linesPNG(r *pipeline.Comparison, title, x, y string, at []int, logX bool, value func(pipeline.CompareCurve) (values, errors []float64), curves []pipeline.CompareCurve) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top = y != "share" // FID falls, and shares rise
	p.Add(plotter.NewGrid())
	if logX {
		p.X.Scale = plot.LogScale{}
		ticks := make(plot.ConstantTicks, len(at))
		for i, n := range at {
			ticks[i] = plot.Tick{Value: float64(n), Label: fmt.Sprint(n)}
		}
		p.X.Tick.Marker = ticks
	}
	for i, c := range curves {
		values, errors := value(c)
		points := make(lawPoints, len(values))
		for k, v := range values {
			points[k] = [3]float64{float64(at[k]), v, 0}
			if errors != nil {
				points[k][2] = errors[k]
			}
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", title, err)
		}
		line.Color, line.Width = armColors[i%len(armColors)], vg.Points(1.5)
		if i >= len(armColors) {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		marks.Color, marks.Shape, marks.Radius = line.Color, draw.CircleGlyph{}, vg.Points(2)
		p.Add(line, marks)
		if errors != nil {
			bars, err := plotter.NewYErrorBars(points)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", title, err)
			}
			bars.Color = line.Color
			p.Add(bars)
		}
		p.Legend.Add(c.Arm, line)
	}
	if y == "share" {
		p.Y.Min, p.Y.Max = 0, 1
	}
	canvas := vgimg.NewWith(vgimg.UseWH(16*vg.Centimeter, 10*vg.Centimeter), vgimg.UseDPI(144))
	inner := draw.Crop(draw.New(canvas), vg.Millimeter*3, -vg.Millimeter*3, vg.Millimeter*3, -vg.Millimeter*3)
	p.Draw(inner)
	var file bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	return file.Bytes(), nil
}
