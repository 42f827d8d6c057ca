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

// Taps are the source pixels that each pixel of a line is a weighted sum of: Count of
// them from First[i] on. Some weights are 0, so that all pixels have as many.
type Taps struct {
	Count   int
	First   []int32
	Weights []int32 // [len(First), Count], with fraction bits
}

// NewTaps lays a filter over in pixels for pixels from … to−1 of out. When shrinking it
// is stretched by the ratio, which is what makes the result free of aliases. extent is
// what the out pixels cover: in, less what a shrinking decoder rounded up.
func NewTaps(filter string, in int, extent float64, out, from, to int) Taps {
	k := kernels[filter]
	scale := extent / float64(out)
	stretch := max(scale, 1)
	support := float64(k.support * stretch)
	// No pixel has more than 2·support+1; a multiple of 4 is what machines like.
	t := Taps{Count: min((int(2*support)+1+3)&^3, in), First: make([]int32, to-from)}
	t.Weights = make([]int32, (to-from)*t.Count)
	weights := make([]float64, t.Count)
	for i := range t.First {
		centre := float64((float64(from+i) + 0.5) * scale)
		first := max(int(centre-support+0.5), 0)
		last := min(int(centre+support+0.5), in)
		sum := 0.0
		for j := first; j < last; j++ {
			w := k.at(float64((float64(j) - centre + 0.5) * (1 / stretch)))
			weights[j-first] = w
			sum += w
		}
		start := min(first, in-t.Count)
		t.First[i] = int32(start)
		fixed := t.Weights[i*t.Count+first-start:]
		for j, w := range weights[:last-first] {
			fixed[j] = int32(math.Round(w / sum * (1 << fraction)))
		}
	}
	return t
}

// Span is the source pixels that the taps reach: from … to−1. There is at least one.
func (t Taps) Span() (from, to int) {
	return int(t.First[0]), int(t.First[len(t.First)-1]) + t.Count
}
