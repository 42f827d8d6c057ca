package extractor

import "math"

// Resizings are how images reach the size that a network wants.
const (
	// ResizeClean is clean-fid's: Pillow's bicubic filter, widened when it
	// shrinks, on numbers that are not rounded to bytes, clipped to 0…255
	// (G. Parmar et al., "On aliased resizing", arXiv 2104.11222).
	ResizeClean = "clean"
	// ResizePyTorch is pytorch-fid's: bilinear interpolation between the nearest
	// four pixels whatever the ratio, torch's interpolate with align_corners off.
	ResizePyTorch = "pytorch"
)

// taps are the source pixels that one output pixel is a weighted sum of.
type taps struct {
	first   int
	weights []float64
}

// cleanTaps are Pillow's for BICUBIC (a = −½) in mode F.
func cleanTaps(in, out int) []taps {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := 2 * stretch
	all := make([]taps, out)
	for i := range all {
		centre := (float64(i) + 0.5) * scale
		first := max(int(centre-support+0.5), 0)
		last := min(int(centre+support+0.5), in)
		t := taps{first, make([]float64, last-first)}
		sum := 0.0
		for j := range t.weights {
			t.weights[j] = cubic((float64(j+first) - centre + 0.5) / stretch)
			sum += t.weights[j]
		}
		for j := range t.weights {
			t.weights[j] /= sum
		}
		all[i] = t
	}
	return all
}

// cubic is Keys' kernel with a = −½.
func cubic(x float64) float64 {
	const a = -0.5
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// pytorchTaps are those of interpolate(mode="bilinear", align_corners=False).
func pytorchTaps(in, out int) []taps {
	all := make([]taps, out)
	for i := range all {
		at := max(0, (float64(i)+0.5)*float64(in)/float64(out)-0.5)
		first := min(int(at), in-1)
		t := taps{first, []float64{1}}
		if part := at - float64(first); first+1 < in {
			t.weights = []float64{1 - part, part}
		}
		all[i] = t
	}
	return all
}

// resize brings a channel [h, w] to [H, W] with taps for rows and columns:
// along rows first, rounded to float32 in between as Pillow keeps it.
func resize(src []float32, h, w int, columns, rows []taps) []float32 {
	middle := make([]float32, h*len(columns))
	for y := range h {
		for x, t := range columns {
			sum := 0.0
			for j, weight := range t.weights {
				sum += weight * float64(src[y*w+t.first+j])
			}
			middle[y*len(columns)+x] = float32(sum)
		}
	}
	out := make([]float32, len(rows)*len(columns))
	for y, t := range rows {
		for x := range columns {
			sum := 0.0
			for j, weight := range t.weights {
				sum += weight * float64(middle[(t.first+j)*len(columns)+x])
			}
			out[y*len(columns)+x] = float32(sum)
		}
	}
	return out
}
