package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// Vector registers and the plain loop give the same bits, whatever is in out.
func TestTileBits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, k := range []int{0, 1, 2, 255, 256} {
		a, b := make([]float64, tileRows*k), make([]float64, tileCols*k)
		for _, x := range [][]float64{a, b} {
			for i := range x {
				x[i] = r.NormFloat64() * math.Exp(4*r.NormFloat64())
			}
		}
		const stride = 11
		got := make([]float64, 3*stride+tileCols)
		for i := range got {
			got[i] = r.NormFloat64()
		}
		want := slices.Clone(got)
		tile(a, b, k, got, stride)
		tileGeneric(a, b, k, want, stride)
		if !slices.Equal(got, want) {
			t.Errorf("k = %d: got %v, want %v", k, got, want)
		}
	}
}

// Products of every shape are dot's, bit for bit; float32 rows count as float64.
func TestEachRow(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for _, shape := range [][3]int{{1, 1, 1}, {5, 3, 7}, {130, 261, 300}, {257, 257, 31}} {
		x, y := normal(t, r, shape[0], shape[2]), normal(t, r, shape[1], shape[2])
		narrow := make([]float32, x.N*x.D)
		for i := range narrow {
			narrow[i] = float32(x.f64[i])
			x.f64[i] = float64(narrow[i])
		}
		f, err := NewFeatures(x.N, x.D, narrow)
		if err != nil {
			t.Fatal(err)
		}
		a, b := make([]float64, x.D), make([]float64, x.D)
		for name, check := range map[string]struct {
			x, y  *Features
			upper bool
		}{"float64": {x, y, false}, "float32": {f, y, false}, "upper": {x, f, true}} {
			var lock sync.Mutex
			seen := 0
			eachRow(check.x, check.y, check.upper, func(i int, products []float64) {
				lock.Lock()
				defer lock.Unlock()
				seen++
				check.x.Row(i, a)
				for j, p := range products {
					if check.upper && j < i {
						continue
					}
					check.y.Row(j, b)
					if want := dot(a, b); p != want {
						t.Errorf("%v %s: product of rows %d and %d is %g, want %g", shape, name, i, j, p, want)
					}
				}
			})
			if seen != x.N {
				t.Errorf("%v %s: %d rows, want %d", shape, name, seen, x.N)
			}
		}
		norms := x.squaredNorms()
		for i := range norms {
			x.Row(i, a)
			if norms[i] != dot(a, a) {
				t.Errorf("norm of row %d: %g", i, norms[i])
			}
		}
	}
}

// The definitions, computed pair by pair.
func TestAgainstDefinitions(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	x, y := normal(t, r, 40, 3), normal(t, r, 31, 3)
	distance := func(a *Features, i int, b *Features, j int) float64 {
		sum := 0.0
		for k := range a.D {
			d := a.f64[i*a.D+k] - b.f64[j*b.D+k]
			sum += d * d
		}
		return math.Sqrt(sum)
	}
	radius := func(f *Features, i, k int) float64 {
		var all []float64
		for j := range f.N {
			if j != i {
				all = append(all, distance(f, i, f, j))
			}
		}
		slices.Sort(all)
		return all[k-1]
	}
	for _, k := range []int{1, 4} {
		precise, recalled, covered, balls := 0, 0, 0, 0
		for j := range x.N {
			in := 0
			for i := range y.N {
				if distance(x, j, y, i) < radius(y, i, k) {
					in++
				}
			}
			balls += in
			precise += min(in, 1)
		}
		for i := range y.N {
			r, c := 0, 0
			for j := range x.N {
				if distance(x, j, y, i) < radius(x, j, k) {
					r = 1
				}
				if distance(x, j, y, i) < radius(y, i, k) {
					c = 1
				}
			}
			recalled, covered = recalled+r, covered+c
		}
		pr, dc, err := Neighbours(x, y, k)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "precision", pr.Precision, float64(precise)/40, 1e-15)
		near(t, "recall", pr.Recall, float64(recalled)/31, 1e-15)
		near(t, "density", dc.Density, float64(balls)/float64(40*k), 1e-15)
		near(t, "coverage", dc.Coverage, float64(covered)/31, 1e-15)
	}
	// A set and itself: every ball holds its own row and k − 1 neighbours, the
	// k-th lying on the border.
	pr, dc, err := Neighbours(x, x, 5)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]float64{"precision": pr.Precision, "recall": pr.Recall, "density": dc.Density, "coverage": dc.Coverage} {
		near(t, name+" of a set and itself", v, 1, 1e-15)
	}

	kernel := func(a *Features, i int, b *Features, j int) float64 {
		d := distance(a, i, b, j)
		return math.Exp(-d * d / 200)
	}
	mean := func(a, b *Features) (sum float64) {
		for i := range a.N {
			for j := range b.N {
				sum += kernel(a, i, b, j)
			}
		}
		return sum / float64(a.N*b.N)
	}
	c, err := CMMD(x, y)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "cmmd", c, 1000*(mean(x, x)+mean(y, y)-2*mean(x, y)), 1e-9)
}

// The subsets of KID are a function of the seed; their mean is that of all rows
// within its own error; and independent halves of one set are at 0 within it.
func TestKIDSubsets(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	x, y := normal(t, r, 500, 8), normal(t, r, 400, 8)
	for i := range y.f64 {
		y.f64[i] += 0.3
	}
	a, err := ComputeKID(x, y, 50, 200, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := ComputeKID(x, y, 50, 200, 1)
	other, _ := ComputeKID(x, y, 50, 200, 2)
	if a != again || a.Mean == other.Mean || a.SubsetSize != 200 {
		t.Errorf("got %+v, again %+v, with another seed %+v", a, again, other)
	}
	whole, _ := ComputeKID(x, y, 1, 400, 0)
	// A subset's value deviates by Std; the mean of 50 by a good part of it, since they overlap.
	near(t, "mean of subsets", a.Mean, whole.Mean, 2*a.Std)
	z := normal(t, r, 500, 8)
	null, _ := ComputeKID(x, z, 50, 200, 1)
	near(t, "equal laws", null.Mean, 0, 2*null.Std)
}
