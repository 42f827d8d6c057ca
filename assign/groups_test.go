package assign

import (
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
