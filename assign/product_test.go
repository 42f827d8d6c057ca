package assign

import (
	"fmt"
	"math"
	"math/big"
	"runtime"
	"slices"
	"testing"

	"immiscible/assign/assigntest"
)

// TestMatrixProductExact holds the product against the plain loop on integers, where float32 is exact.
func TestMatrixProductExact(t *testing.T) {
	src := assigntest.NewSource(8)
	for _, size := range [][3]int{{1, 1, 1}, {2, 4, 8}, {5, 70, 1100}, {12, 33, 513}, {25, 49, 1030}} {
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
// rows and noises beyond the last whole tile and the last whole band included.
func TestMatrixProductBits(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	src := assigntest.NewSource(9)
	for _, size := range [][3]int{{1, 1, 1}, {12, 32, 16}, {13, 33, 17}, {100, 95, 100}, {64, 49, 1501}, {233, 130, 514}, {31, 545, 130}} {
		rows, cols, dim := size[0], size[1], size[2]
		x, noise := white(src, rows*dim), white(src, cols*dim)
		want := make([]float32, rows*cols)
		for i := range rows {
			for j := range cols {
				var s float32
				for k := range dim {
					if k%depth == 0 {
						want[i*cols+j], s = want[i*cols+j]+s, 0
					}
					s = fma(x[i*dim+k], noise[j*dim+k], s)
				}
				want[i*cols+j] += s
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

// TestFMA holds the fused multiply-add against exact arithmetic: random bits, sums half way between two float32 but for
// a digit that float64 loses, results below the normal numbers, and what is not finite.
func TestFMA(t *testing.T) {
	src := assigntest.NewSource(11)
	bits := func(low, high uint64) float32 { // of any sign, with an exponent from low to below high
		b := src.Uint64()
		return math.Float32frombits(uint32(b&(signBit|1<<23-1) | (low+b>>32%(high-low))<<23))
	}
	check := func(x, y, z float32) {
		t.Helper()
		// 600 digits hold any such sum: exponents are within 2^±300.
		sum := new(big.Float).SetPrec(1200).Mul(exact(x), exact(y))
		sum.Add(sum, exact(z))
		if want, _ := sum.Float32(); fma(x, y, z) != want {
			t.Fatalf("%x × %x + %x = %x, want %x", x, y, z, fma(x, y, z), want)
		}
	}
	for range 20_000 {
		check(bits(0, 255), bits(0, 255), bits(0, 255))
		x, y := bits(100, 150), bits(100, 150)
		check(x, y, bits(100, 150))
		// z, less half of its last place, plus a trifle, to either side.
		z := bits(1, 200)
		_, exponent := math.Frexp(float64(z))
		half := float32(math.Ldexp(1, exponent-25))
		for _, trifle := range []float32{0, 0x1p-23, -0x1p-24} {
			for _, sign := range []float32{1, -1} {
				for _, unit := range []float32{0x1p-40, 0x1p-20, 1} {
					check(half/unit*(1+trifle), sign*unit, z)
				}
			}
		}
		check(bits(40, 70), bits(40, 70), bits(0, 3)) // results that are subnormal
	}
	// A sum half way whose product has digits beyond float64's: 1 + 2^-24 ± 2^-80.
	for _, sign := range []float32{1, -1} {
		check(0x1p-24*(1+0x1p-23), 1-0x1p-23, sign)
		check(-0x1p-40, 0x1p-40, sign*(1+0x1p-23))
		check(0, 1, sign)
		check(sign, 0, 0)
	}
	nan := func(x float32) bool { return x != x }
	if !nan(fma(inf, 0, 1)) || !nan(fma(inf, 1, -inf)) || fma(inf, 1, 1) != inf || fma(1, 1, -inf) != -inf || fma(0x1p100, 0x1p100, 1) != inf {
		t.Error("what is not finite")
	}
}

// exact is x with all its digits.
func exact(x float32) *big.Float { return new(big.Float).SetFloat64(float64(x)) }

// TestTiles holds each kernel that this machine can run against the generic one, bit for bit, over numbers that differ
// by many orders of magnitude.
func TestTiles(t *testing.T) {
	src := assigntest.NewSource(10)
	for _, n := range []int{1, 2, 3, 50, depth} {
		const stride = tileCols + 7
		images, noise := white(src, tileRows*depth), white(src, n*tileCols)
		for k := range images {
			images[k] *= float32(math.Exp2(float64(k % 31)))
		}
		start := white(src, tileRows*stride)
		want := slices.Clone(start)
		tileGeneric(images, noise, n, want, stride)
		for name, kernel := range tiles() {
			got := slices.Clone(start)
			kernel(images, noise, n, got, stride)
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d coordinates: not the generic tile's bits:\n%v\n%v", name, n, got, want)
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
