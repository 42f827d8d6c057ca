package assign

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"immiscible/assign/assigntest"
)

// TestMatrixProductExact holds the product against the plain loop on integers, where float32 is exact.
func TestMatrixProductExact(t *testing.T) {
	src := assigntest.NewSource(8)
	for _, size := range [][3]int{{1, 1, 1}, {2, 4, 8}, {5, 70, 1100}, {6, 33, 513}, {13, 49, 2064}} {
		rows, cols, dim := size[0], size[1], size[2]
		x, noise := white(src, rows*dim), white(src, cols*dim)
		for _, s := range [][]float32{x, noise} {
			for k := range s {
				s[k] = float32(math.Round(8 * float64(s[k])))
			}
		}
		out := slices.Repeat([]float32{float32(math.NaN())}, rows*cols)
		if err := MatrixProduct(x, noise, rows, cols, dim, out); err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			for j := range cols {
				if want := float32(dot64(vector(x, i, dim), vector(noise, j, dim))); out[i*cols+j] != want {
					t.Fatalf("%v [%d, %d]: %v, want %v", size, i, j, out[i*cols+j], want)
				}
			}
		}
	}
}

// TestMatrixProductBits holds every entry to its definition, bit for bit, on any number of cores: blocks of depth,
// coordinates beyond the last whole lane and rows beyond the last whole tile included.
func TestMatrixProductBits(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	src := assigntest.NewSource(9)
	for _, size := range [][3]int{{1, 1, 1}, {6, 4, 16}, {7, 5, 17}, {100, 95, 100}, {64, 49, 3001}, {233, 130, 1040}} {
		rows, cols, dim := size[0], size[1], size[2]
		x, noise := white(src, rows*dim), white(src, cols*dim)
		want := make([]float32, rows*cols)
		for i := range rows {
			for j := range cols {
				for k := 0; k < dim; k += depth {
					a, b := make([]float32, depth), make([]float32, depth)
					copy(a, x[i*dim+k:i*dim+min(dim, k+depth)])
					copy(b, noise[j*dim+k:j*dim+min(dim, k+depth)])
					want[i*cols+j] += blockDot(a, b)
				}
			}
		}
		for _, threads := range []int{1, 2, 3, 8} {
			runtime.GOMAXPROCS(threads)
			got := make([]float32, rows*cols)
			if err := MatrixProduct(x, noise, rows, cols, dim, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v on %d cores: not the bits of the definition", size, threads)
			}
		}
	}
}

// TestTiles holds each kernel that this machine can run against the generic one, bit for bit, over columns that
// differ by many orders of magnitude.
func TestTiles(t *testing.T) {
	src := assigntest.NewSource(10)
	for _, width := range []int{16, 32, 48, 1024} {
		xs, stride := width+3, 7
		x, noise := white(src, tileRows*xs), white(src, tileCols*width)
		for k := range x {
			x[k] *= float32(math.Exp2(float64(k % 31)))
		}
		start := white(src, tileRows*stride)
		want := slices.Clone(start)
		tileGeneric(x, xs, noise, width, want, stride)
		for name, kernel := range tiles() {
			got := slices.Clone(start)
			kernel(x, xs, noise, width, got, stride)
			if !slices.Equal(got, want) {
				t.Errorf("%s, width %d: not the generic tile's bits:\n%v\n%v", name, width, got, want)
			}
		}
	}
}

// BenchmarkMatrixProduct is 4×32×32 latents against as many noises.
func BenchmarkMatrixProduct(b *testing.B) {
	const dim = 4096
	for _, n := range []int{256, 1024} {
		src := assigntest.NewSource(1)
		x, noise, out := white(src, n*dim), white(src, n*dim), make([]float32, n*n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if err := MatrixProduct(x, noise, n, n, dim, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(2*float64(n*n*dim)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
