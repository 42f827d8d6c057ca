package assign

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"immiscible/assign/assigntest"
)

// clustered is −x·n of ten tight classes: rows of a class want the same columns.
var clustered = assigntest.Family{Name: "clustered", Make: func(src *assigntest.Source, rows, cols int) []float32 {
	const dim = 64
	centres, x := white(src, 10*dim), white(src, rows*dim)
	for i := range rows {
		for k := range dim {
			x[i*dim+k] = 0.95*centres[i%10*dim+k] + 0.32*x[i*dim+k]
		}
	}
	cost, err := CostMatrix(x, white(src, cols*dim), rows, cols, dim, CostDot, nil)
	if err != nil {
		panic(err)
	}
	return cost
}}

// TestSparse holds the route by candidates against the dense solver on every family: where it answers, it is as
// good, and on what training makes it answers.
func TestSparse(t *testing.T) {
	for _, f := range append(assigntest.Families(), latentsFamily, clustered) {
		for _, n := range []int{1, 2, 33, 150, 600} {
			cost := f.Make(assigntest.NewSource(uint64(n)), n, n)
			if largest(cost) > math.Float32bits(0x1p96) {
				cost = scaled(cost, 0x1p-32) // as solve does, so that no difference overflows
			}
			perm, _, ok, err := sparseLinear(kept(cost, n), n, n, promised)
			if err != nil {
				t.Fatalf("%s %d: %v", f.Name, n, err)
			}
			if !ok {
				if f.Name == "latents" || f.Name == "clustered" || f.Name == "gaussian" || f.Name == "row and column offsets" {
					t.Errorf("%s %d: given up", f.Name, n)
				}
				continue
			}
			total, chosen, err := assigntest.Total(cost, n, n, perm)
			if err != nil {
				t.Fatalf("%s %d: %v", f.Name, n, err)
			}
			s, err := solve(cost, n, n)
			if err != nil {
				t.Fatal(err)
			}
			dense := make([]int, n)
			for i, j := range s.colOf {
				dense[i] = int(j)
			}
			best, _, err := assigntest.Total(cost, n, n, dense)
			if err != nil {
				t.Fatal(err)
			}
			if total-best > assigntest.Excess*chosen {
				t.Errorf("%s %d: total %v, the dense solver has %v", f.Name, n, total, best)
			}
		}
	}
}

// TestSparseRepairs: candidates that lack what the optimum needs are repaired by the certificate. Here the graph
// begins with the diagonal and a random entry a row.
func TestSparseRepairs(t *testing.T) {
	src := assigntest.NewSource(71)
	const n = 200
	cost := latentsFamily.Make(src, n, n)
	lists := make([][]edge, n)
	for i := range lists {
		j := (i + 1 + int(src.Uint64()%(n-1))) % n
		lists[i] = []edge{{int32(min(i, j)), cost[i*n+min(i, j)]}, {int32(max(i, j)), cost[i*n+max(i, j)]}}
	}
	s := newSparse(lists, make([]float32, n))
	want, err := Linear(cost, n, n)
	if err != nil {
		t.Fatal(err)
	}
	for repairs := 0; ; repairs++ {
		s.run()
		excess, chosen, missing, err := certifySparse(kept(cost, n), s, 64)
		if err != nil {
			t.Fatal(err)
		}
		perm := make([]int, n)
		for i, j := range s.colOf {
			perm[i] = int(j)
		}
		total, _, err := assigntest.Total(cost, n, n, perm)
		if err != nil {
			t.Fatal(err)
		}
		best, _, err := assigntest.Total(cost, n, n, want)
		if err != nil {
			t.Fatal(err)
		}
		if total-best > excess+1e-6*chosen {
			t.Fatalf("after %d repairs the total is %v above the optimum, and the certificate says %v", repairs, total-best, excess)
		}
		if excess <= promised*chosen {
			if !slices.Equal(perm, want) {
				t.Error("certified, and not the unique optimum")
			}
			if repairs == 0 {
				t.Error("two entries a row were enough: the test tests nothing")
			}
			return
		}
		if repairs > 60 {
			t.Fatalf("excess %v of %v after %d repairs", excess, chosen, repairs)
		}
		s.add(missing)
	}
}

