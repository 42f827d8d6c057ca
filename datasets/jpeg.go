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
	const half = 1 << 15
	w, h := src.Rect.Dx(), src.Rect.Dy()
	blues, reds := chroma(src, src.Cb), chroma(src, src.Cr)
	p := newPicture(w, h, 3)
	out := p.pix
	for y := range h {
		for x, luma := range src.Y[y*src.YStride:][:w] {
			l, cb, cr := int32(luma), int32(blues[y*w+x])-128, int32(reds[y*w+x])-128
			out[0] = clip(l + (91881*cr+half)>>16)
			out[1] = clip(l + (-22554*cb-46802*cr+half)>>16)
			out[2] = clip(l + (116130*cb+half)>>16)
			out = out[3:]
		}
	}
	return p
}

// chroma returns one chroma plane at the size of the image, [h, w].
func chroma(src *image.YCbCr, plane []uint8) []uint8 {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	out := make([]uint8, w*h)
	narrow, low := (w+1)/2, (h+1)/2 // size of the plane where it is halved
	row := func(y, n int) []uint8 { return plane[y*src.CStride:][:n] }
	// vertical blends a row with its neighbour above (upper output row) or below.
	vertical := func(y, n int) []int32 {
		at := y / 2
		beside := min(at+1, low-1)
		if y%2 == 0 {
			beside = max(at-1, 0)
		}
		sums := make([]int32, n)
		other := row(beside, n)
		for i, v := range row(at, n) {
			sums[i] = 3*int32(v) + int32(other[i])
		}
		return sums
	}
	switch ratio := src.SubsampleRatio; {
	case ratio == image.YCbCrSubsampleRatio422 && narrow > 2:
		sums := make([]int32, narrow)
		for y := range h {
			for i, v := range row(y, narrow) {
				sums[i] = int32(v)
			}
			widen(out[y*w:(y+1)*w], sums, 1, 2, 2)
		}
	case ratio == image.YCbCrSubsampleRatio420 && narrow > 2:
		for y := range h {
			widen(out[y*w:(y+1)*w], vertical(y, narrow), 8, 7, 4)
		}
	case ratio == image.YCbCrSubsampleRatio440:
		for y := range h {
			for i, sum := range vertical(y, w) {
				out[y*w+i] = uint8((sum + 1 + int32(y%2)) >> 2)
			}
		}
	default: // not halved, quartered, or tiny: each stored sample is repeated
		for y := range h {
			for x := range w {
				out[y*w+x] = plane[src.COffset(src.Rect.Min.X+x, src.Rect.Min.Y+y)]
			}
		}
	}
	return out
}

// widen doubles a row: each output is 3·nearer + farther, with its rounding, of
// which shift bits are dropped. At the ends the nearer stands for both.
func widen(out []uint8, in []int32, roundLeft, roundRight int32, shift uint) {
	for x := range out {
		i := x / 2
		if x%2 == 0 {
			out[x] = uint8((3*in[i] + in[max(i-1, 0)] + roundLeft) >> shift)
		} else {
			out[x] = uint8((3*in[i] + in[min(i+1, len(in)-1)] + roundRight) >> shift)
		}
	}
}
