package pixels

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// rowRGB makes n pixels of a row: pixel i is the sum of pairs·2 source pixels from
// byte offsets[i] on, times weights, of which each stands four times. It reads two
// bytes beyond the last source pixel, and writes one beyond the last pixel.
//
//go:noescape
func rowRGB(dst, src *uint8, offsets, weights *int32, n, pairs int)

// columns makes n bytes, a positive multiple of 8: byte i is the sum of as many
// bytes as there are weights, stride bytes apart.
//
//go:noescape
func columns(dst, src *uint8, stride, n int, weights *int32, taps int)

// rowsRGB is rowsGeneric for three channels, two source pixels at a time.
func rowsRGB(dst, src []uint8, stride int, all []Taps) {
	pairs := 0
	for _, t := range all {
		pairs = max(pairs, (len(t.Weights)+1)/2)
	}
	if !hasAVX2 || pairs == 0 {
		rowsGeneric(dst, src, stride, 3, all)
		return
	}
	offsets, weights := make([]int32, len(all)), make([]int32, len(all)*pairs*8)
	reach := 0 // bytes that a row's pixels read
	for i, t := range all {
		offsets[i] = int32(3 * t.First)
		reach = max(reach, 3*t.First+6*pairs+2)
		for j, w := range t.Weights {
			for c := range 4 {
				weights[(i*pairs*2+j)*4+c] = w
			}
		}
	}
	made := 3 * len(all)
	for len(src) >= stride && len(src) >= reach && len(dst) > made {
		rowRGB(&dst[0], &src[0], &offsets[0], &weights[0], len(all), pairs)
		src, dst = src[stride:], dst[made:]
	}
	rowsGeneric(dst, src, stride, 3, all) // the last rows, beyond which nothing may be read
}

// columnsFast is columnsGeneric for as many bytes as it returns.
func columnsFast(dst, src []uint8, stride int, weights []int32) int {
	n := len(dst) &^ 7
	if !hasAVX2 || n == 0 || len(weights) == 0 || (len(weights)-1)*stride+n > len(src) {
		return 0
	}
	columns(&dst[0], &src[0], stride, n, &weights[0], len(weights))
	return n
}

// toRGB converts n pixels, a positive multiple of 8. It writes four bytes beyond the
// last pixel.
//
//go:noescape
func toRGB(dst, y, cb, cr *uint8, n int)

// toRGBFast is toRGBGeneric for as many pixels as it returns.
func toRGBFast(dst, y, cb, cr []uint8) int {
	n := (len(dst) - 4) / 3 &^ 7
	if !hasAVX2 || n <= 0 {
		return 0
	}
	toRGB(&dst[0], &y[0], &cb[0], &cr[0], n)
	return n
}
