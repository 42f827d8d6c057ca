package main

import (
	"math"
	"math/cmplx"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/datasets/rng"
	"immiscible/pipeline/npy"
)

// The transform against its definition.
func TestFourier(t *testing.T) {
	draws := rng.New(1, "test", 0)
	for _, n := range []int{1, 2, 8, 32} {
		x := make([]complex128, n)
		for i := range x {
			x[i] = complex(draws.Normal(), draws.Normal())
		}
		got := slices.Clone(x)
		fourier(got)
		for k := range n {
			var want complex128
			for i, v := range x {
				want += v * cmplx.Rect(1, -2*math.Pi*float64(i*k)/float64(n))
			}
			if cmplx.Abs(got[k]-want) > 1e-12*float64(n) {
				t.Fatalf("n = %d: coefficient %d is %v, want %v", n, k, got[k], want)
			}
		}
	}
}

// Each kind has the deviation that it was asked for, and the structure that
// makes it what it is; an image does not depend on how many there are.
func TestMadeUpImages(t *testing.T) {
	const n, dim, std = 300, 256, 0.5
	for _, kind := range []string{"latents", "clusters", "heavy", "gaussian"} {
		a, err := madeUpImages(kind, n, dim, std, 9)
		if err != nil {
			t.Fatal(err)
		}
		few, err := madeUpImages(kind, 3, dim, std, 9)
		if err != nil || !slices.Equal(few.X, a.X[:3*dim]) {
			t.Errorf("%s: the first images change with their number (%v)", kind, err)
		}
		var square, neighbours, heaviest float64
		for i := range n {
			var here float64
			for k, v := range a.X[i*dim : (i+1)*dim] {
				here += float64(v) * float64(v)
				if k%8 > 0 { // within a row of a channel, 8×8
					neighbours += float64(v) * float64(a.X[i*dim+k-1]) * 8 / 7
				}
			}
			square += here
			heaviest = max(heaviest, here)
		}
		deviation, correlation := math.Sqrt(square/(n*dim)), neighbours/square
		switch kind {
		case "heavy": // log-normal with σ = 2: the largest of 300 has a good part of the sum
			if heaviest < 0.1*square {
				t.Errorf("heavy: the largest image has %v of the sum of squares", heaviest/square)
			}
		case "latents":
			if correlation < 0.6 || math.Abs(deviation-std) > 0.05 {
				t.Errorf("latents: correlation of neighbours %v, deviation %v", correlation, deviation)
			}
		default:
			if math.Abs(deviation-std) > 0.02 || math.Abs(correlation) > 0.1 {
				t.Errorf("%s: deviation %v, correlation %v", kind, deviation, correlation)
			}
		}
		if (kind == "clusters") != (a.Labels != nil) {
			t.Errorf("%s: labels %v", kind, a.Labels)
		}
	}
}

func TestReadImages(t *testing.T) {
	dir := t.TempDir()
	images, labels := filepath.Join(dir, "x.npy"), filepath.Join(dir, "y.npy")
	write := func(shape []int, values []float32, classes []int64) {
		t.Helper()
		if err := npy.Write(images, shape, values); err != nil {
			t.Fatal(err)
		}
		if err := npy.Write(labels, []int{len(classes)}, classes); err != nil {
			t.Fatal(err)
		}
	}
	write([]int{3, 1, 2}, []float32{1, 2, 3, 4, 5, 6}, []int64{0, 1, 0})
	a, err := readImages(images, labels, 2)
	if err != nil || a.N != 2 || a.Dim != 2 || !slices.Equal(a.X, []float32{1, 2, 3, 4}) || !slices.Equal(a.Labels, []int64{0, 1}) {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, c := range []struct {
		shape   []int
		values  []float32
		classes []int64
		n       int
		want    string
	}{
		{[]int{4}, []float32{1, 2, 3, 4}, []int64{0}, 0, "shape [4], want an image a row"},
		{[]int{2, 2}, []float32{1, 2, float32(math.NaN()), 4}, []int64{0, 0}, 0, "entry [1, 0] is NaN"},
		{[]int{2, 2}, []float32{1, 2, 3, 4}, []int64{0}, 0, "shape [1], want [2]"},
		{[]int{2, 2}, []float32{1, 2, 3, 4}, []int64{0, -1}, 0, "entry [1] is -1"},
		{[]int{2, 2}, []float32{1, 2, 3, 4}, []int64{0, 1}, 5, "-n 5, and "},
		{[]int{2, 0}, nil, []int64{0, 1}, 0, "holds no numbers"},
	} {
		write(c.shape, c.values, c.classes)
		if _, err := readImages(images, labels, c.n); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	if _, err := readImages(filepath.Join(dir, "none.npy"), "", 0); !os.IsNotExist(err) && (err == nil || !strings.Contains(err.Error(), "no such file")) {
		t.Errorf("missing file: %v", err)
	}
}
