package datasets

import (
	"math"
	"testing"
)

// TestOrderIsPermutation: every record exactly once, for sizes around each power
// of two, over seeds and epochs.
func TestOrderIsPermutation(t *testing.T) {
	sizes := []uint64{100, 127, 128, 129, 1000, 4095, 4096, 4097, 70000}
	for n := uint64(1); n <= 40; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		for _, seed := range []uint64{0, 1, 42, math.MaxUint64} {
			for _, epoch := range []int64{0, 1, 2, 1 << 40} {
				seen := make([]bool, n)
				for k := range n {
					i := permute(seed, epoch, n, k)
					if i >= n || seen[i] {
						t.Fatalf("n=%d seed=%d epoch=%d: slot %d gives record %d, out of range or twice", n, seed, epoch, k, i)
					}
					seen[i] = true
				}
			}
		}
	}
}

// TestOrderIsFair counts how often each of the n! permutations of a tiny set
// comes out over seeds and epochs, against chi-square's mean plus six standard
// deviations.
func TestOrderIsFair(t *testing.T) {
	factorial := 1
	for n := uint64(2); n <= 5; n++ {
		factorial *= int(n)
		count := map[uint64]float64{}
		draws := 400 * factorial
		for d := range draws {
			code := uint64(0)
			for k := range n {
				code = code*n + permute(uint64(d%50), int64(d/50), n, k)
			}
			count[code]++
		}
		mean := float64(draws) / float64(factorial)
		chi := mean * float64(factorial-len(count))
		for _, c := range count {
			chi += (c - mean) * (c - mean) / mean
		}
		free := float64(factorial - 1)
		if chi > free+6*math.Sqrt(2*free) {
			t.Errorf("n=%d: chi-square %.0f with %.0f degrees of freedom", n, chi, free)
		}
	}
}

// TestOrderMixes: over epochs, slot k holds each record equally often, and what
// follows record i is unrelated to i.
func TestOrderMixes(t *testing.T) {
	const n, epochs = 37, 20000
	var at [n][n]float64
	var gap [n]float64
	for e := range int64(epochs) {
		before := permute(3, e, n, n-1)
		for k := range uint64(n) {
			i := permute(3, e, n, k)
			at[k][i]++
			gap[(i+n-before)%n]++
			before = i
		}
	}
	chi := 0.0
	for k := range at {
		for i := range at[k] {
			mean := float64(epochs) / n
			chi += (at[k][i] - mean) * (at[k][i] - mean) / mean
		}
	}
	if free := float64((n - 1) * (n - 1)); chi > free+6*math.Sqrt(2*free) {
		t.Errorf("slot against record: chi-square %.0f with %.0f degrees of freedom", chi, free)
	}
	chi = 0
	for _, c := range gap[1:] {
		mean := float64(epochs*n) / (n - 1)
		chi += (c - mean) * (c - mean) / mean
	}
	if free := float64(n - 2); chi > free+6*math.Sqrt(2*free) {
		t.Errorf("step from record to record: chi-square %.0f with %.0f degrees of freedom", chi, free)
	}
}

func BenchmarkPermute(b *testing.B) {
	for k := uint64(0); b.Loop(); k++ {
		permute(1, 0, 1281167, k%1281167)
	}
}
