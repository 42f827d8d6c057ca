package assign

import (
	"fmt"
	"math"
	"runtime"
	"sync"
)

// An inner product is summed block by block of depth coordinates. Within a block the sum begins at 0 and takes one
// coordinate after the other, in order, each by a fused multiply-add of float32: s becomes x·n + s, rounded once. That
// is the whole definition of the bits: every architecture and every number of threads has the same.
const (
	// A tile of 12 rows of x and 32 noises fills 24 of AVX-512's 32 registers, and takes 14 loads for 24 fused
	// multiply-adds. Its 24 KB of x are half of the first cache; noises pass by from the second, where a band of them,
	// 1 MB, stays while all rows pass over it.
	tileRows, tileCols = 12, 32
	depth              = 512 // product_amd64.s knows this
	band               = 16 * tileCols
)

// MatrixProduct is the Product on the processor, on as many cores as Go may use. The order of additions depends on
// dim alone, and products are not rounded before they are added: the same bits on every architecture and for any
// number of cores. An entry that is not finite makes its row or column of out not finite.
func MatrixProduct(x, noise []float32, rows, cols, dim int, out []float32) error {
	if err := checkShape("x", x, rows, dim); err != nil {
		return err
	}
	if err := checkShape("noise", noise, cols, dim); err != nil {
		return err
	}
	if len(out) != rows*cols {
		return fmt.Errorf("assign: out has %d entries, want %d × %d", len(out), rows, cols)
	}
	multiply(x, noise, rows, cols, dim, out)
	return nil
}

// multiply is MatrixProduct of what was checked.
func multiply(x, noise []float32, rows, cols, dim int, out []float32) {
	// Each core packs the noises that it needs: it is given few of them where there are many.
	if cols < rows {
		parallel(rows, rows*cols*dim, tileRows, func(from, to int) {
			productBlock(vectors(x, from, to, dim), noise, to-from, cols, dim, out[from*cols:to*cols], cols)
		})
		return
	}
	parallel(cols, rows*cols*dim, tileCols, func(from, to int) {
		productBlock(x, vectors(noise, from, to, dim), rows, to-from, dim, out[from:], cols)
	})
}

// parallel splits [0, n) among the cores, at multiples of step, and calls work once for each part. steps is the
// number of elementary steps in all: where they take less than starting a goroutine is worth, there is one part.
func parallel(n, steps, step int, work func(from, to int)) {
	const least = 1 << 18 // steps a part
	parts := max(1, min(runtime.GOMAXPROCS(0), steps/least, (n+step-1)/step))
	if parts == 1 {
		work(0, n)
		return
	}
	var wait sync.WaitGroup
	units := (n + step - 1) / step
	for p := range parts {
		from, to := units*p/parts*step, min(n, units*(p+1)/parts*step)
		wait.Go(func() { work(from, to) })
	}
	wait.Wait()
}

// productBlock is MatrixProduct on one core, into a block of a matrix whose rows are stride apart.
func productBlock(x, noise []float32, rows, cols, dim int, out []float32, stride int) {
	for i := range rows {
		clear(out[i*stride : i*stride+cols])
	}
	wide := min(band, (cols+tileCols-1)/tileCols*tileCols)
	noises := make([]float32, wide*min(depth, dim))
	images := make([]float32, tileRows*depth)
	for k0 := 0; k0 < dim; k0 += depth {
		n := min(depth, dim-k0)
		for j0 := 0; j0 < cols; j0 += band {
			here := min(band, cols-j0)
			for j := 0; j < here; j += tileCols {
				packNoises(noises[j*n:(j+tileCols)*n], noise[(j0+j)*dim+k0:], dim, min(tileCols, here-j), n)
			}
			for i := 0; i < rows; i += tileRows {
				high := min(tileRows, rows-i)
				packImages(images, x[i*dim+k0:], dim, high, n)
				for j := 0; j < here; j += tileCols {
					ns, at := noises[j*n:(j+tileCols)*n], i*stride+j0+j
					next := &ns[0]
					if r := i + tileRows + j/tileCols; j < tileRows*tileCols && r < rows {
						next = &x[r*dim+k0] // a row of the tile after this one, on its way to the second cache
					}
					if high == tileRows && j+tileCols <= here {
						tile(images, ns, n, out[at:], stride, next)
						continue
					}
					var sums [tileRows * tileCols]float32
					tile(images, ns, n, sums[:], tileCols, next)
					for r := range high {
						for c := range min(tileCols, here-j) {
							out[at+r*stride+c] += sums[r*tileCols+c]
						}
					}
				}
			}
		}
	}
}

// packImages copies n coordinates of each of rows rows of x, dim apart, into dst [tileRows, depth]: rows a power of two
// apart would fall on the same few lines of the caches. Missing rows become 0.
func packImages(dst, x []float32, dim, rows, n int) {
	for i := range rows {
		copy(dst[i*depth:], x[i*dim:i*dim+n])
	}
	clear(dst[rows*depth:])
}

// packGeneric copies n coordinates of each of cols noises, dim apart, into dst [n, tileCols], transposed. Missing noises
// become 0.
func packGeneric(dst, noise []float32, dim, cols, n int) {
	if cols < tileCols {
		clear(dst)
	}
	const part = 64 // coordinates, whose lines stay in the first cache
	for k0 := 0; k0 < n; k0 += part {
		to := min(n, k0+part)
		for j := range cols {
			at := k0*tileCols + j
			for _, a := range noise[j*dim+k0 : j*dim+to] {
				dst[at] = a
				at += tileCols
			}
		}
	}
}

// tileGeneric adds the inner products of images [tileRows, depth] and noise [n, tileCols] over n coordinates to a tile
// of out, whose rows are stride apart.
func tileGeneric(images, noise []float32, n int, out []float32, stride int) {
	for i := range tileRows {
		var sums [tileCols]float32
		for k, a := range images[i*depth : i*depth+n] {
			for j, b := range (*[tileCols]float32)(noise[k*tileCols:]) {
				sums[j] = fma(a, b, sums[j])
			}
		}
		row := out[i*stride : i*stride+tileCols]
		for j, s := range sums {
			row[j] += s
		}
	}
}

// fma is x·y + z, rounded once. The product is exact in float64. Their sum, which is rounded in float64 and then
// again, comes out otherwise than by one rounding only where the first one falls on a number half way between two of
// float32: then the last digit tells to which side of it the exact sum lies ("round to odd": S. Boldo, G. Melquiond,
// IEEE Trans. Computers 57 (2008) 462–471).
func fma(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	bits := math.Float64bits(s)
	if bits<<36 != 0 { // not half way: there the last 28 digits are 0
		return float32(s)
	}
	// What the rounding took away, exactly (D. Knuth, TAOCP 2, section 4.2.2).
	b := s - p
	lost := (p - (s - b)) + (c - b)
	switch {
	case lost == 0 || lost != lost:
	case lost > 0 == (s > 0):
		s = math.Float64frombits(bits + 1)
	default:
		s = math.Float64frombits(bits - 1)
	}
	return float32(s)
}

// vectors are rows [from, to) of x [·, dim].
func vectors(x []float32, from, to, dim int) []float32 { return x[from*dim : to*dim] }
