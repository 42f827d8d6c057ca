// Package pixels holds the arithmetic on pictures of 8 bits a channel that takes
// time, as Pillow and libjpeg do it, to the bit. It is a package of its own because it
// has assembly, which no package with cgo may have.
//
// Resampling goes over rows first, then columns, with weights in fixed point, and
// rounds to 8 bits after each (src/libImaging/Resample.c of python-pillow/Pillow).
package pixels

import "math"

// Filters, in Pillow's words.
const (
	Bilinear = "bilinear"
	Bicubic  = "bicubic"
	Lanczos  = "lanczos"
)

// kernel is a resampling filter and the distance beyond which it is 0.
type kernel struct {
	support float64
	at      func(x float64) float64
}

// kernels: triangle, Keys' cubic with a = −½, Lanczos with three lobes. float64(…)
// around a product forbids fusing it with a sum, as in package rng.
var kernels = map[string]kernel{
	Bilinear: {1, func(x float64) float64 { return max(0, 1-math.Abs(x)) }},
	Bicubic: {2, func(x float64) float64 {
		const a = -0.5
		switch x = math.Abs(x); {
		case x < 1:
			return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
		case x < 2:
			return (float64((float64((x-5)*x)+8)*x) - 4) * a
		}
		return 0
	}},
	Lanczos: {3, func(x float64) float64 {
		if x < -3 || x >= 3 {
			return 0
		}
		return float64(sinc(x) * sinc(x/3))
	}},
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x = float64(x * math.Pi)
	return math.Sin(x) / x
}

// fraction is the number of fractional bits of a weight: 32 less 8 for the pixel
// and 2 for overshoot, as in Pillow.
const fraction = 22

const half = int32(1 << (fraction - 1))

// Taps are the source pixels that one output pixel is a weighted sum of.
type Taps struct {
	First   int
	Weights []int32 // with fraction bits
}

// NewTaps lays a filter over in pixels for each of out. When shrinking it is
// stretched by the ratio, which is what makes the result free of aliases. extent is
// what the out pixels cover: in, less what a shrinking decoder rounded up.
func NewTaps(filter string, in int, extent float64, out int) []Taps {
	k := kernels[filter]
	scale := extent / float64(out)
	stretch := max(scale, 1)
	support := float64(k.support * stretch)
	all := make([]Taps, out)
	for i := range all {
		centre := float64((float64(i) + 0.5) * scale)
		first := max(int(centre-support+0.5), 0)
		last := min(int(centre+support+0.5), in)
		weights := make([]float64, last-first)
		sum := 0.0
		for j := range weights {
			weights[j] = k.at(float64((float64(j+first) - centre + 0.5) * (1 / stretch)))
			sum += weights[j]
		}
		all[i] = Taps{first, make([]int32, len(weights))}
		for j, w := range weights {
			all[i].Weights[j] = int32(math.Round(w / sum * (1 << fraction)))
		}
	}
	return all
}

// Rows resamples each row of src, [height, width, channels], into dst,
// [height, len(all), channels].
func Rows(dst, src []uint8, width, channels int, all []Taps) {
	stride := width * channels
	if stride == 0 {
		return
	}
	if channels == 3 {
		rowsRGB(dst, src, stride, all)
		return
	}
	rowsGeneric(dst, src, stride, channels, all)
}

// Columns resamples each column of src, [height, stride], into dst, [len(all), stride].
func Columns(dst, src []uint8, stride int, all []Taps) {
	for y, t := range all {
		done := columnsFast(dst[y*stride:(y+1)*stride], src[t.First*stride:], stride, t.Weights)
		columnsGeneric(dst[y*stride+done:(y+1)*stride], src[t.First*stride+done:], stride, t.Weights)
	}
}

func rowsGeneric(dst, src []uint8, stride, channels int, all []Taps) {
	for len(src) >= stride {
		row := src[:stride]
		src = src[stride:]
		for _, t := range all {
			for c := range channels {
				sum, at := half, t.First*channels+c
				for _, w := range t.Weights {
					sum += int32(row[at]) * w
					at += channels
				}
				dst[c] = clip(sum >> fraction)
			}
			dst = dst[channels:]
		}
	}
}

// columnsGeneric makes one row: the weighted sum of as many rows as there are weights.
func columnsGeneric(dst, src []uint8, stride int, weights []int32) {
	for i := range dst {
		sum, at := half, i
		for _, w := range weights {
			sum += int32(src[at]) * w
			at += stride
		}
		dst[i] = clip(sum >> fraction)
	}
}

// clip limits v to 0 … 255.
func clip(v int32) uint8 { return uint8(min(max(v, 0), 255)) }
