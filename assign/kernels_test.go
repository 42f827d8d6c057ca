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
			sum, sum2 := slices.Clone(d), slices.Clone(d)
			accumulate(sum, c, c[0], 0.125)
			if accumulateGeneric(sum2, c, c[0], 0.125); !slices.Equal(sum, sum2) {
				t.Fatalf("n = %d: accumulate %v, generic %v", n, sum, sum2)
			}
			d2, pred2, h := slices.Clone(d), slices.Clone(pred), float32(src.Normal())
			got, want := relax(d, pred, c, v, h, 7), relaxGeneric(d2, pred2, c, v, h, 7)
			if got != want || !slices.Equal(d, d2) || !slices.Equal(pred, pred2) {
				t.Fatalf("n = %d: relax %v, generic %v\n%v %v\n%v %v", n, got, want, d, pred, d2, pred2)
			}
			c[int(src.Uint64()%uint64(n))] *= float32(math.Inf(int(src.Uint64()%2)*2 - 1)) // ±Inf or NaN
			v2 := slices.Clone(v)
			if got, want := lower(v, c, h), lowerGeneric(v2, c, h); got != want || got < infBits || !slices.Equal(v, v2) {
				t.Fatalf("n = %d: lower %x %v, generic %x %v", n, got, v, want, v2)
			}
		}
	}
}
