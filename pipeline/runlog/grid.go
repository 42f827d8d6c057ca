package runlog

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"immiscible/pipeline/whole"
)

// gutter is the black space around each image of a grid, in pixels.
const gutter = 2

// EncodeGrid lays rows·cols images, row by row, on a black ground and returns
// them as a PNG. Each image is [C, H, W] in [−1, 1], C 1 (grey) or 3 (RGB);
// values beyond are clipped, and what is not a number is black. A pixel is
// round(255·(x/2 + ½)), as in diffusers' VaeImageProcessor.
func EncodeGrid(images [][]float32, rows, cols, C, H, W int) ([]byte, error) {
	if C != 1 && C != 3 || H < 1 || W < 1 || rows < 1 || cols < 1 || len(images) != rows*cols {
		return nil, fmt.Errorf("image grid: %d images of [%d, %d, %d] for %d rows of %d: want rows × columns of them, of 1 or 3 channels", len(images), C, H, W, rows, cols)
	}
	grid := image.NewNRGBA(image.Rect(0, 0, gutter+cols*(W+gutter), gutter+rows*(H+gutter)))
	for i := range grid.Pix {
		if i%4 == 3 {
			grid.Pix[i] = 255 // opaque
		}
	}
	for i, pixels := range images {
		if len(pixels) != C*H*W {
			return nil, fmt.Errorf("image grid: image %d has %d values: want %d for [%d, %d, %d]", i, len(pixels), C*H*W, C, H, W)
		}
		left, top := gutter+i%cols*(W+gutter), gutter+i/cols*(H+gutter)
		for y := range H {
			for x := range W {
				at := func(c int) uint8 { return pixel(pixels[min(c, C-1)*H*W+y*W+x]) }
				grid.SetNRGBA(left+x, top+y, color.NRGBA{at(0), at(1), at(2), 255})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, grid); err != nil {
		return nil, fmt.Errorf("image grid: %w", err)
	}
	return b.Bytes(), nil
}

// pixel maps [−1, 1] to 0…255, rounding to the nearest, halves up.
func pixel(x float32) uint8 {
	switch {
	case x >= 1:
		return 255
	case x > -1: // false for NaN
		return uint8((float64(x)/2+0.5)*255 + 0.5)
	}
	return 0
}

// WriteGrid writes EncodeGrid's PNG to path, whole or not at all, and returns it.
func WriteGrid(path string, images [][]float32, rows, cols, C, H, W int) ([]byte, error) {
	data, err := EncodeGrid(images, rows, cols, C, H, W)
	if err != nil {
		return nil, err
	}
	return data, whole.FileInCache(path, data)
}

// WriteImage writes one image [C, H, W] as a PNG of W by H pixels, grey or RGB,
// to path, whole or not at all, with text chunks. Values become pixels as in
// EncodeGrid.
func WriteImage(path string, values []float32, C, H, W int, texts ...Text) error {
	if C != 1 && C != 3 || len(values) != C*H*W {
		return fmt.Errorf("write %s: %d values of [%d, %d, %d]: want an image of 1 or 3 channels", path, len(values), C, H, W)
	}
	var picture image.Image
	if C == 1 {
		grey := image.NewGray(image.Rect(0, 0, W, H))
		for i, x := range values {
			grey.Pix[i] = pixel(x)
		}
		picture = grey
	} else {
		rgb := image.NewNRGBA(image.Rect(0, 0, W, H))
		for i := range H * W {
			for c := range 3 {
				rgb.Pix[4*i+c] = pixel(values[c*H*W+i])
			}
			rgb.Pix[4*i+3] = 255
		}
		picture = rgb
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return whole.FileInCache(path, withText(b.Bytes(), texts))
}
