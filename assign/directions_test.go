package assign

import (
	"math"
	"strings"
	"testing"

	"immiscible/assign/assigntest"
)

// TestPrincipal holds directions and variances to a spectrum that is known: rows that are scaled, signed axes of a
// rotated frame, so that xᵀx/n has exactly these eigenvectors; more rows than coordinates, and fewer.
func TestPrincipal(t *testing.T) {
	src := assigntest.NewSource(51)
	for _, size := range [][3]int{{400, 40, 5}, {24, 100, 7}, {400, 40, 40}} {
		n, dim, r := size[0], size[1], size[2]
		rank := min(12, n/2)
		frame := white(src, rank*dim)
		orthonormalise(frame, rank, dim)
		x := make([]float32, n*dim)
		want := make([]float64, dim)
		for i := range n / rank * rank {
			a := i % rank
			deviation := math.Exp2(-float64(a) / 2)
			want[a] += deviation * deviation / float64(n)
			for k, v := range vector(frame, a, dim) {
				x[i*dim+k] = v * float32(deviation*float64(1-2*(i/rank%2)))
			}
		}
		directions, variances, total, err := Principal(x, n, dim, r, src)
		if err != nil {
			t.Fatal(err)
		}
		var sum float64
		for a, w := range want {
			sum += w
			if a >= r {
				continue
			}
			if math.Abs(variances[a]-w) > 1e-5*want[0] {
				t.Errorf("%v: variance %d is %v, want %v", size, a, variances[a], w)
			}
			if a < rank {
				if c := dot64(vector(directions, a, dim), vector(frame, a, dim)); math.Abs(math.Abs(c)-1) > 1e-4 {
					t.Errorf("%v: direction %d has cosine %v with the axis", size, a, c)
				}
			}
		}
		if math.Abs(total-sum) > 1e-6*sum {
			t.Errorf("%v: total %v, want %v", size, total, sum)
		}
		for i := range r {
			for j := range i + 1 {
				want := 0.0
				if i == j {
					want = 1
				}
				if got := dot64(vector(directions, i, dim), vector(directions, j, dim)); math.Abs(got-want) > 1e-5 {
					t.Fatalf("%v: directions %d and %d have product %v", size, i, j, got)
				}
			}
		}
	}
}

// TestJacobi multiplies eigenvectors and values together again.
func TestJacobi(t *testing.T) {
	src := assigntest.NewSource(52)
	for _, n := range []int{1, 2, 3, 20} {
		a := make([]float64, n*n)
		for i := range n {
			for j := range i + 1 {
				a[i*n+j] = src.Normal()
				a[j*n+i] = a[i*n+j]
			}
		}
		was := append([]float64(nil), a...)
		values, vectors := jacobi(a, n)
		for i := range n {
			if i > 0 && values[i] > values[i-1] {
				t.Errorf("values %v do not fall", values)
			}
			for j := range n {
				var got float64
				for k := range n {
					got += values[k] * vectors[k*n+i] * vectors[k*n+j]
				}
				if math.Abs(got-was[i*n+j]) > 1e-12*float64(n) {
					t.Fatalf("n = %d: entry [%d, %d] comes back as %v, want %v", n, i, j, got, was[i*n+j])
				}
			}
		}
	}
}

// skewed draws images of three classes whose centres are far apart, with deviations 8, 4, 2 along the first three
// coordinates and 1 along the others.
func skewed(src *assigntest.Source, n, dim int) (x []float32, labels []int64) {
	x, labels = white(src, n*dim), make([]int64, n)
	for i := range n {
		labels[i] = int64(src.Uint64() % 3)
		row := vector(x, i, dim)
		row[0], row[1], row[2] = 8*row[0], 4*row[1], 2*row[2]
		row[3+labels[i]] += 10
	}
	return x, labels
}

