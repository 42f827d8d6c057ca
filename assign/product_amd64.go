package assign

import "golang.org/x/sys/cpu"

var hasAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL

//go:noescape
func tileAVX512(x *float32, xs int, noise *float32, width int, out *float32, stride int)

//go:noescape
func subtileAVX2(x *float32, xs int, noise *float32, width int, out *float32, stride int)

// tile is tileGeneric on the widest registers there are.
func tile(x []float32, xs int, noise []float32, width int, out []float32, stride int) {
	switch {
	case hasAVX512:
		tileAVX512(&x[0], xs, &noise[0], width, &out[0], stride)
	case hasAVX2:
		tileAVX2(x, xs, noise, width, out, stride)
	default:
		tileGeneric(x, xs, noise, width, out, stride)
	}
}

// tileAVX2 is tileGeneric in quarters, for which 16 registers suffice.
func tileAVX2(x []float32, xs int, noise []float32, width int, out []float32, stride int) {
	for i := 0; i < tileRows; i += 3 {
		for j := 0; j < tileCols; j += 2 {
			subtileAVX2(&x[i*xs], xs, &noise[j*width], width, &out[i*stride+j], stride)
		}
	}
}
