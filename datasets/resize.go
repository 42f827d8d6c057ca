package datasets

import "math"

// Values of Options.Filter, in Pillow's words.
const (
	FilterBilinear = "bilinear"
	FilterBicubic  = "bicubic"
	FilterLanczos  = "lanczos"
)

// kernel is a resampling filter and the distance beyond which it is 0.
type kernel struct {
	support float64
	at      func(x float64) float64
}

// kernels are those of Pillow (src/libImaging/Resample.c of
// python-pillow/Pillow): triangle, Keys' cubic with a = −½, Lanczos with three
// lobes. float64(…) around a product forbids fusing it with a sum, as in package rng.
var kernels = map[string]kernel{
	FilterBilinear: {1, func(x float64) float64 { return max(0, 1-math.Abs(x)) }},
	FilterBicubic: {2, func(x float64) float64 {
		const a = -0.5
		switch x = math.Abs(x); {
		case x < 1:
			return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
		case x < 2:
			return (float64((float64((x-5)*x)+8)*x) - 4) * a
		}
		return 0
	}},
	FilterLanczos: {3, func(x float64) float64 {
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

// taps are the source pixels that one output pixel is a weighted sum of.
type taps struct {
	first   int
	weights []int32 // with fraction bits
}

// tapsFor lays the kernel over the source for each of out pixels. When shrinking
// it is stretched by the ratio, which is what makes the result free of aliases.
func tapsFor(k kernel, in, out int) []taps {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := float64(k.support * stretch)
	all := make([]taps, out)
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
		all[i] = taps{first, make([]int32, len(weights))}
		for j, w := range weights {
			all[i].weights[j] = int32(math.Round(w / sum * (1 << fraction)))
		}
	}
	return all
}

// resize resamples to w×h as Pillow does: rows first, then columns, rounding to
// 8 bits after each; a side that keeps its length is not resampled.
func resize(p *picture, w, h int, filter string) *picture {
	k := kernels[filter]
	if w != p.w {
		p = resizeRows(p, tapsFor(k, p.w, w))
	}
	if h != p.h {
		p = resizeColumns(p, tapsFor(k, p.h, h))
	}
	return p
}

func resizeRows(p *picture, all []taps) *picture {
	out := newPicture(len(all), p.h, p.c)
	for y := range p.h {
		row := p.pix[y*p.w*p.c : (y+1)*p.w*p.c]
		for x, t := range all {
			for c := range p.c {
				sum := int32(1 << (fraction - 1))
				at := t.first*p.c + c
				for _, w := range t.weights {
					sum += int32(row[at]) * w
					at += p.c
				}
				out.pix[(y*out.w+x)*p.c+c] = clip(sum >> fraction)
			}
		}
	}
	return out
}

func resizeColumns(p *picture, all []taps) *picture {
	out := newPicture(p.w, len(all), p.c)
	stride := p.w * p.c
	sums := make([]int32, stride)
	for y, t := range all {
		for i := range sums {
			sums[i] = 1 << (fraction - 1)
		}
		for j, w := range t.weights {
			for i, v := range p.pix[(t.first+j)*stride : (t.first+j+1)*stride] {
				sums[i] += int32(v) * w
			}
		}
		for i, s := range sums {
			out.pix[y*stride+i] = clip(s >> fraction)
		}
	}
	return out
}
