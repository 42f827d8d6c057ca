package assign

import (
	"math"
	"runtime"
	"slices"
	"testing"

	"immiscible/assign/assigntest"
)

// TestPairWithinClass checks that no noise crosses its class, that each class is solved as if it were alone, and
// that the classes together cost no less than the class-blind optimum.
func TestPairWithinClass(t *testing.T) {
	src := assigntest.NewSource(11)
	const n, dim = 120, 24
	x, noise := smooth(src, n, dim), white(src, n*dim)
	labels := make([]int64, n)
	for i := range labels {
		labels[i] = int64(src.Uint64()%7) - 1 // −1: no label
	}
	labels[17] = 1000 // alone
	perm, err := Pair(x, noise, n, dim, labels, Options{Cost: CostL2Sq})
	if err != nil {
		t.Fatal(err)
	}
	if perm[17] != 17 {
		t.Errorf("image 17, alone in its class, got noise %d", perm[17])
	}
	seen := make([]bool, n)
	for i, j := range perm {
		if labels[i] != labels[j] {
			t.Fatalf("image %d of class %d got noise %d of class %d", i, labels[i], j, labels[j])
		}
		if seen[j] {
			t.Fatalf("noise %d is used twice", j)
		}
		seen[j] = true
	}
	for label := int64(-1); label < 6; label++ {
		var members []int
		for i, l := range labels {
			if l == label {
				members = append(members, i)
			}
		}
		alone, err := Pair(gather(x, members, dim), gather(noise, members, dim), len(members), dim, nil, Options{Cost: CostL2Sq})
		if err != nil {
			t.Fatal(err)
		}
		for k, i := range members {
			if perm[i] != members[alone[k]] {
				t.Fatalf("class %d: image %d got noise %d, alone it gets %d", label, i, perm[i], members[alone[k]])
			}
		}
	}
	blind, err := Pair(x, noise, n, dim, nil, Options{Cost: CostL2Sq})
	if err != nil {
		t.Fatal(err)
	}
	if alongSum(x, noise, blind, n, dim) < alongSum(x, noise, perm, n, dim) {
		t.Error("pairing within classes reached a larger inner product than pairing at large")
	}
}

// alongSum is Σ x_i · n_perm[i], which squared L2 assignment maximises.
func alongSum(x, noise []float32, perm []int, n, dim int) (sum float64) {
	for i := range n {
		sum += dot64(vector(x, i, dim), vector(noise, perm[i], dim))
	}
	return sum
}

// TestPairCosts checks that l2sq and dot agree by definition, that the full l2sq matrix has the same optimum, and
// that l2 and l1 are optimal for themselves.
func TestPairCosts(t *testing.T) {
	src := assigntest.NewSource(12)
	const n, dim = 60, 40
	x, noise := smooth(src, n, dim), white(src, n*dim)
	perms := make(map[Cost][]int)
	totals := make(map[Cost]map[Cost]float64) // cost measured → pairing used → total
	for _, cost := range []Cost{CostL2Sq, CostDot, CostL2, CostL1} {
		perm, err := Pair(x, noise, n, dim, nil, Options{Cost: cost})
		if err != nil {
			t.Fatal(err)
		}
		perms[cost] = perm
	}
	for measured := range perms {
		matrix, err := CostMatrix(x, noise, n, n, dim, measured, nil)
		if err != nil {
			t.Fatal(err)
		}
		totals[measured] = make(map[Cost]float64)
		for used, perm := range perms {
			if totals[measured][used], _, err = assigntest.Total(matrix, n, n, perm); err != nil {
				t.Fatal(err)
			}
		}
		if measured == CostL2Sq {
			direct, err := Linear(matrix, n, n)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(direct, perms[CostDot]) {
				t.Error("the optimum of the squared distances is not that of the inner products")
			}
		}
	}
	if !slices.Equal(perms[CostL2Sq], perms[CostDot]) {
		t.Error("l2sq and dot pair differently")
	}
	for measured, by := range totals {
		for used, total := range by {
			if best := by[measured]; total < best-1e-5*max(best, -best) { // float32 rounding of the matrix
				t.Errorf("%s: pairing by %s costs %v, by itself %v", measured, used, total, best)
			}
		}
	}
}

// TestPairPenalty: without penalty the conditions are of no account; with a large one, conditions that come in two
// far groups are never crossed, and the pairing within each is the best there is.
func TestPairPenalty(t *testing.T) {
	src := assigntest.NewSource(13)
	const n, dim = 80, 24
	x, noise := smooth(src, n, dim), white(src, n*dim)
	labels, conditions := make([]int64, n), make([]float32, 2*n)
	for i := range labels {
		labels[i] = int64(src.Uint64() % 2)
		conditions[2*i+1] = float32(labels[i])
	}
	for _, cost := range []Cost{CostL2Sq, CostDot, CostL2} {
		pair := func(labels []int64, penalty float64) []int {
			perm, err := Pair(x, noise, n, dim, labels, Options{Cost: cost, Penalty: penalty, Conditions: conditions})
			if err != nil {
				t.Fatal(err)
			}
			return perm
		}
		blind, within, penalised := pair(nil, 0), pair(labels, 0), pair(nil, 1e4)
		if !slices.Equal(within, penalised) {
			t.Errorf("%s: a penalty of 1e4 pairs unlike labels do", cost)
		}
		if slices.Equal(blind, within) {
			t.Errorf("%s: classes do not matter", cost)
		}
	}
	for _, bad := range []Options{{Cost: CostDot, Penalty: -1}, {Cost: CostDot, Penalty: 1}, {Cost: CostDot, Penalty: 1, Conditions: conditions[1:]}} {
		if _, err := Pair(x, noise, n, dim, nil, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// TestPartnered: by hand, and against its expectation for 1,000 classes in a pool of 1,024 (64 %, reading/method.md
// §3.4), to 5 standard deviations.
func TestPartnered(t *testing.T) {
	if got := Partnered([]int64{5, 7, 5, 9}); got != 0.5 {
		t.Errorf("two of four have a partner, got %v", got)
	}
	src := assigntest.NewSource(14)
	const pools, n, classes = 50, 1024, 1000
	var mean float64
	labels := make([]int64, n)
	for range pools {
		for i := range labels {
			labels[i] = int64(src.Uint64() % classes)
		}
		mean += Partnered(labels) / pools
	}
	want := 1 - math.Pow(1-1.0/classes, n-1)
	if math.Abs(mean-want) > 5*math.Sqrt(want*(1-want)/n/pools) || math.Abs(want-0.64) > 0.01 {
		t.Errorf("share with a partner %v, want %v", mean, want)
	}
}

// TestPairThreads: the pairing does not depend on the number of cores, with classes or without.
func TestPairThreads(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	src := assigntest.NewSource(15)
	const n, dim = 300, 1500
	x, noise, labels := smooth(src, n, dim), white(src, n*dim), make([]int64, n)
	for i := range labels {
		labels[i] = int64(src.Uint64() % 5)
	}
	for _, within := range [][]int64{nil, labels} {
		var want []int
		for _, threads := range []int{1, 2, 3, 7} {
			runtime.GOMAXPROCS(threads)
			got, err := Pair(x, noise, n, dim, within, Options{Cost: CostL2Sq})
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d cores pair unlike one", threads)
			}
		}
	}
}
