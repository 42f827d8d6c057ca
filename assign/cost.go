package assign

import (
	"fmt"
	"math"
)

// Cost names what an image and a noise cost each other.
type Cost string

const (
	CostL2Sq Cost = "l2sq" // squared Euclidean distance, the default
	CostDot  Cost = "dot"  // −x·n: the same optimum as l2sq, from the product alone
	CostL2   Cost = "l2"   // Euclidean distance, the cost of the papers' code
	CostL1   Cost = "l1"   // sum of absolute differences, an ablation of paper 1; rows·cols·dim steps in plain Go
)

// Product writes the inner products of the rows of x and noise: out[i*cols+j] = x_i · n_j, with x [rows, dim],
// noise [cols, dim], out [rows, cols], all row-major. A caller with a device computes it there; MatrixProduct is
// the one on the processor. It is not called concurrently.
type Product func(x, noise []float32, rows, cols, dim int, out []float32) error

// CostMatrix returns the [rows, cols] costs of x [rows, dim] against noise [cols, dim]. product is not called for
// l1; nil stands for MatrixProduct. Squared distances come from |x|² + |n|² − 2x·n, whose rounding is relative to
// |x|² + |n|²; they are never below 0. x and noise with entries that are not finite are refused.
func CostMatrix(x, noise []float32, rows, cols, dim int, cost Cost, product Product) ([]float32, error) {
	if err := checkRows("x", x, rows, dim); err != nil {
		return nil, err
	}
	if err := checkRows("noise", noise, cols, dim); err != nil {
		return nil, err
	}
	if err := cost.check(); err != nil {
		return nil, err
	}
	out := make([]float32, rows*cols)
	if err := costs(x, noise, rows, cols, dim, cost, product, out); err != nil {
		return nil, err
	}
	return out, nil
}

// costs is CostMatrix of what was checked, into out [rows, cols].
func costs(x, noise []float32, rows, cols, dim int, cost Cost, product Product, out []float32) error {
	if cost == CostL1 {
		parallel(rows, rows*cols*dim, 1, func(from, to int) {
			for i := from; i < to; i++ {
				for j := range cols {
					out[i*cols+j] = float32(l1(vector(x, i, dim), vector(noise, j, dim)))
				}
			}
		})
		return nil
	}
	if product == nil {
		product = MatrixProduct
	}
	if err := product(x, noise, rows, cols, dim, out); err != nil {
		return fmt.Errorf("assign: product of %d × %d by %d × %d: %w", rows, dim, cols, dim, err)
	}
	if cost == CostDot {
		parallel(len(out), len(out), 1, func(from, to int) {
			for k, p := range out[from:to] {
				out[from+k] = -p
			}
		})
		return nil
	}
	xx, nn := squaredNorms(x, rows, dim), squaredNorms(noise, cols, dim)
	parallel(rows, len(out), 1, func(from, to int) {
		for i := from; i < to; i++ {
			row := out[i*cols : (i+1)*cols]
			for j, p := range row {
				// A NaN from the product stays one, for Linear to name.
				sq := max(0, xx[i]+nn[j]-2*float64(p))
				if cost == CostL2 {
					sq = math.Sqrt(sq)
				}
				row[j] = float32(sq)
			}
		}
	})
	return nil
}

// check refuses a cost that is not one of the four.
func (c Cost) check() error {
	switch c {
	case CostL2Sq, CostDot, CostL2, CostL1:
		return nil
	}
	return fmt.Errorf("assign: cost %q, want l2sq, dot, l2 or l1", string(c))
}

// l1 is the sum of absolute differences.
func l1(x, y []float32) float64 {
	var s float64
	y = y[:len(x)]
	for k, a := range x {
		s += math.Abs(float64(a) - float64(y[k]))
	}
	return s
}

// squaredNorms returns |x_i|² of each row of x [rows, dim].
func squaredNorms(x []float32, rows, dim int) []float64 {
	sq := make([]float64, rows)
	parallel(rows, len(x), 1, func(from, to int) {
		for i := from; i < to; i++ {
			sq[i] = dot64(vector(x, i, dim), vector(x, i, dim))
		}
	})
	return sq
}

// dot64 is the inner product in float64, where the product of two float32 is exact, so that fusing changes nothing.
// Four partial sums hide the latency of the additions.
func dot64(x, y []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4 && len(y) >= 4; x, y = x[4:], y[4:] {
		s0 += float64(x[0]) * float64(y[0])
		s1 += float64(x[1]) * float64(y[1])
		s2 += float64(x[2]) * float64(y[2])
		s3 += float64(x[3]) * float64(y[3])
	}
	for k, a := range x {
		s0 += float64(a) * float64(y[k])
	}
	return s0 + s1 + (s2 + s3)
}

// vector is row i of x [·, dim].
func vector(x []float32, i, dim int) []float32 { return x[i*dim : (i+1)*dim] }

// checkRows refuses a slice that is not [rows, dim] or has an entry that is not finite.
func checkRows(name string, x []float32, rows, dim int) error {
	if err := checkShape(name, x, rows, dim); err != nil {
		return err
	}
	if at := notFinite(x); at >= 0 {
		return fmt.Errorf("assign: %s[%d, %d] is %v, want a finite number", name, at/dim, at%dim, x[at])
	}
	return nil
}

// checkShape refuses a slice that is not [rows, dim].
func checkShape(name string, x []float32, rows, dim int) error {
	if rows < 1 || dim < 1 || len(x)/dim != rows || len(x)%dim != 0 {
		return fmt.Errorf("assign: %s has %d entries, want %d × %d, at least 1 × 1", name, len(x), rows, dim)
	}
	return nil
}
