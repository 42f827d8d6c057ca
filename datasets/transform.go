package datasets

import (
	"fmt"
	"math"

	"immiscible/datasets/pixels"
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
	p, v := record.pixels, view{}
	if p != nil {
		var err error
		if v, err = d.view(p.w, p.h, 1, position); err != nil {
			return nil, err
		}
	} else {
		image, err := look(record.image)
		if err != nil {
			return nil, err
		}
		w, h, turned := image.w, image.h, 1
		if o.ExifTranspose {
			turned = orientation(record.image)
		}
		if turned >= 5 {
			w, h = h, w
		}
		if v, err = d.view(w, h, mostShrink, position); err != nil {
			return nil, err
		}
		part := v.source
		if turned > 1 {
			part = window{0, 0, (image.w + v.shrink - 1) / v.shrink, (image.h + v.shrink - 1) / v.shrink}
		}
		if p, err = image.read(v.shrink, part, record.room); err != nil {
			return nil, err
		}
		p = upright(p, turned)
		if p.shrink != v.shrink { // not by this decoder
			if v, err = d.view(w, h, 1, position); err != nil {
				return nil, err
			}
		}
	}
	size := o.Resolution - 2*o.Pad
	return cut(v.of(convert(p, o.Channels)), window{0, 0, size, size}, o.Pad), nil
}

// view is the view that canvas has of an image of w×h pixels, upright. The decoder may
// divide the image's sides by most.
func (d *Dataset) view(w, h, most int, position int64) (view, error) {
	o := d.options
	size := o.Resolution - 2*o.Pad
	place := func(w, h, size int) (x, y int) {
		if o.Crop == CropRandom {
			draw := rng.New(o.Seed, "crop", uint64(position))
			x = draw.Intn(w - size + 1)
			return x, draw.Intn(h - size + 1)
		}
		return centre(w - size), centre(h - size)
	}
	if o.CropSize > 0 { // it counts the image's own pixels, of which none is shrunk
		if min(w, h) < o.CropSize {
			return view{}, fmt.Errorf("image of %d×%d is smaller than crop_size %d", w, h, o.CropSize)
		}
		x, y := place(w, h, o.CropSize)
		v := newView(o.CropSize, o.CropSize, 1, size, size, window{0, 0, size, size}, o.Filter)
		v.source.x, v.source.y = v.source.x+x, v.source.y+y
		return v, nil
	}
	width, height, err := shortSide(w, h, size)
	if err != nil {
		return view{}, err
	}
	shrink := most
	for shrink > 1 && min(w, h)/shrink/enough < size {
		shrink /= 2
	}
	x, y := place(width, height, size)
	return newView(w, h, shrink, width, height, window{x, y, size, size}, o.Filter), nil
}

// enough is how many times larger than the example an image read at a part of its
// size must still be.
const enough = 2

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
	out := p.like(part.w+2*pad, part.h+2*pad, p.c)
	if pad > 0 {
		clear(out.pix)
	}
	for row := range part.h {
		from := p.pix[((part.y+row)*p.w+part.x)*p.c:][:part.w*p.c]
		copy(out.pix[((pad+row)*out.w+pad)*p.c:], from)
	}
	return out
}

// write puts a canvas into dst as [C, H, W] in [−1, 1], mirrored left to right if flip.
func (p *picture) write(dst []float32, flip bool) {
	for y := range p.h {
		pixels.Unit(dst[y*p.w:], p.w*p.h, p.pix[y*p.w*p.c:(y+1)*p.w*p.c], p.c, flip)
	}
}

// flipped draws whether the example at a position is mirrored: one half.
func (d *Dataset) flipped(position int64) bool {
	return d.options.Flip && rng.New(d.options.Seed, "flip", uint64(position)).Uint32()&1 == 1
}
