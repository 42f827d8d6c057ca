// Package pixels holds the arithmetic on pictures of 8 bits a channel that takes
// time, as Pillow and libjpeg do it, to the bit. It is a package of its own because it
// has assembly, which no package with cgo may have.
//
// Resampling goes over rows and over columns with weights in fixed point, and
// rounds to 8 bits after each of them (src/libImaging/Resample.c of python-pillow/Pillow).
package pixels

const half = int32(1 << (fraction - 1))

// Slack is how many bytes the capacity of a slice of pixels should have beyond its
// length: the fast loops read that far. Without it they leave rows to the slow ones.
const Slack = 16

// Rows resamples rows of src, stride bytes apart, into dst, [rows, len(t.First),
// channels]. The taps count from src's first pixel.
func Rows(dst, src []uint8, stride, channels, rows int, t Taps) {
	made := len(t.First) * channels
	done := 0
	if channels == 3 {
		done = rowsFast(dst, src, stride, rows, t)
	}
	for y := done; y < rows; y++ {
		rowGeneric(dst[y*made:(y+1)*made], src[y*stride:], channels, t)
	}
}

// Columns resamples the columns of src, whose rows are stride bytes, into dst,
// [len(t.First), stride]. The taps count from src's first row.
func Columns(dst, src []uint8, stride int, t Taps) {
	done := columnsFast(dst, src, stride, t)
	for y, first := range t.First {
		columnsGeneric(dst[y*stride+done:(y+1)*stride], src[int(first)*stride+done:], stride, t.Weights[y*t.Count:(y+1)*t.Count])
	}
}

func rowGeneric(dst, src []uint8, channels int, t Taps) {
	for i, first := range t.First {
		weights := t.Weights[i*t.Count : (i+1)*t.Count]
		for c := range channels {
			sum, at := half, int(first)*channels+c
			for _, w := range weights {
				sum += int32(src[at]) * w
				at += channels
			}
			dst[c] = clip(sum >> fraction)
		}
		dst = dst[channels:]
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