// TestSparseRemade: rows that are made anew in small blocks give the pairing of the kept matrix, on any number of
// cores, and a device's errors come through.
func TestSparseRemade(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	src := assigntest.NewSource(72)
	const n, dim = 700, 48
	x, noise := smooth(src, n, dim), white(src, n*dim)
	cost, err := CostMatrix(x, noise, n, n, dim, CostDot, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Linear(cost, n, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(threads)
		calls := 0
		rows := func(from, to int) ([]float32, error) {
			if calls++; from < 0 || to > n || from >= to {
				return nil, fmt.Errorf("rows %d…%d of %d", from, to, n)
			}
			return Options{}.remade(x, noise, n, dim, CostDot)(from, to)
		}
		got, _, ok, err := sparseLinear(rows, n, 100, promised)
		if err != nil || !ok || !slices.Equal(got, want) {
			t.Errorf("%d cores: not the dense pairing: %v %v", threads, ok, err)
		}
		if calls < 3*n/100 {
			t.Errorf("%d calls", calls)
		}
	}
	lost := errors.New("device lost")
	broken := func(from, to int) ([]float32, error) { return nil, lost }
	if _, _, _, err := sparseLinear(broken, n, 100, promised); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
	cost[300*n+40] = float32(math.NaN())
	cost[301*n+2] = float32(math.Inf(1))
	if _, _, _, err := sparseLinear(kept(cost, n), n, n, promised); err == nil || !strings.Contains(err.Error(), "[300, 40] is NaN") {
		t.Errorf("got %v", err)
	}
}

// TestLarge: a pool without its matrix gets the pairing of the matrix, and one that may be off by a gap is off by no
// more than the bound that it states.
func TestLarge(t *testing.T) {
	src := assigntest.NewSource(74)
	const n, dim = 500, 32
	x, noise := smooth(src, n, dim), white(src, n*dim)
	for _, cost := range []Cost{CostL2Sq, CostDot, CostL2} {
		matrix, err := CostMatrix(x, noise, n, n, dim, cost, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Pair(x, noise, n, dim, nil, Options{Cost: cost})
		if err != nil {
			t.Fatal(err)
		}
		perm, bound, err := Large(x, noise, n, dim, Options{Cost: cost})
		if err != nil || bound > promised || !slices.Equal(perm, want) {
			t.Errorf("%s: not the pairing of the matrix: bound %v, %v", cost, bound, err)
		}
		best, _, err := assigntest.Total(matrix, n, n, want)
		if err != nil {
			t.Fatal(err)
		}
		perm, bound, err = Large(x, noise, n, dim, Options{Cost: cost, Gap: 0.05})
		if err != nil || !(bound >= 0 && bound <= 0.05) {
			t.Fatalf("%s: bound %v, %v", cost, bound, err)
		}
		total, chosen, err := assigntest.Total(matrix, n, n, perm)
		if err != nil {
			t.Fatal(err)
		}
		if total-best > bound*chosen+1e-6*chosen {
			t.Errorf("%s: %v above the optimum, and the bound says %v", cost, total-best, bound*chosen)
		}
	}
	for _, o := range []Options{{Cost: CostDot, Half: true}, {Cost: CostDot, Penalty: 1, Conditions: x}, {Cost: "dott"}, {Cost: CostDot, Gap: -1}} {
		if _, _, err := Large(x, noise, n, dim, o); err == nil {
			t.Errorf("%+v: no error", o.Cost)
		}
	}
}

// TestLinearLarge goes through the door that leads to candidates, and out of it again where they are crowded: a
// constant matrix still gives the identity.
func TestLinearLarge(t *testing.T) {
	n := sparseFrom
	cost := make([]float32, n*n)
	perm, err := Linear(cost, n, n)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range perm {
		if i != j {
			t.Fatalf("a constant matrix gives row %d column %d", i, j)
		}
	}
	src := assigntest.NewSource(73)
	const dim = 256
	x, noise := smooth(src, n, dim), white(src, n*dim)
	if cost, err = CostMatrix(x, noise, n, n, dim, CostDot, nil); err != nil {
		t.Fatal(err)
	}
	if perm, err = Linear(cost, n, n); err != nil {
		t.Fatal(err)
	}
	if perm2, _, ok, err := sparseLinear(kept(cost, n), n, n, promised/2); err != nil || !ok || !slices.Equal(perm, perm2) {
		t.Errorf("candidates were not used: %v %v", ok, err)
	}
	s, err := solve(cost, n, n)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range s.colOf {
		if perm[i] != int(j) {
			t.Fatalf("row %d got column %d, the dense solver gives %d", i, perm[i], j)
		}
	}
}
