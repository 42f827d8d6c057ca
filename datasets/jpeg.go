package datasets

import (
	"bytes"
	"errors"
	"image"
	stdjpeg "image/jpeg"

	"immiscible/datasets/jpeg"
	"immiscible/datasets/pixels"
)

// decodeInGo reads a part of the usual JPEGs as libjpeg does, to the bit, and the whole of
// others (CMYK, RGB) with the standard library.
func decodeInGo(data []byte, part window, r *room) (*picture, error) {
	decoded, err := jpeg.Decode(data, image.Rect(part.x, part.y, part.x+part.w, part.y+part.h), r.bytes)
	if errors.Is(err, jpeg.ErrUnsupported) {
		if decoded, err = stdjpeg.Decode(bytes.NewReader(data)); err != nil {
			return nil, err
		}
		return flatten(decoded)
	}
	if err != nil {
		return nil, err
	}
	if colours, ok := decoded.(*image.YCbCr); ok {
		return fromYCbCr(colours, part, r), nil
	}
	return flatten(decoded)
}

// fromYCbCr converts a part of a JPEG's planes. Decoders in Go leave chroma at its stored
// resolution; what Pillow, and so every model trained with it, sees has been through
// libjpeg's interpolation.
func fromYCbCr(src *image.YCbCr, part window, r *room) *picture {
	p := r.picture(part.w, part.h, 3)
	p.x, p.y = part.x, part.y
	c := chroma{YCbCr: src, from: part.x, to: part.x + part.w, sums: make([]uint16, part.w+8), wide: make([]uint8, 2*part.w+16)}
	blues, reds := make([]uint8, part.w), make([]uint8, part.w)
	for row := range part.h {
		y := part.y + row
		c.row(blues, src.Cb, y)
		c.row(reds, src.Cr, y)
		pixels.ToRGB(p.pix[row*part.w*3:(row+1)*part.w*3], src.Y[y*src.YStride+part.x:][:part.w], blues, reds)
	}
	return p
}

// chroma makes columns from … to−1 of the rows of chroma planes at the image's size, by
// libjpeg's "fancy upsampling" (jdsample.c of libjpeg-turbo/libjpeg-turbo), a triangle
// filter: each output sample is ¾ the nearer input and ¼ the farther, to the rounding.
type chroma struct {
	*image.YCbCr
	from, to int
	sums     []uint16 // room for a row of the plane
	wide     []uint8  // and for what it becomes
}

// row writes row y of a plane.
func (c *chroma) row(out, plane []uint8, y int) {
	w, h := c.Rect.Dx(), c.Rect.Dy()
	narrow, low := (w+1)/2, (h+1)/2 // size of the plane where it is halved
	// A row that is halved is blended with its neighbour above (upper output row) or below.
	near := y / 2
	far := min(near+1, low-1)
	if y%2 == 0 {
		far = max(near-1, 0)
	}
	row := func(y, from, to int) []uint8 { return plane[y*c.CStride+from : y*c.CStride+to] }
	// Columns of a halved plane, one more on each side where there is one.
	from, to := max(c.from/2-1, 0), min((c.to+1)/2+1, narrow)
	sums, wide := c.sums[:to-from+2], c.wide[:2*(to-from)]
	switch ratio := c.SubsampleRatio; {
	case ratio == image.YCbCrSubsampleRatio444:
		copy(out, row(y, c.from, c.to))
	case ratio == image.YCbCrSubsampleRatio422 && narrow > 2:
		for i, v := range row(y, from, to) {
			sums[1+i] = uint16(v)
		}
		pixels.Widen(wide, sums, 1, 2, 2)
		copy(out, wide[c.from-2*from:])
	case ratio == image.YCbCrSubsampleRatio420 && narrow > 2:
		pixels.Blend(sums[1:len(sums)-1], row(near, from, to), row(far, from, to))
		pixels.Widen(wide, sums, 8, 7, 4)
		copy(out, wide[c.from-2*from:])
	case ratio == image.YCbCrSubsampleRatio440:
		sums := c.sums[:c.to-c.from]
		pixels.Blend(sums, row(near, c.from, c.to), row(far, c.from, c.to))
		for i, sum := range sums {
			out[i] = uint8((sum + 1 + uint16(y%2)) >> 2)
		}
	default: // quartered, or tiny: each stored sample is repeated
		for i := range out {
			out[i] = plane[c.COffset(c.Rect.Min.X+c.from+i, c.Rect.Min.Y+y)]
		}
	}
}
