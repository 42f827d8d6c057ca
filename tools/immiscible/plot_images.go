package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// imageGrid is a picture of small images with names at its rows and columns.
type imageGrid struct {
	Title   string
	Columns []string // nil: without names
	Rows    []imageRow
}

// imageRow is a row of images, one a column; nil leaves a place empty. Every
// image is [Channels, Side, Side] in [−1, 1]; one that goes far beyond is made
// paler until it fits.
type imageRow struct {
	Name           string
	Images         [][]float32
	Channels, Side int
	Gap            bool // some room above: the row begins another group
}

// Sizes of a grid's parts, in pixels.
const (
	gridCell   = 72
	gridGap    = 3
	gridBreak  = 14
	gridText   = 26  // height of a line
	gridLetter = 8.5 // width of a letter, generously
)

// encode draws the grid and returns the PNG.
func (g imageGrid) encode() ([]byte, error) {
	left := 0
	for _, r := range g.Rows {
		left = max(left, int(gridLetter*float64(len([]rune(r.Name))))+2*gridGap)
	}
	cell, columns := gridCell, len(g.Columns)
	for _, name := range g.Columns { // names fit their columns
		cell = max(cell, int(gridLetter*float64(len([]rune(name)))))
	}
	top := gridText + gridGap
	if g.Columns != nil {
		top += gridText
	}
	for _, r := range g.Rows {
		columns = max(columns, len(r.Images))
	}
	width := left + columns*(cell+gridGap) + gridGap
	width = max(width, int(1.2*gridLetter*float64(len([]rune(g.Title)))))
	height := top
	for _, r := range g.Rows {
		height += gridCell + gridGap
		if r.Gap {
			height += gridBreak
		}
	}
	const dpi = 72 // so that a pixel is a point
	canvas := vgimg.NewWith(vgimg.UseWH(vg.Length(width), vg.Length(height)), vgimg.UseDPI(dpi))
	c := draw.New(canvas)
	write := func(words string, size font.Length, x, y int, align text.XAlignment) {
		style := draw.TextStyle{Color: color.Black, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size),
			XAlign: align, YAlign: draw.YCenter, Handler: text.Plain{Fonts: font.DefaultCache}}
		c.FillText(style, vg.Point{X: vg.Length(x), Y: vg.Length(height - y)}, words)
	}
	write(g.Title, 15, gridGap, gridText/2, draw.XLeft)
	for j, name := range g.Columns {
		write(name, 13, left+j*(cell+gridGap)+cell/2, gridText+gridText/2, draw.XCenter)
	}
	y := top
	for _, r := range g.Rows {
		if r.Gap {
			y += gridBreak
		}
		write(r.Name, 13, left-2*gridGap, y+gridCell/2, draw.XRight)
		for j, values := range r.Images {
			if values == nil {
				continue
			}
			if len(values) != r.Channels*r.Side*r.Side {
				return nil, fmt.Errorf("%s: an image of %d numbers, want %d×%d×%d", g.Title, len(values), r.Channels, r.Side, r.Side)
			}
			x := left + j*(cell+gridGap) + (cell-gridCell)/2
			at := vg.Rectangle{Min: vg.Point{X: vg.Length(x), Y: vg.Length(height - y - gridCell)}, Max: vg.Point{X: vg.Length(x + gridCell), Y: vg.Length(height - y)}}
			c.DrawImage(at, enlarged(values, r.Channels, r.Side))
		}
		y += gridCell + gridGap
	}
	var file bytes.Buffer
	_, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&file)
	return file.Bytes(), err
}

// enlarged is an image at the size of a cell, each pixel the one below it: what
// is drawn is not smoothed. Of latents the first channel or three are shown.
func enlarged(values []float32, channels, side int) image.Image {
	sizes := make([]float64, len(values))
	for i, v := range values {
		sizes[i] = math.Abs(float64(v))
	}
	slices.Sort(sizes)
	unit := max(1, sizes[len(sizes)*99/100])
	out := image.NewNRGBA(image.Rect(0, 0, gridCell, gridCell))
	for y := range gridCell {
		for x := range gridCell {
			var rgb [3]uint8
			for c := range rgb {
				v := float64(values[(min(c, channels-1)*side+y*side/gridCell)*side+x*side/gridCell]) / unit
				rgb[c] = uint8(math.Round(255 * max(0, min(1, v/2+0.5))))
			}
			out.SetNRGBA(x, y, color.NRGBA{rgb[0], rgb[1], rgb[2], 255})
		}
	}
	return out
}
