package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
)

// picture is a PNG of the report.
type picture struct {
	File, Title string
	Alt         string // what is drawn, for those who do not see it
	Data        []byte
}

// chart is a line an arm, with a band where there are half widths.
type chart struct {
	file, title string
	x, y        string // the axes' names
	at          []int  // x of each point
	logX, share bool   // share: y from 0 to 1, else logarithmic
	lines       []chartLine
}

type chartLine struct {
	arm           string
	values, halfs []runlog.Number
}

// comparisonPictures draws FID against training steps for each number of sampler
// steps, how often the classifier agrees where it was asked, and FID against
// sampler steps after the last training step.
func comparisonPictures(r *pipeline.Comparison) ([]picture, error) {
	var charts, classes []chart
	last := chart{file: "fid-last.png", title: fmt.Sprintf("FID after %d steps", r.Steps), x: "sampler steps", y: "FID", at: r.SamplerSteps, logX: true}
	for _, arm := range r.Arms {
		last.lines = append(last.lines, chartLine{arm: arm.Name})
	}
	for _, n := range r.SamplerSteps {
		title := countOf(n, "sampler step")
		fid := chart{file: fmt.Sprintf("fid-sampler-%d.png", n), title: "FID, " + title, x: "training steps", y: "FID", at: r.At}
		class := chart{file: fmt.Sprintf("class-sampler-%d.png", n), title: "class as asked for, " + title, x: "training steps", y: "share of samples", at: r.At, share: true}
		i := 0
		for _, c := range r.Curves {
			if c.SamplerSteps != n {
				continue
			}
			fid.lines = append(fid.lines, chartLine{c.Arm, c.FID, c.FIDHalf})
			if c.ClassAccuracy != nil {
				class.lines = append(class.lines, chartLine{c.Arm, c.ClassAccuracy, c.ClassAccuracyHalf})
			}
			end := len(r.At) - 1
			last.lines[i].values, last.lines[i].halfs = append(last.lines[i].values, c.FID[end]), append(last.lines[i].halfs, c.FIDHalf[end])
			i++
		}
		if charts = append(charts, fid); class.lines != nil {
			classes = append(classes, class)
		}
	}
	if len(r.SamplerSteps) > 1 {
		charts = append(charts, last)
	}
	charts = append(charts, classes...)
	var pictures []picture
	for _, c := range charts {
		data, err := c.png()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.file, err)
		}
		scale := " (logarithmic)"
		if c.share {
			scale = ""
		}
		pictures = append(pictures, picture{c.file, c.title, fmt.Sprintf("%s: %s%s against %s, a line an arm", c.title, c.y, scale, c.x), data})
	}
	return pictures, nil
}

// Size of a chart, such that its letters can be read at the width of a telephone.
const (
	chartWidth, chartHeight = 11 * vg.Centimeter, 7.2 * vg.Centimeter
	chartDPI                = 216
	legendRow               = 13 // points
)

