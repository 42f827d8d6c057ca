package assign

import "golang.org/x/sys/cpu"

var (
	hasAVX512 = cpu.X86.HasAVX512F
	hasFMA    = cpu.X86.HasAVX2 && cpu.X86.HasFMA
)

//go:noescape
func tileAVX512(images, noise *float32, n int, out *float32, stride int, next *float32)

//go:noescape
func subtileAVX2(images, noise *float32, n int, out *float32, stride int)

//go:noescape
func transposeAVX2(dst, src *float32, dim, n int)

// packNoises is packGeneric, eight noises at a time.
func packNoises(dst, noise []float32, dim, cols, n int) {
	whole := n &^ 15
	if !hasFMA || cols < tileCols || whole == 0 {
		packGeneric(dst, noise, dim, cols, n)
		return
	}
	for j := 0; j < tileCols; j += 8 {
		transposeAVX2(&dst[j], &noise[j*dim], dim, whole)
	}
	if whole < n {
		packGeneric(dst[whole*tileCols:], noise[whole:], dim, cols, n-whole)
	}
}

// tile is tileGeneric on the widest registers there are.
func tile(images, noise []float32, n int, out []float32, stride int, next *float32) {
	switch {
	case hasAVX512:
		tileAVX512(&images[0], &noise[0], n, &out[0], stride, next)
	case hasFMA:
		tileAVX2(images, noise, n, out, stride)
	default:
		tileGeneric(images, noise, n, out, stride)
	}
}

// tileAVX2 is tileGeneric in quarters, for which 16 registers suffice.
func tileAVX2(images, noise []float32, n int, out []float32, stride int) {
	for j := 0; j < tileCols; j += 16 {
		for i := 0; i < tileRows; i += 6 {
			subtileAVX2(&images[i*depth], &noise[j], n, &out[i*stride+j], stride)
		}
	}
}
