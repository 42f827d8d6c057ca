package datasets

import (
	"fmt"
	"math"

	"immiscible/datasets/rng"
)

// Values of Options.Crop.
const (
	CropCenter = "center"
	CropRandom = "random"
)

// convert gives a picture the wanted number of channels. Gray becomes RGB by
// repetition; RGB becomes gray by ITU-R 601-2 luma in Pillow's fixed point,
// L = (19595·R + 38470·G + 7471·B + 2¹⁵) / 2¹⁶.
func convert(p *picture, channels int) *picture {
	if p.c == channels {
		return p
	}
	out := p.like(p.w, p.h, channels)
	if channels == 1 {
		for i := range out.pix {
			r, g, b := uint32(p.pix[3*i]), uint32(p.pix[3*i+1]), uint32(p.pix[3*i+2])
			out.pix[i] = uint8((19595*r + 38470*g + 7471*b + 1<<15) >> 16)
		}
		return out
	}
	for i, v := range p.pix {
		out.pix[3*i], out.pix[3*i+1], out.pix[3*i+2] = v, v, v
	}
	return out
}

// canvas makes the example's pixels before flip and normalisation from a record:
// upright, channels, then either short side to size and crop, or, with CropSize, crop
// and resize; pad. The crop's place is drawn by position.
func (d *Dataset) canvas(record raw, position int64) (*picture, error) {
	o := d.options
	size := o.Resolution - 2*o.Pad
	least := size
	if o.CropSize > 0 {
		least = math.MaxInt // the crop counts the image's own pixels
	}
	p, err := record.picture(least)
	if err != nil {
		return nil, err
	}
	if o.ExifTranspose {
		p = upright(p, orientation(record.image))
	}
	p = convert(p, o.Channels)
	place := func(w, h, size int) (x, y int) {
		if o.Crop == CropRandom {
			draw := rng.New(o.Seed, "crop", uint64(position))
			x = draw.Intn(w - size + 1)
			return x, draw.Intn(h - size + 1)
		}
		return centre(w - size), centre(h - size)
	}
	if o.CropSize > 0 {
		if min(p.w, p.h) < o.CropSize {
			return nil, fmt.Errorf("image of %d×%d is smaller than crop_size %d", p.w, p.h, o.CropSize)
		}
		x, y := place(p.w, p.h, o.CropSize)
		p = resize(cut(p, window{x, y, o.CropSize, o.CropSize}, 0), size, size, o.Filter)
		return cut(p, window{0, 0, size, size}, o.Pad), nil
	}
	w, h := p.size()
	w, h, err = shortSide(w, h, size)
	if err != nil {
		return nil, err
	}
	x, y := place(w, h, size)
	p = resizeWindow(p, w, h, window{x, y, size, size}, o.Filter)
	return cut(p, window{0, 0, size, size}, o.Pad), nil
}

// shortSide returns the size whose shorter side is size, the longer one rounded
// down, as torchvision's Resize computes it.
func shortSide(w, h, size int) (int, int, error) {
	short, long := min(w, h), max(w, h)
	if long > short*1000 {
		return 0, 0, fmt.Errorf("image of %d×%d is too narrow to be cropped to a square", w, h)
	}
	long = size * long / short
	if w <= h {
		return size, long, nil
	}
	return long, size, nil
}

// centre is torchvision's CenterCrop offset: half the excess, halves to even.
func centre(excess int) int { return int(math.RoundToEven(float64(excess) / 2)) }

// cut copies a part of a picture and puts pad black pixels around it.
func cut(p *picture, part window, pad int) *picture {
	if pad == 0 && part == (window{0, 0, p.w, p.h}) {
		return p
	}
	out := newPicture(part.w+2*pad, part.h+2*pad, p.c)
	for row := range part.h {
		from := p.pix[((part.y+row)*p.w+part.x)*p.c:][:part.w*p.c]
		copy(out.pix[((pad+row)*out.w+pad)*p.c:], from)
	}
	return out
}

// unit maps a byte to [−1, 1] as v/127.5 − 1, so that 0 is exactly −1 and 255 exactly 1.
var unit = func() (table [256]float32) {
	for v := range table {
		table[v] = float32(float64(v)/127.5 - 1)
	}
	return table
}()

// write puts a canvas into dst as [C, H, W] in [−1, 1], mirrored left to right if flip.
func (p *picture) write(dst []float32, flip bool) {
	if p.c == 3 {
		p.writeRGB(dst, flip)
		return
	}
	for c := range p.c {
		for y := range p.h {
			row := dst[(c*p.h+y)*p.w:][:p.w]
			at, step := y*p.w*p.c+c, p.c
			if flip {
				at, step = at+(p.w-1)*p.c, -p.c
			}
			for x := range row {
				row[x] = unit[p.pix[at]]
				at += step
			}
		}
	}
}

// writeRGB is write for three channels, a pixel at a time.
func (p *picture) writeRGB(dst []float32, flip bool) {
	area := p.w * p.h
	for y := range p.h {
		at := y * p.w
		red, green, blue := dst[at:][:p.w], dst[area+at:][:p.w], dst[2*area+at:][:p.w]
		row := p.pix[3*at : 3*(at+p.w)]
		if flip {
			for x := p.w - 1; x >= 0; x-- {
				red[x], green[x], blue[x] = unit[row[0]], unit[row[1]], unit[row[2]]
				row = row[3:]
			}
			continue
		}
		for x := range red {
			red[x], green[x], blue[x] = unit[row[0]], unit[row[1]], unit[row[2]]
			row = row[3:]
		}
	}
}

// flipped draws whether the example at a position is mirrored: one half.
func (d *Dataset) flipped(position int64) bool {
	return d.options.Flip && rng.New(d.options.Seed, "flip", uint64(position)).Uint32()&1 == 1
}
