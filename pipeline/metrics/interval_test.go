package metrics

import (
	"math"
	"testing"
)

// Student's t at 97.5 % by degrees of freedom, as printed tables have it, times
// the standard error 1/√n of values with deviation 1.
func TestTInterval(t *testing.T) {
	for _, row := range []struct {
		values     []float64
		mean, half float64
	}{
		{[]float64{1, 1 + math.Sqrt2}, 1 + math.Sqrt2/2, 12.7062 / math.Sqrt(2)},
		{[]float64{2, 1, 3}, 2, 4.30265 / math.Sqrt(3)},
		{[]float64{0, 2, 0, 2, 1}, 1, 2.77645 / math.Sqrt(5)},
		{[]float64{7, 7, 7}, 7, 0},
	} {
		mean, half := TInterval(row.values)
		if math.Abs(mean-row.mean) > 1e-12 || math.Abs(half-row.half) > 1e-4 {
			t.Errorf("%v: %v ± %v, want %v ± %v", row.values, mean, half, row.mean, row.half)
		}
	}
	if mean, half := TInterval([]float64{5}); mean != 5 || !math.IsNaN(half) {
		t.Errorf("one value: %v ± %v, want 5 and no interval", mean, half)
	}
	if mean, half := TInterval([]float64{5, math.Inf(1)}); !math.IsInf(mean, 1) || !math.IsNaN(half) {
		t.Errorf("an infinite value: %v ± %v, want infinity and no interval", mean, half)
	}
}
