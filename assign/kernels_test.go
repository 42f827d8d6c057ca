package assign

import (
	"math"
	"slices"
	"testing"

	"immiscible/assign/assigntest"
)

// TestKernels holds the loops that this machine runs against the generic ones, bit for bit: every length around
// the vector width, ties, zeros of both signs, columns already passed (v = −Inf, d = +Inf).
func TestKernels(t *testing.T) {
	src := assigntest.NewSource(31)
	for n := 1; n <= 150; n++ {
		for _, levels := range []uint64{2, 5, 1 << 20} {
			c, v, d := make([]float32, n), make([]float32, n), make([]float32, n)
			pred := make([]int32, n)
			for j := range n {
				c[j] = float32(src.Uint64()%levels) - float32(levels)/2
				v[j] = float32(src.Uint64()%levels) * float32(math.Copysign(1, src.Float64()-0.5))
				d[j] = float32(src.Uint64()%levels) - float32(levels)/3
				pred[j] = int32(src.Uint64() % 1000)
				if src.Uint64()%9 == 0 {
					v[j], d[j] = -inf, inf
				}
			}
			if got, want := largest(c), largestGeneric(c); got != want {
				t.Fatalf("n = %d: largest %x, generic %x", n, got, want)
			}
			u1, u2 := min2(c, v)
			if w1, w2 := min2Generic(c, v); u1 != w1 || u2 != w2 {
				t.Fatalf("n = %d: min2 %v %v, generic %v %v", n, u1, u2, w1, w2)
			}
			finite := slices.Clone(v)
			for j := range finite {
				finite[j] = max(finite[j], -1000)
			}
			for name, kernel := range argmin2Kernels() {
				j1, j2, u1, u2 := kernel(c, finite)
				if w1, w2, x1, x2 := argmin2Generic(c, finite); j1 != w1 || j2 != w2 || u1 != x1 || u2 != x2 {
					t.Fatalf("n = %d: %s %d %d %v %v, generic %d %d %v %v", n, name, j1, j2, u1, u2, w1, w2, x1, x2)
				}
			}
			for from := 0; from <= n; from++ {
				for _, threshold := range []float32{u1, u2, u1 - 1, c[n/2] - v[n/2]} {
					if got, want := first(c, v, threshold, from), firstGeneric(c, v, threshold, from); got != want {
						t.Fatalf("n = %d: first ≤ %v from %d is %d, generic %d", n, threshold, from, got, want)
					}
				}
			}
			if got, want := minDiff(c, v), minDiffGeneric(c, v); got != want {
				t.Fatalf("n = %d: minDiff %v, generic %v", n, got, want)
			}
			sum := slices.Clone(d)
			accumulateGeneric(sum, c, c[0], 0.125)
			for name, kernel := range accumulateKernels() {
				got := slices.Clone(d)
				if kernel(got, c, c[0], 0.125); !slices.Equal(got, sum) {
					t.Fatalf("n = %d: %s accumulate %v, generic %v", n, name, got, sum)
				}
			}
			h := float32(src.Normal())
			d2, pred2 := slices.Clone(d), slices.Clone(pred)
			want := relaxGeneric(d2, pred2, c, v, h, 7)
			for name, kernel := range relaxKernels() {
				d, pred := slices.Clone(d), slices.Clone(pred)
				if got := kernel(d, pred, c, v, h, 7); got != want || !slices.Equal(d, d2) || !slices.Equal(pred, pred2) {
					t.Fatalf("n = %d: %s %v, generic %v\n%v %v\n%v %v", n, name, got, want, d, pred, d2, pred2)
				}
			}
			for range 2 { // the second time with ±Inf or a NaN
				low := slices.Clone(d)
				want := lowerRowGeneric(low, c, finite)
				for name, kernel := range lowerRowKernels() {
					v := slices.Clone(d)
					if got := kernel(v, c, finite); got != want || got < infBits && !slices.Equal(v, low) {
						t.Fatalf("n = %d: %s lowerRow %x %v, generic %x %v", n, name, got, v, want, low)
					}
				}
				c[int(src.Uint64()%uint64(n))] *= float32(math.Inf(int(src.Uint64()%2)*2 - 1))
			}
			if got := lowerRow(slices.Clone(d), c, finite); got < infBits {
				t.Fatalf("n = %d: lowerRow %x of what is not finite", n, got)
			}
		}
	}
}