func (c chart) png() ([]byte, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = c.x, c.y
	for _, f := range []*font.Font{&p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font} {
		f.Variant = "Sans"
	}
	p.X.Tick.Marker = marks(c.at)
	if c.logX {
		p.X.Scale = plot.LogScale{}
	}
	low, high := c.limits()
	p.Y.Tick.Marker = plot.DefaultTicks{}
	if !c.share {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logMarks(low, high)
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{225}, color.Gray{225}
	p.Add(grid)
	rows := (len(c.lines) + 1) / 2
	var legends [2]plot.Legend
	for k := range legends {
		legends[k] = plot.NewLegend()
		legends[k].Left, legends[k].Top, legends[k].YPosition = true, true, draw.PosCenter
		legends[k].TextStyle.Font.Variant, legends[k].TextStyle.Font.Size = "Sans", vg.Points(10)
		legends[k].ThumbnailWidth, legends[k].Padding = vg.Points(22), vg.Points(2)
	}
	for i, l := range c.lines { // below all lines
		_, band := c.points(l, low, high)
		if len(band) == 0 {
			continue
		}
		area, err := plotter.NewPolygon(band)
		if err != nil {
			return nil, err
		}
		tint := lineColors[i%len(lineColors)]
		area.Color, area.LineStyle.Width = color.NRGBA{tint.R, tint.G, tint.B, 28}, 0
		p.Add(area)
	}
	for i, l := range c.lines {
		points, _ := c.points(l, low, high)
		line, dots, err := plotter.NewLinePoints(points)
		if len(points) == 0 { // diverged before it was judged: only its name is shown
			line, dots, err = &plotter.Line{}, &plotter.Scatter{}, nil
		}
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = lineColors[i%len(lineColors)], vg.Points(1.8)
		if i >= len(lineColors) {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: line.Color, Shape: glyphs[i%len(glyphs)], Radius: vg.Points(3)}
		if len(points) > 0 {
			p.Add(line, dots)
		}
		legends[i/rows].Add(l.arm, line, dots)
	}
	p.X.Min, p.X.Max = float64(c.at[0]), float64(c.at[len(c.at)-1])
	if len(c.at) == 1 {
		p.X.Min, p.X.Max = p.X.Min*0.9, p.X.Max*1.1
	}
	p.Y.Min, p.Y.Max = low, high
	bottom := vg.Points(float64(legendRow*rows)) + vg.Points(10)
	canvas := vgimg.NewWith(vgimg.UseWH(chartWidth, chartHeight+bottom), vgimg.UseDPI(chartDPI))
	all := draw.New(canvas)
	p.Draw(draw.Crop(all, vg.Points(2), -vg.Points(14), bottom, -vg.Points(8)))
	for k, column := range legends {
		left := vg.Points(40) + vg.Length(k)*(chartWidth-vg.Points(40))/2
		column.Draw(draw.Crop(all, left, 0, 0, bottom-vg.Points(6)-all.Size().Y))
	}
	var file bytes.Buffer
	_, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&file)
	return file.Bytes(), err
}

// glyphs tell arms apart without colour.
var glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.RingGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}, draw.PyramidGlyph{}}

// limits are the ends of the y axis: room for every line, and for bands as far as
// half as much again, since a band of few seeds may be wider than all there is.
func (c chart) limits() (low, high float64) {
	if c.share {
		return 0, 1
	}
	low, high = math.Inf(1), 0
	for _, l := range c.lines {
		for _, v := range l.values {
			if x := float64(v); x > 0 && !math.IsInf(x, 0) {
				low, high = min(low, x), max(high, x)
			}
		}
	}
	if high == 0 {
		return 1, 10 // nothing was judged
	}
	floor, ceiling := low/1.5, high*1.5
	tight := [2]float64{low, high}
	for _, l := range c.lines {
		for k, v := range l.values {
			if h := float64(l.halfs[k]); !math.IsNaN(h) && !math.IsInf(float64(v), 0) {
				tight[0], tight[1] = min(tight[0], float64(v)-h), max(tight[1], float64(v)+h)
			}
		}
	}
	return max(floor, tight[0]/1.03), min(ceiling, tight[1]*1.03)
}

// points are a line's finite values and the outline of its band, kept within the
// axes.
func (c chart) points(l chartLine, low, high float64) (points, band plotter.XYs) {
	inside := func(y float64) float64 { return max(low, min(high, y)) }
	var under plotter.XYs
	for k, v := range l.values {
		x, y, half := float64(c.at[k]), float64(v), float64(l.halfs[k])
		if math.IsNaN(y) || math.IsInf(y, 0) {
			break
		}
		points = append(points, plotter.XY{X: x, Y: inside(y)})
		if !math.IsNaN(half) {
			band = append(band, plotter.XY{X: x, Y: inside(y + half)})
			under = append(under, plotter.XY{X: x, Y: inside(y - half)})
		}
	}
	for k := range under {
		band = append(band, under[len(under)-1-k])
	}
	return points, band
}

// marks are the judged values themselves, some without a number where they are
// many.
func marks(at []int) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	every := (len(at) + 5) / 6
	for i, n := range at {
		tick := plot.Tick{Value: float64(n)}
		if (len(at)-1-i)%every == 0 {
			tick.Label = fmt.Sprint(n)
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

// logMarks are round numbers between low and high, at least three if possible.
func logMarks(low, high float64) plot.ConstantTicks {
	for _, steps := range [][]float64{{1, 2, 5}, {1, 1.5, 2, 3, 5, 7}, {1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9}} {
		var ticks plot.ConstantTicks
		for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
			for _, s := range steps {
				if v := s * decade; v >= low && v <= high {
					ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.6g", v)})
				}
			}
		}
		if len(ticks) >= 3 {
			return ticks
		}
	}
	return plot.DefaultTicks{}.Ticks(low, high)
}
