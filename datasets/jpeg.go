package datasets

import "image"

// The standard library leaves a JPEG's chroma at its stored resolution. What
// Pillow, and so every model trained with it, sees has been through libjpeg's
// interpolation ("fancy upsampling", jdsample.c of libjpeg-turbo/libjpeg-turbo), a
// triangle filter: each output sample is ¾ the nearer input and ¼ the farther. The
// functions below follow it to the rounding; what is left between the two
// decoders is the rounding of the inverse DCT.

// fromYCbCr converts with JFIF's matrix in 16-bit fixed point, rounded as in
// libjpeg's jdcolor.c:
//
//	R = Y + 1.402·Cr   G = Y − 0.34414·Cb − 0.71414·Cr   B = Y + 1.772·Cb
func fromYCbCr(src *image.YCbCr) *picture {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	p := newPicture(w, h, 3)
	blues, reds, sums := make([]uint8, w), make([]uint8, w), make([]int32, w)
	for y := range h {
		chromaRow(blues, src, src.Cb, y, sums)
		chromaRow(reds, src, src.Cr, y, sums)
		toRGB(p.pix[y*w*3:(y+1)*w*3], src.Y[y*src.YStride:][:w], blues, reds)
	}
	return p
}

// toRGB converts a row of pixels.
func toRGB(out, lumas, blues, reds []uint8) {
	const half = 1 << 15
	blues, reds, out = blues[:len(lumas)], reds[:len(lumas)], out[:3*len(lumas)]
	for x, luma := range lumas {
		l, cb, cr := int32(luma), int32(blues[x])-128, int32(reds[x])-128
		rgb := out[3*x : 3*x+3 : 3*x+3]
		rgb[0] = clip(l + (91881*cr+half)>>16)
		rgb[1] = clip(l + (-22554*cb-46802*cr+half)>>16)
		rgb[2] = clip(l + (116130*cb+half)>>16)
	}
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
