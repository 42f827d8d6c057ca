// Package assigntest holds what a test of an assignment solver needs: families of cost matrices that have broken
// solvers before, brute force for small ones, a conformance run over both, and a small random source.
package assigntest

import (
	"fmt"
	"math"
	"testing"
)

// Solver has the signature of assign.Linear.
type Solver func(cost []float32, rows, cols int) (perm []int, err error)

// Excess is the part of Σ|chosen entries| by which a total may exceed the optimum (design §9).
const Excess = 1e-6

// Run holds solve against brute force on every family, for up to 6 rows and 8 columns (7 × 7, 8 × 8 and 9 × 9 once
// a family), and against the contract of assign.Linear for constant matrices and bad input.
func Run(t *testing.T, solve Solver) {
	for _, f := range Families() {
		t.Run(f.Name, func(t *testing.T) {
			src := NewSource(uint64(len(f.Name)))
			for rows := 1; rows <= 6; rows++ {
				for cols := rows; cols <= rows+2; cols++ {
					for range 25 {
						compare(t, solve, f.Make(src, rows, cols), rows, cols)
					}
				}
			}
			for n := 7; n <= 9; n++ {
				compare(t, solve, f.Make(src, n, n), n, n)
			}
		})
	}
	t.Run("constant is identity", func(t *testing.T) {
		for _, size := range [][2]int{{1, 1}, {1, 7}, {2, 2}, {33, 33}, {40, 64}, {300, 300}} {
			rows, cols := size[0], size[1]
			for _, value := range []float32{0, 3.25, -1e30} {
				cost := make([]float32, rows*cols)
				for k := range cost {
					cost[k] = value
				}
				perm, err := solve(cost, rows, cols)
				if err != nil {
					t.Fatal(err)
				}
				for i, j := range perm {
					if i != j {
						t.Fatalf("%d × %d of %v: row %d got column %d", rows, cols, value, i, j)
					}
				}
			}
		}
	})
	t.Run("bad input", func(t *testing.T) {
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for _, bad := range []struct {
			cost       []float32
			rows, cols int
		}{
			{nil, 0, 0}, {nil, 0, 3}, {[]float32{1, 2}, 2, 1}, {[]float32{1, 2, 3}, 2, 2}, {make([]float32, 6), 2, 2},
			{nil, math.MaxInt, math.MaxInt}, {nil, -1, 2},
			{[]float32{nan}, 1, 1}, {[]float32{1, 2, nan, 4}, 2, 2}, {[]float32{1, inf, 3, 4}, 2, 2}, {[]float32{1, 2, 3, -inf}, 2, 2},
		} {
			if perm, err := solve(bad.cost, bad.rows, bad.cols); err == nil {
				t.Errorf("%v as %d × %d: got %v, want an error", bad.cost, bad.rows, bad.cols, perm)
			}
		}
	})
}

// compare fails unless solve finds a permutation that costs no more than brute force's.
func compare(t *testing.T, solve Solver, cost []float32, rows, cols int) {
	t.Helper()
	perm, err := solve(cost, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	total, chosen, err := Total(cost, rows, cols, perm)
	if err != nil {
		t.Fatalf("%d × %d %v: %v", rows, cols, cost, err)
	}
	if best := BruteForce(cost, rows, cols); total-best > Excess*chosen {
		t.Fatalf("%d × %d %v: %v costs %v, the optimum is %v", rows, cols, cost, perm, total, best)
	}
}

// Total checks that perm gives every row a column of its own, and returns the sum of the chosen entries and the
// sum of their absolute values.
func Total(cost []float32, rows, cols int, perm []int) (total, chosen float64, err error) {
	if len(perm) != rows {
		return 0, 0, fmt.Errorf("perm has %d entries, want %d", len(perm), rows)
	}
	taken := make([]bool, cols)
	for i, j := range perm {
		if j < 0 || j >= cols || taken[j] {
			return 0, 0, fmt.Errorf("row %d got column %d, which is taken or not there", i, j)
		}
		taken[j] = true
		total += float64(cost[i*cols+j])
		chosen += math.Abs(float64(cost[i*cols+j]))
	}
	return total, chosen, nil
}

// BruteForce returns the least total over all ways to give every row a column of its own, by trying them all.
func BruteForce(cost []float32, rows, cols int) float64 {
	taken := make([]bool, cols)
	var best func(i int) float64
	best = func(i int) float64 {
		if i == rows {
			return 0
		}
		least := math.Inf(1)
		for j := range cols {
			if !taken[j] {
				taken[j] = true
				least = min(least, float64(cost[i*cols+j])+best(i+1))
				taken[j] = false
			}
		}
		return least
	}
	return best(0)
}
