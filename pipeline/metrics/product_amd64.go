package metrics

import "golang.org/x/sys/cpu"

var hasFMA = cpu.X86.HasAVX2 && cpu.X86.HasFMA

//go:noescape
func tileFMA(a, b *float64, k int, out *float64, stride int)

// tile is tileGeneric on vector registers.
func tile(a, b []float64, k int, out []float64, stride int) {
	if !hasFMA || k == 0 {
		tileGeneric(a, b, k, out, stride)
		return
	}
	tileFMA(&a[0], &b[0], k, &out[0], stride)
}
