package pixels

import "golang.org/x/sys/cpu"

var (
	hasAVX2 = cpu.X86.HasAVX2
	hasFMA  = hasAVX2 && cpu.X86.HasFMA
)

// Weights have more bits than a product of 16-bit numbers takes: each is
// upper·2¹¹ + lower, and a sum of bytes times weights is that of two sums.
const lowerBits = 11

// pairs lays weights out for the loops below: for every four of them the upper parts
// of the first two in one number of 32 bits, those of the others, and so the lower.
func pairs(weights []int32) []int32 {
	all := make([]int32, len(weights)&^3)
	pair := func(a, b int32) int32 { return a&0xffff | b<<16 }
	for i := 0; i+4 <= len(weights); i += 4 {
		w := weights[i : i+4 : i+4]
		all[i] = pair(w[0]>>lowerBits, w[1]>>lowerBits)
		all[i+1] = pair(w[2]>>lowerBits, w[3]>>lowerBits)
		all[i+2] = pair(w[0]&(1<<lowerBits-1), w[1]&(1<<lowerBits-1))
		all[i+3] = pair(w[2]&(1<<lowerBits-1), w[3]&(1<<lowerBits-1))
	}
	return all
}

// rowsRGB makes n pixels of two rows: pixel i is the sum of quads·4 source pixels from
// pixel first[i] on, times weights. It reads four bytes beyond the last source pixel,
// and writes one beyond the last pixel.
//
//go:noescape
func rowsRGB(dst0, dst1, src0, src1 *uint8, first, weights *int32, n, quads int)

// columns makes n bytes, a positive multiple of 16: byte i is the sum of quads·4 bytes,
// stride bytes apart, times weights.
//
//go:noescape
func columns(dst, src *uint8, stride, n int, weights *int32, quads int)

// rowsFast is Rows for three channels, for as many rows as it returns.
func rowsFast(dst, src []uint8, stride, rows int, t Taps) int {
	n := len(t.First)
	if !hasAVX2 || t.Count%4 != 0 || n < 2 {
		return 0
	}
	_, end := t.Span()
	room := cap(src) - (3*end + 4) // what the last row must leave
	if room < 0 {
		return 0
	}
	if stride > 0 {
		rows = min(rows, room/stride+1)
	}
	src = src[:cap(src)]
	weights := pairs(t.Weights)
	for y := 0; y < rows; y += 2 {
		other := min(y+1, rows-1) // the last of an odd number is made twice
		a, b := dst[y*n*3:(y+1)*n*3], dst[other*n*3:(other+1)*n*3]
		// The last pixel is not for the loop, which writes beyond.
		rowsRGB(&a[0], &b[0], &src[y*stride], &src[other*stride], &t.First[0], &weights[0], n-1, t.Count/4)
		last := Taps{t.Count, t.First[n-1:], t.Weights[(n-1)*t.Count:]}
		rowGeneric(a[3*n-3:], src[y*stride:], 3, last)
		rowGeneric(b[3*n-3:], src[other*stride:], 3, last)
	}
	return rows
}

// columnsFast is Columns for as many bytes of each row as it returns.
func columnsFast(dst, src []uint8, stride int, t Taps) int {
	n := stride &^ 15
	if !hasAVX2 || n == 0 || t.Count == 0 || t.Count%4 != 0 {
		return 0
	}
	if _, end := t.Span(); (end-1)*stride+n > len(src) {
		return 0
	}
	weights := pairs(t.Weights)
	for y, first := range t.First {
		columns(&dst[y*stride], &src[int(first)*stride], stride, n, &weights[y*t.Count], t.Count/4)
	}
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

// blend makes n sums, a positive multiple of 16.
//
//go:noescape
func blend(sums *uint16, near, far *uint8, n int)

// blendFast is Blend for as many sums as it returns.
func blendFast(sums []uint16, near, far []uint8) int {
	n := len(sums) &^ 15
	if !hasAVX2 || n == 0 {
		return 0
	}
	blend(&sums[0], &near[0], &far[0], n)
	return n
}

// widen makes 2n bytes out of n+2 sums; n is a positive multiple of 16.
//
//go:noescape
func widen(out *uint8, sums *uint16, n int, roundLeft, roundRight uint16, shift uint)

// widenFast is Widen for as many sums as it returns.
func widenFast(out []uint8, sums []uint16, roundLeft, roundRight uint16, shift uint) int {
	n := (len(sums) - 2) &^ 15
	if !hasAVX2 || n == 0 {
		return 0
	}
	widen(&out[0], &sums[0], n, roundLeft, roundRight, shift)
	return n
}

// unitRGB makes n pixels, a positive multiple of 8, of each of three planes, plane
// numbers apart, out of pixels of three bytes: eight at a time, of which the bytes at
// src+low become the first four numbers and those at src+high the others, by the
// shuffles at masks; src then goes on by step. It reads four bytes beyond the pixels.
//
//go:noescape
func unitRGB(dst *float32, plane int, src *uint8, n, step, low, high int, masks *[48]uint8)

// The shuffles of unitRGB: of four pixels of three bytes, a colour of each at the start
// of a group of four bytes; in their order, and mirrored.
var masks, mirrored = func() (a, b [48]uint8) {
	for i := range a {
		a[i], b[i] = 0x80, 0x80 // nothing
		if colour, pixel := i/16, i%16/4; i%4 == 0 {
			a[i], b[i] = uint8(3*pixel+colour), uint8(3*(3-pixel)+colour)
		}
	}
	return a, b
}()

// unitFast is Unit for three channels, for as many pixels as it returns.
func unitFast(dst []float32, plane int, row []uint8, flip bool) int {
	n := len(row) / 3 &^ 7
	if cap(row) < 3*n+4 {
		n -= 8
	}
	if !hasFMA || n <= 0 || len(dst) < 2*plane+n {
		return 0
	}
	if flip {
		unitRGB(&dst[0], plane, &row[len(row)-24], n, -24, 12, 0, &mirrored)
	} else {
		unitRGB(&dst[0], plane, &row[0], n, 24, 0, 12, &masks)
	}
	return n
}