// TestDirections: centred directions have mean 0 within each class, whitened ones the same variance along every
// axis, both within 5 standard errors of n draws.
func TestDirections(t *testing.T) {
	src := assigntest.NewSource(53)
	const n, dim = 6000, 30
	x, labels := skewed(src, n, dim)
	means := NewMeans(3, dim)
	for i := range n {
		if err := means.Add(vector(x, i, dim), labels[i]); err != nil {
			t.Fatal(err)
		}
	}
	d := Directions{Dim: dim, Means: means.Rows()}
	centred := make([]float32, n*dim)
	for i := range n {
		if err := d.Along(vector(centred, i, dim), vector(x, i, dim), labels[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Whitening(centred, n, 3, src); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{8, 4, 2} {
		if got := float64(d.Deviation[i]); math.Abs(got-want) > 5*want/math.Sqrt(2*n) {
			t.Errorf("deviation %d is %v, want %v", i, got, want)
		}
	}
	if math.Abs(float64(d.Rest)-1) > 5/math.Sqrt(2*n*(dim-3)) {
		t.Errorf("deviation along the rest is %v, want 1", d.Rest)
	}
	for i := range n {
		if err := d.Along(vector(x, i, dim), vector(x, i, dim), labels[i]); err != nil {
			t.Fatal(err)
		}
	}
	unit := (64 + 16 + 4 + dim - 3) / float64(dim) // mean variance of the images
	axis := make([]float32, dim)
	for k := range dim {
		clear(axis)
		axis[k] = 1
		if v := variance(x, axis, n, dim); math.Abs(v.Value-unit) > 5*unit*math.Sqrt(2.0/n)+5*unit*math.Sqrt(2.0/n) {
			t.Errorf("variance along %d is %v, want %v", k, v.Value, unit)
		}
	}
	for _, class := range groups(labels) {
		for k := range dim {
			var mean float64
			for _, i := range class {
				mean += float64(x[i*dim+k]) / float64(len(class))
			}
			if math.Abs(mean) > 1e-4 {
				t.Errorf("class %d has mean %v along %d", labels[class[0]], mean, k)
			}
		}
	}
}

func TestDirectionsEdges(t *testing.T) {
	m := NewMeans(3, 2)
	for _, c := range []struct {
		x     []float32
		label int64
	}{{[]float32{1, 2}, 0}, {[]float32{3, 4}, 0}, {[]float32{9, 9}, 2}} {
		if err := m.Add(c.x, c.label); err != nil {
			t.Fatal(err)
		}
	}
	// A class without images gets the mean of all, (1+3+9)/3 and (2+4+9)/3.
	for k, want := range []float64{2, 3, 13.0 / 3, 5, 9, 9} {
		if got := m.Rows()[k]; math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("means %v, want %v at %d", m.Rows(), want, k)
		}
	}
	if err := m.Add([]float32{1, 2}, 3); err == nil || !strings.Contains(err.Error(), "label 3") {
		t.Errorf("label 3 of 3 classes: %v", err)
	}
	d := Directions{Dim: 2, Means: m.Rows()}
	dst := make([]float32, 2)
	if err := d.Along(dst, []float32{1, 1}, -1); err == nil || !strings.Contains(err.Error(), "label -1") {
		t.Errorf("label −1: %v", err)
	}
	if err := d.Along(dst, []float32{1, 1, 1}, 0); err == nil {
		t.Error("an image of 3 numbers was taken for one of 2")
	}
	// One mean is for all; no mean is the origin; images that do not vary have no direction to whiten.
	one := Directions{Dim: 2, Means: []float32{1, 2}}
	if err := one.Along(dst, []float32{4, 4}, -1); err != nil || dst[0] != 3 || dst[1] != 2 {
		t.Errorf("one mean: %v, %v", dst, err)
	}
	none := Directions{Dim: 2, Principal: []float32{1, 0}, Deviation: []float32{0}}
	if err := none.Along(dst, []float32{4, 4}, -1); err != nil || dst[0] != 4 || dst[1] != 4 {
		t.Errorf("no variance: %v, %v", dst, err)
	}
	for _, bad := range []Directions{{}, {Dim: 2, Means: []float32{1}}, {Dim: 2, Deviation: []float32{1}}, {Dim: 1, Rest: float32(math.NaN())}} {
		if bad.Check() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
