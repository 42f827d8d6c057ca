package metrics

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// An inner product here is Σ_k fma(a_k, b_k, ·), one after the other in the
// order of k, each step rounded once. That is the whole definition of the bits,
// on every architecture and for any number of threads; and since a·b = b·a, the
// squared distance |a|² + |b|² − 2a·b of a row from itself is exactly 0.
const (
	tileRows, tileCols = 4, 8
	// Of depth coordinates, a tile's operands (8 + 16 KiB) stay in the first cache.
	depth = 256
	// A band of columns (512 KiB) stays in the second while rows pass over it.
	band = 256
	// block is the number of rows whose products are held at a time.
	block = 128
)

// tileGeneric adds to a tile [4, 8] of out, rows stride apart, the products of
// a [k, 4] and b [k, 8].
func tileGeneric(a, b []float64, k int, out []float64, stride int) {
	for r := range tileRows {
		row := out[r*stride : r*stride+tileCols]
		for c := range row {
			sum := row[c]
			for i := range k {
				sum = math.FMA(a[tileRows*i+r], b[tileCols*i+c], sum)
			}
			row[c] = sum
		}
	}
}

// dot is the inner product as tile computes it.
func dot(a, b []float64) float64 {
	sum := 0.0
	for i, x := range a {
		sum = math.FMA(x, b[i], sum)
	}
	return sum
}

// panels is the number of panels of width rows that hold n rows.
func panels(n, width int) int { return (n + width - 1) / width }

// packRows writes coordinates [k0, k0+k) of rows [from, from+n) as panels of
// width rows: [panel][k][width]. Rows missing from the last panel are 0.
func (f *Features) packRows(dst []float64, from, n, k0, k, width int) {
	clear(dst[:panels(n, width)*width*k])
	for i := range n {
		panel := dst[i/width*width*k:]
		at := (from+i)*f.D + k0
		lane := i % width
		if f.f64 != nil {
			for j, x := range f.f64[at : at+k] {
				panel[j*width+lane] = x
			}
			continue
		}
		for j, x := range f.f32[at : at+k] {
			panel[j*width+lane] = float64(x)
		}
	}
}

// packColumns writes the columns of x [k, d] as panels of width columns:
// [panel][k][width]. Columns missing from the last panel are 0.
func packColumns(dst, x []float64, k, d, width int) {
	for p := range panels(d, width) {
		from := p * width
		here := min(width, d-from)
		for i := range k {
			to := dst[(p*k+i)*width : (p*k+i+1)*width]
			copy(to, x[i*d+from:i*d+from+here])
			clear(to[here:])
		}
	}
}

// multiply adds to out [rows, cols], rows stride apart, the products of the
// panels a [·][k][4] and b [·][k][8]. With upper, tiles that lie wholly below
// the diagonal are left alone; the first row is number row0 of the matrix, the
// first column col0.
func multiply(a, b []float64, k, rows, cols int, out []float64, stride int, upper bool, row0, col0 int) {
	for i := 0; i < rows; i += tileRows {
		pa := a[i*k : (i+tileRows)*k]
		for j := 0; j < cols; j += tileCols {
			if upper && col0+j+tileCols <= row0+i {
				continue
			}
			pb := b[j*k : (j+tileCols)*k]
			if i+tileRows <= rows && j+tileCols <= cols {
				tile(pa, pb, k, out[i*stride+j:], stride)
				continue
			}
			var edge [tileRows * tileCols]float64
			high, wide := min(tileRows, rows-i), min(tileCols, cols-j)
			for r := range high {
				copy(edge[r*tileCols:], out[(i+r)*stride+j:(i+r)*stride+j+wide])
			}
			tile(pa, pb, k, edge[:], tileCols)
			for r := range high {
				copy(out[(i+r)*stride+j:(i+r)*stride+j+wide], edge[r*tileCols:])
			}
		}
	}
}

// eachRow calls visit with the inner products of row i of x and every row of y,
// for each i once, from several goroutines. The slice is valid during the call.
// With upper, which is for x = y, only the products j ≥ i are there.
func eachRow(x, y *Features, upper bool, visit func(i int, products []float64)) {
	blocks := panels(x.N, block)
	type scratch struct{ a, b, out []float64 }
	parallel(blocks, func() *scratch {
		return &scratch{make([]float64, block*depth), make([]float64, band*depth), make([]float64, min(block, x.N)*y.N)}
	}, func(n int, s *scratch) {
		from := n * block
		rows := min(block, x.N-from)
		clear(s.out[:rows*y.N])
		for k0 := 0; k0 < x.D; k0 += depth {
			k := min(depth, x.D-k0)
			x.packRows(s.a, from, rows, k0, k, tileRows)
			j0 := 0
			if upper {
				j0 = from / tileCols * tileCols
			}
			for ; j0 < y.N; j0 += band {
				cols := min(band, y.N-j0)
				y.packRows(s.b, j0, cols, k0, k, tileCols)
				multiply(s.a, s.b, k, rows, cols, s.out[j0:], y.N, upper, from, j0)
			}
		}
		for i := range rows {
			visit(from+i, s.out[i*y.N:(i+1)*y.N])
		}
	})
}

// squaredNorms returns |row|², as products of a row with itself come out.
func (f *Features) squaredNorms() []float64 {
	norms := make([]float64, f.N)
	parallel(f.N, func() []float64 { return make([]float64, f.D) }, func(i int, row []float64) {
		f.Row(i, row)
		norms[i] = dot(row, row)
	})
	return norms
}

// parallel calls work once for each of n items on as many goroutines as there
// are cores, each with scratch of its own.
func parallel[S any](n int, scratch func() S, work func(i int, s S)) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			s := scratch()
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				work(i, s)
			}
		})
	}
	wait.Wait()
}
