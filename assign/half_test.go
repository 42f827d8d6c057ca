package assign

import (
	"math"
	"slices"
	"testing"

	"immiscible/assign/assigntest"
)

// halves lists the finite float16 numbers ≥ 0, falling out of the format's definition: sign, 5 bits of exponent,
// 10 of fraction, IEEE 754-2008 §3.6.
func halves() []float64 {
	var all []float64
	for bits := range 31 << 10 {
		exponent, fraction := bits>>10, float64(bits&1023)
		if exponent == 0 {
			all = append(all, math.Ldexp(fraction, -24))
		} else {
			all = append(all, math.Ldexp(1024+fraction, exponent-25))
		}
	}
	return all
}

// TestHalfDigits rounds every float16, every middle of two, and the float32 numbers beside the middles.
func TestHalfDigits(t *testing.T) {
	all := halves()
	for k, h := range all {
		if got := halfDigits(h); got != h {
			t.Fatalf("%v became %v", h, got)
		}
		if k == 0 {
			continue
		}
		below, middle := all[k-1], (all[k-1]+h)/2
		even := below
		if k%2 == 0 {
			even = h
		}
		for _, c := range []struct{ x, want float64 }{
			{middle, even},
			{float64(math.Nextafter32(float32(middle), 0)), below},
			{float64(math.Nextafter32(float32(middle), math.MaxFloat32)), h},
		} {
			if got := halfDigits(c.x); got != c.want {
				t.Fatalf("%v became %v, want %v", c.x, got, c.want)
			}
			if got := halfDigits(-c.x); got != -c.want {
				t.Fatalf("%v became %v, want %v", -c.x, got, -c.want)
			}
		}
	}
}

// TestRoundHalf checks the unit: any scale of the costs gives the same digits, nothing overflows, and what is not
// finite stays.
func TestRoundHalf(t *testing.T) {
	costs := white(assigntest.NewSource(4), 1000)
	once := slices.Clone(costs)
	RoundHalf(once)
	twice := slices.Clone(once)
	RoundHalf(twice)
	if !slices.Equal(once, twice) {
		t.Error("rounded costs are rounded again")
	}
	for k, c := range costs {
		if math.Abs(float64(once[k]-c)) > math.Abs(float64(c))*0x1p-11 {
			t.Errorf("%v became %v, want 11 digits", c, once[k])
		}
	}
	for _, factor := range []float32{0x1p-100, 0x1p30, 0x1p120} {
		scaled := slices.Clone(costs)
		for k := range scaled {
			scaled[k] *= factor
		}
		RoundHalf(scaled)
		for k := range scaled {
			if scaled[k] != once[k]*factor {
				t.Fatalf("%v × %v became %v, want %v", costs[k], factor, scaled[k], once[k]*factor)
			}
		}
	}
	zero, bad := []float32{0, 0}, []float32{1.0001, float32(math.Inf(-1))}
	RoundHalf(zero)
	RoundHalf(bad)
	if zero[0] != 0 || bad[0] != 1.0001 || !math.IsInf(float64(bad[1]), -1) {
		t.Errorf("became %v, %v", zero, bad)
	}
}

// TestPairHalf: "the fp16 solution is within 0.003 percentage points of distance reduction of the exact one"
// (reading/method.md §3.5), here to 0.01, for −x·n and for the papers' l2.
func TestPairHalf(t *testing.T) {
	const n, dim = 256, 3072
	src := assigntest.NewSource(21)
	x, noise := smooth(src, n, dim), white(src, n*dim)
	for _, cost := range []Cost{CostDot, CostL2, CostL2Sq} {
		var after [2]float64
		for k, half := range []bool{false, true} {
			perm, err := Pair(x, noise, n, dim, nil, Options{Cost: cost, Half: half})
			if err != nil {
				t.Fatal(err)
			}
			var before float64
			before, after[k] = Distances(x, noise, perm, n, dim)
			after[k] *= 100 / before
		}
		if math.Abs(after[1]-after[0]) > 0.01 {
			t.Errorf("%s: distance %.4f %% of independent, rounded %.4f %%", cost, after[0], after[1])
		}
	}
}
