package assign

import (
	"math"
	"testing"

	"immiscible/assign/assigntest"
)

func TestStatsByHand(t *testing.T) {
	x := []float32{3, 4, 0, 0, 0, 2}
	noise := []float32{0, 0, 3, 4, 6, 8}
	before, after := Distances(x, noise, []int{2, 1, 0}, 3, 2)
	if want := (5 + 5 + math.Hypot(6, 6)) / 3; math.Abs(before-want) > 1e-12 {
		t.Errorf("distance before %v, want %v", before, want)
	}
	if want := (5 + 5 + 2.0) / 3; math.Abs(after-want) > 1e-12 {
		t.Errorf("distance after %v, want %v", after, want)
	}
	if same, also := Distances(x, noise, nil, 3, 2); same != before || also != before {
		t.Errorf("distances without a permutation are %v and %v, want %v", same, also, before)
	}
	if got, want := SecondMoment(noise), 125.0/6; math.Abs(got-want) > 1e-12 {
		t.Errorf("second moment %v, want %v", got, want)
	}
	if got, want := AlongX(x, noise, []int{2, 1, 0}, 3, 2), 10.0/3; math.Abs(got-want) > 1e-12 { // (10 + 0 + 0)/3
		t.Errorf("along x %v, want %v", got, want)
	}
}

// TestDistanceReduction holds linear assignment to the bands of reading/method.md §3.5: unit Gaussian "images",
// D = 4,096, mean over pools and the standard deviation of one pool. Four of them on one pool.
func TestDistanceReduction(t *testing.T) {
	const dim = 4096
	src := assigntest.NewSource(2406)
	for _, band := range []struct {
		n         int
		mean, dev float64 // percent
	}{{128, 1.955, 0.053}, {256, 2.117, 0.045}, {512, 2.277, 0.040}} {
		x, noise := white(src, band.n*dim), white(src, band.n*dim)
		perm, err := Pair(x, noise, band.n, dim, nil, Options{Cost: CostL2Sq})
		if err != nil {
			t.Fatal(err)
		}
		before, after := Distances(x, noise, perm, band.n, dim)
		reduction := 100 * (1 - after/before)
		if math.Abs(reduction-band.mean) > 4*band.dev {
			t.Errorf("pool of %d: reduction %.3f %%, want %.3f ± %.3f", band.n, reduction, band.mean, 4*band.dev)
		}
		if got := SecondMoment(noise); math.Abs(got-1) > 4*math.Sqrt(2/float64(len(noise))) {
			t.Errorf("second moment of the noise %v, want 1", got)
		}
	}
}
