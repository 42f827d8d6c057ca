package assign

import (
	"fmt"
	"runtime"
	"sync"
)

// An inner product is summed block by block of depth coordinates. Within a block, partial sum l takes the products
// of the coordinates k ≡ l modulo lanes, in order; the partial sums are added in halves: l and l + 8, l + 4, l + 2,
// l + 1. Products are rounded before they are added, so that nothing is fused. That is the whole definition of the
// bits: every architecture and every number of threads has the same.
const (
	lanes = 16
	depth = 1024

	// A tile of 6 rows of x and 4 noises shares its loads and fills 24 of AVX-512's 32 registers; 40 KB of operands
	// stay in the first cache, and a band of noises in the second while all rows pass over it.
	tileRows, tileCols = 6, 4
	band               = 12 * tileCols
)

// MatrixProduct is the Product on the processor, on as many cores as Go may use. The order of additions depends on
// dim alone, and products are rounded before they are added: the same bits on every architecture and for any number
// of cores. An entry that is not finite makes its row or column of out not finite.
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
	parallel(rows, rows*cols*dim, tileRows, func(from, to int) {
		productRows(vectors(x, from, to, dim), noise, to-from, cols, dim, out[from*cols:to*cols])
	})
	return nil
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

// productRows is MatrixProduct on one core.
func productRows(x, noise []float32, rows, cols, dim int, out []float32) {
	clear(out)
	width := min(depth, (dim+lanes-1)/lanes*lanes)
	noises := make([]float32, band*width)
	images := make([]float32, tileRows*width)
	for k0 := 0; k0 < dim; k0 += depth {
		n := min(depth, dim-k0)
		width := (n + lanes - 1) / lanes * lanes
		for j0 := 0; j0 < cols; j0 += band {
			here := min(band, cols-j0)
			// Rows a power of two apart would fall on the same few lines of the caches: they are copied together.
			pack(noises, noise[j0*dim+k0:], dim, here, (here+tileCols-1)/tileCols*tileCols, n, width)
			for i := 0; i < rows; i += tileRows {
				high := min(tileRows, rows-i)
				xs, stride := x[i*dim+k0:], dim
				if high < tileRows || n < width {
					pack(images, xs, dim, high, tileRows, n, width)
					xs, stride = images, width
				}
				for j := 0; j < here; j += tileCols {
					ns, at := noises[j*width:], i*cols+j0+j
					if high == tileRows && j+tileCols <= here {
						tile(xs, stride, ns, width, out[at:], cols)
						continue
					}
					var sums [tileRows * tileCols]float32
					tile(xs, stride, ns, width, sums[:], tileCols)
					for r := range high {
						for c := range min(tileCols, here-j) {
							out[at+r*cols+c] += sums[r*tileCols+c]
						}
					}
				}
			}
		}
	}
}

// pack copies n coordinates of each of rows rows of x, dim apart, into dst, width apart. What is missing to width,
// and to whole rows, becomes 0, which changes no sum.
func pack(dst, x []float32, dim, rows, whole, n, width int) {
	for i := range rows {
		row := dst[i*width : (i+1)*width]
		copy(row, x[i*dim:i*dim+n])
		clear(row[n:])
	}
	clear(dst[rows*width : whole*width])
}

// tileGeneric adds the inner products of tileRows rows of x, xs apart, and tileCols noises, width apart, over width
// coordinates (a multiple of lanes) to a tile of out, whose rows are stride apart.
func tileGeneric(x []float32, xs int, noise []float32, width int, out []float32, stride int) {
	for i := range tileRows {
		for j := range tileCols {
			out[i*stride+j] += blockDot(x[i*xs:i*xs+width], noise[j*width:(j+1)*width])
		}
	}
}

// blockDot is the inner product within a block.
func blockDot(x, y []float32) float32 {
	var s [lanes]float32
	for ; len(x) >= lanes && len(y) >= lanes; x, y = x[lanes:], y[lanes:] {
		a, b := (*[lanes]float32)(x), (*[lanes]float32)(y)
		for l := range s {
			s[l] += float32(a[l] * b[l])
		}
	}
	for half := lanes / 2; half > 0; half /= 2 {
		for l := range half {
			s[l] += s[l+half]
		}
	}
	return s[0]
}

// vectors are rows [from, to) of x [·, dim].
func vectors(x []float32, from, to, dim int) []float32 { return x[from*dim : to*dim] }
