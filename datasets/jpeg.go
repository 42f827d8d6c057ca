package datasets

import (
	"bytes"
	"errors"
	"image"
	stdjpeg "image/jpeg"

	"immiscible/datasets/jpeg"
	"immiscible/datasets/pixels"
)

// decodeInGo reads the usual JPEGs as libjpeg does, to the bit, and others (CMYK, RGB)
// with the standard library.
func decodeInGo(data []byte) (*picture, error) {
	decoded, err := jpeg.Decode(data)
	if errors.Is(err, jpeg.ErrUnsupported) {
		decoded, err = stdjpeg.Decode(bytes.NewReader(data))
	}
	if err != nil {
		return nil, err
	}
	return flatten(decoded)
}

// Decoders in Go leave a JPEG's chroma at its stored resolution. What Pillow, and so
// every model trained with it, sees has been through libjpeg's interpolation ("fancy upsampling", jdsample.c of libjpeg-turbo/libjpeg-turbo), a
// triangle filter: each output sample is ¾ the nearer input and ¼ the farther. The
// functions below follow it to the rounding.

// fromYCbCr converts a JPEG's planes.
func fromYCbCr(src *image.YCbCr) *picture {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	p := newPicture(w, h, 3)
	blues, reds, sums := make([]uint8, w), make([]uint8, w), make([]int32, w)
	for y := range h {
		chromaRow(blues, src, src.Cb, y, sums)
		chromaRow(reds, src, src.Cr, y, sums)
		pixels.ToRGB(p.pix[y*w*3:(y+1)*w*3], src.Y[y*src.YStride:][:w], blues, reds)
	}
	return p
}

// chromaRow returns row y of a chroma plane at the width of the image. sums has room
// for a row.
func chromaRow(out []uint8, src *image.YCbCr, plane []uint8, y int, sums []int32) {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	narrow, low := (w+1)/2, (h+1)/2 // size of the plane where it is halved
	row := func(y, n int) []uint8 { return plane[y*src.CStride:][:n] }
	// vertical blends a row with its neighbour above (upper output row) or below.
	vertical := func(n int) []int32 {
		at := y / 2
		beside := min(at+1, low-1)
		if y%2 == 0 {
			beside = max(at-1, 0)
		}
		sums, other := sums[:n], row(beside, n)
		for i, v := range row(at, n) {
			sums[i] = 3*int32(v) + int32(other[i])
		}
		return sums
	}
	switch ratio := src.SubsampleRatio; {
	case ratio == image.YCbCrSubsampleRatio444:
		copy(out, row(y, w))
	case ratio == image.YCbCrSubsampleRatio422 && narrow > 2:
		for i, v := range row(y, narrow) {
			sums[i] = int32(v)
		}
		widen(out, sums[:narrow], 1, 2, 2)
	case ratio == image.YCbCrSubsampleRatio420 && narrow > 2:
		widen(out, vertical(narrow), 8, 7, 4)
	case ratio == image.YCbCrSubsampleRatio440:
		for i, sum := range vertical(w) {
			out[i] = uint8((sum + 1 + int32(y%2)) >> 2)
		}
	default: // quartered, or tiny: each stored sample is repeated
		for x := range w {
			out[x] = plane[src.COffset(src.Rect.Min.X+x, src.Rect.Min.Y+y)]
		}
	}
}

// widen doubles a row: each output is 3·nearer + farther, with its rounding, of
// which shift bits are dropped. At the ends the nearer stands for both.
func widen(out []uint8, in []int32, roundLeft, roundRight int32, shift uint) {
	shift &= 31 // so that no loop asks whether it is larger
	last := in[0]
	out[0] = uint8((4*last + roundLeft) >> shift)
	pairs := out[1:]
	for _, next := range in[1:] { // what stands between two inputs
		if len(pairs) < 2 {
			break
		}
		pairs[0] = uint8((3*last + next + roundRight) >> shift)
		pairs[1] = uint8((3*next + last + roundLeft) >> shift)
		pairs, last = pairs[2:], next
	}
	if len(pairs) > 0 {
		out[len(out)-1] = uint8((4*last + roundRight) >> shift)
	}
}
