package assign

import (
	"math"
	"slices"
	"testing"

	"immiscible/assign/assigntest"
)

func TestStandardised(t *testing.T) {
	// Two coordinates by hand, 1, 3, 5 and 2, 2, 8, and one that is constant.
	got := Standardised([]float32{1, 2, 7, 3, 2, 7, 5, 8, 7}, 3, 3)
	a, b := math.Sqrt(8.0/3), math.Sqrt(8)
	for k, want := range []float64{-2 / a, -2 / b, 0, 0, -2 / b, 0, 2 / a, 4 / b, 0} {
		if math.Abs(float64(got[k])-want) > 1e-6 {
			t.Errorf("entry %d is %v, want %v", k, got[k], want)
		}
	}
	// Deviations below 1e-6 are divided by 1e-6, not blown up.
	if got := Standardised([]float32{1e-9, -1e-9}, 2, 1); math.Abs(float64(got[0])-1e-3) > 1e-9 {
		t.Errorf("a deviation of 1e-9 became %v, want 1e-3", got[0])
	}
}

// TestPairSequences: the pairing is that of the standardised rows, whatever unit a coordinate is in, and starts at
// its epoch.
func TestPairSequences(t *testing.T) {
	src := assigntest.NewSource(22)
	const batch, steps, width = 50, 8, 3
	x, noise := white(src, batch*steps*width), white(src, batch*steps*width)
	want, err := Pair(Standardised(x, batch, steps*width), noise, batch, steps*width, nil, Options{Cost: CostL2Sq})
	if err != nil {
		t.Fatal(err)
	}
	for k := range x {
		x[k] = x[k]*float32(math.Exp2(float64(k%(steps*width)))) + 64
	}
	for _, c := range []struct{ epoch, start int }{{0, 0}, {50, 50}, {51, 50}} {
		got, err := PairSequences(x, noise, batch, steps, width, c.epoch, c.start, Options{Cost: CostL2Sq})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("epoch %d of start %d: not the pairing of standardised sequences", c.epoch, c.start)
		}
	}
	got, err := PairSequences(x, noise, batch, steps, width, 49, 50, Options{Cost: CostL2Sq})
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range got {
		if i != j {
			t.Fatalf("before its epoch, sequence %d got noise %d", i, j)
		}
	}
	if _, err := PairSequences(x, noise, batch, steps, 0, 0, 0, Options{Cost: CostL2Sq}); err == nil {
		t.Error("sequences of width 0 were accepted")
	}
}
