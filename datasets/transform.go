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
	out := newPicture(p.w, p.h, channels)
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

// canvas makes the example's pixels before flip and normalisation, from the
// record's image bytes: upright, channels, short side to size, crop, pad.
// The crop's place is drawn by position.
func (d *Dataset) canvas(data []byte, position int64) (*picture, error) {
	p, err := decode(data)
	if err != nil {
		return nil, err
	}
	if d.options.ExifTranspose {
		p = upright(p, orientation(data))
	}
	size := d.options.Resolution - 2*d.options.Pad
	w, h, err := shortSide(p.w, p.h, size)
	if err != nil {
		return nil, err
	}
	p = resize(convert(p, d.options.Channels), w, h, d.options.Filter)
	x, y := centre(w-size), centre(h-size)
	if d.options.Crop == CropRandom {
		draw := rng.New(d.options.Seed, "crop", uint64(position))
		x, y = draw.Intn(w-size+1), draw.Intn(h-size+1)
	}
	return crop(p, x, y, size, d.options.Pad), nil
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

// crop cuts a size×size square at (x, y) and puts pad black pixels around it.
func crop(p *picture, x, y, size, pad int) *picture {
	if pad == 0 && p.w == size && p.h == size {
		return p
	}
	out := newPicture(size+2*pad, size+2*pad, p.c)
	for row := range size {
		from := p.pix[((y+row)*p.w+x)*p.c:][:size*p.c]
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

// flipped draws whether the example at a position is mirrored: one half.
func (d *Dataset) flipped(position int64) bool {
	return d.options.Flip && rng.New(d.options.Seed, "flip", uint64(position)).Uint32()&1 == 1
}
