package main

import (
	"bytes"
	"fmt"
	"image/color"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// lineColors are Okabe and Ito's, which the colour-blind can tell apart
// (https://jfly.uni-koeln.de/color/); lines beyond them come round again, dashed.
var lineColors = []color.RGBA{
	{0, 0, 0, 255}, {0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255},
	{204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255},
}

// plotLine is a line of a panel, with standard errors where there are some.
type plotLine struct {
	Name           string // in the legend; "": it has no place there
	Values, Errors []float64
	Dashed         bool // and grey: what the others are held against
}

// linePanel draws lines over the positions at. origin is a value that the y axis
// reaches down to.
func linePanel(title, x, y string, at []float64, logX bool, origin float64, lines []plotLine) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top = true
	p.Y.Tick.Marker = plot.TickerFunc(shortTicks)
	p.Add(plotter.NewGrid())
	if logX {
		p.X.Scale = plot.LogScale{}
		ticks := make(plot.ConstantTicks, len(at))
		for i, n := range at {
			ticks[i] = plot.Tick{Value: n, Label: fmt.Sprint(n)}
		}
		p.X.Tick.Marker = ticks
	}
	names := 0.
	for i, l := range lines {
		points := make(lawPoints, len(l.Values))
		for k, v := range l.Values {
			points[k] = [3]float64{at[k], v, 0}
			if l.Errors != nil {
				points[k][2] = l.Errors[k]
			}
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", title, err)
		}
		line.Color, line.Width = lineColors[i%len(lineColors)], vg.Points(1.5)
		if l.Dashed {
			line.Color = color.Gray{Y: 120}
		}
		if l.Dashed || i >= len(lineColors) {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		marks.Color, marks.Shape, marks.Radius = line.Color, draw.CircleGlyph{}, vg.Points(2)
		p.Add(line, marks)
		if l.Errors != nil {
			bars, err := plotter.NewYErrorBars(points)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", title, err)
			}
			bars.Color = line.Color
			p.Add(bars)
		}
		if l.Name != "" {
			p.Legend.Add(l.Name, line)
			names++
		}
	}
	p.Y.Max += 0.09 * names * (p.Y.Max - min(p.Y.Min, origin)) // room for the legend
	p.Y.Min = min(p.Y.Min, origin)
	return p, nil
}

// shortTicks are gonum's, with as few digits as their numbers have.
func shortTicks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = strconv.FormatFloat(t.Value, 'g', 4, 64)
		}
	}
	return ticks
}

// encodePanels draws rows of panels, as many in each, and returns the PNG. The
// size is that of all.
func encodePanels(width, height vg.Length, rows ...[]*plot.Plot) ([]byte, error) {
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(144))
	pad := vg.Millimeter * 4
	tiles := draw.Tiles{Rows: len(rows), Cols: len(rows[0]), PadX: vg.Centimeter, PadY: vg.Centimeter, PadTop: pad, PadBottom: pad, PadLeft: pad, PadRight: pad}
	for i, row := range plot.Align(rows, tiles, draw.New(canvas)) {
		for j, c := range row {
			rows[i][j].Draw(c)
		}
	}
	var file bytes.Buffer
	_, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&file)
	return file.Bytes(), err
}

// lawPoints are x, y and the standard error of y.
type lawPoints [][3]float64

func (p lawPoints) Len() int                        { return len(p) }
func (p lawPoints) XY(i int) (float64, float64)     { return p[i][0], p[i][1] }
func (p lawPoints) YError(i int) (float64, float64) { return p[i][2], p[i][2] }
