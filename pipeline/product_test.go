package pipeline

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"immiscible/assign"
	"immiscible/datasets/rng"
	"immiscible/models/engine/enginetest"
)

// The device's products are those of float64 to the rounding of a sum of dim
// float32 products in any order, γ·Σ|x_k·n_k| with γ = dim·u/(1 − dim·u), u = 2⁻²⁴
// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., Eq. 3.5),
// and the processor's to the same; for one block and many, and nothing crosses
// the bus twice.
func TestDeviceProduct(t *testing.T) {
	e := enginetest.Open(t)
	for _, c := range []struct{ rows, cols, dim, blockRows, blockCols int }{
		{1, 1, 1, 4, 4}, {37, 37, 600, 37, 37}, {64, 64, 4096, 64, 64}, {50, 41, 129, 16, 41}, {50, 41, 129, 50, 9}, {50, 41, 129, 16, 9},
	} {
		t.Run(fmt.Sprintf("%d×%d, %d", c.rows, c.cols, c.dim), func(t *testing.T) {
			p, err := newBlockProduct(e, c.blockRows, c.blockCols, c.dim)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			x, noise := make([]float32, c.rows*c.dim), make([]float32, c.cols*c.dim)
			r := rng.New(11, "product", 0)
			r.FillNormal(x)
			r.FillNormal(noise)
			got, plain := make([]float32, c.rows*c.cols), make([]float32, c.rows*c.cols)
			before := e.Traffic()
			if err := p.multiply(x, noise, c.rows, c.cols, c.dim, got); err != nil {
				t.Fatal(err)
			}
			moved := e.Traffic().Sub(before)
			if once := int64(4 * (len(x) + len(noise))); c.blockCols >= c.cols && moved.UploadBytes != once {
				t.Errorf("%d bytes went up, want %d", moved.UploadBytes, once)
			}
			if moved.DownloadBytes != int64(4*len(got)) {
				t.Errorf("%d bytes came down, want %d", moved.DownloadBytes, 4*len(got))
			}
			if err := assign.MatrixProduct(x, noise, c.rows, c.cols, c.dim, plain); err != nil {
				t.Fatal(err)
			}
			u := float64(c.dim) * 0x1p-24
			for i := range c.rows {
				for j := range c.cols {
					var want, size float64
					for k := range c.dim {
						v := float64(x[i*c.dim+k]) * float64(noise[j*c.dim+k])
						want, size = want+v, size+math.Abs(v)
					}
					bound := u / (1 - u) * size
					at := i*c.cols + j
					if math.Abs(float64(got[at])-want) > bound || math.Abs(float64(got[at])-float64(plain[at])) > 2*bound {
						t.Fatalf("[%d, %d] is %g, on the processor %g, want %g ± %g", i, j, got[at], plain[at], want, bound)
					}
				}
			}
			// Noise that is there stays until it is forgotten.
			if c.blockCols < c.cols {
				return
			}
			before = e.Traffic()
			if err := p.multiply(x[:c.dim], noise, 1, c.cols, c.dim, got[:c.cols]); err != nil {
				t.Fatal(err)
			}
			if up := e.Traffic().Sub(before).UploadBytes; up != int64(4*c.dim) {
				t.Errorf("a second part of the pool took %d bytes up, want %d", up, 4*c.dim)
			}
			noise[0] = 9
			p.forget()
			if err := p.multiply(x[:c.dim], noise, 1, c.cols, c.dim, plain[:c.cols]); err != nil {
				t.Fatal(err)
			}
			if plain[0] == got[0] {
				t.Error("changed noise was not seen")
			}
		})
	}
	p, err := newBlockProduct(e, 4, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, dim := range []int{2, 3} {
		if err := p.multiply(make([]float32, 4), make([]float32, 4), 2, 2, dim, make([]float32, 4)); err == nil || !strings.Contains(err.Error(), "vectors of 3") {
			t.Errorf("vectors of %d: %v", dim, err)
		}
	}
}

// Where products are made: on a GPU, but for costs without products and for
// runs that are to repeat to the bit.
func TestProductOnDevice(t *testing.T) {
	for _, c := range []struct {
		provider string
		sets     []string
		want     bool
	}{
		{"cuda", nil, true}, {"cpu", nil, false}, {"cuda", []string{"noise.cost=l1"}, false}, {"cuda", []string{"runtime.deterministic=true"}, false},
		{"cuda", []string{"noise.pairing=knn", "noise.per_class=false"}, false},
	} {
		config, err := LoadConfig("", "", c.sets)
		if err != nil {
			t.Fatal(err)
		}
		if got := config.productOnDevice(c.provider); got != c.want {
			t.Errorf("%s %v: %v", c.provider, c.sets, got)
		}
	}
	for _, c := range []struct{ n, dim int }{{1024, 4096}, {65536, 4096}, {16384, 784}, {4, 1 << 27}} {
		rows, cols := productBlock(c.n, c.dim)
		if rows < 1 || cols < 1 || rows > c.n || cols > c.n || (rows > 1 && 4*max(rows*c.dim, cols*c.dim, rows*cols) > productBytes) {
			t.Errorf("pools of %d × %d are multiplied in blocks of %d by %d", c.n, c.dim, rows, cols)
		}
	}
	if rows, cols := productBlock(1024, 4096); rows != 1024 || cols != 1024 {
		t.Errorf("a pool of 1,024 latents is multiplied in blocks of %d by %d", rows, cols)
	}
}
