package metrics

import (
	"fmt"
	"math"
	"sync/atomic"
)

// PrecisionRecall are shares in [0, 1] (T. Kynkäänniemi et al., arXiv 1904.06991,
// Eq. 2): of generated rows that lie in the ball of a reference row, and of
// reference rows that lie in the ball of a generated one. A row's ball reaches
// to its k-th nearest neighbour in its own set.
type PrecisionRecall struct{ Precision, Recall float64 }

// DensityCoverage (M. Naeem et al., arXiv 2002.09797, Eq. 3 and 4) count how many
// balls of the reference hold a generated row, over k, on average, and the share
// of reference rows whose ball holds one at all. Density may exceed 1.
type DensityCoverage struct{ Density, Coverage float64 }

// Neighbours computes both, with the balls open: a row on the border is
// outside, as in prdc. Distances are compared as squares.
func Neighbours(generated, reference *Features, k int) (PrecisionRecall, DensityCoverage, error) {
	var pr PrecisionRecall
	var dc DensityCoverage
	if k < 1 {
		return pr, dc, fmt.Errorf("%d nearest neighbours, want at least 1", k)
	}
	if err := samePair(fmt.Sprintf("the %d nearest neighbours", k), generated, reference, k+1); err != nil {
		return pr, dc, err
	}
	ng, nr := generated.squaredNorms(), reference.squaredNorms()
	rg, rr := radii(generated, ng, k), radii(reference, nr, k)

	inside := make([]atomic.Int64, generated.N) // reference balls that hold the generated row
	recalled, covered := make([]bool, reference.N), make([]bool, reference.N)
	eachRow(reference, generated, false, func(i int, products []float64) {
		for j, p := range products {
			d := squaredDistance(nr[i], ng[j], p)
			if d < rr[i] {
				inside[j].Add(1)
				covered[i] = true
			}
			if d < rg[j] {
				recalled[i] = true
			}
		}
	})
	var balls, precise int64
	for j := range inside {
		n := inside[j].Load()
		balls += n
		if n > 0 {
			precise++
		}
	}
	pr.Precision = float64(precise) / float64(generated.N)
	pr.Recall = share(recalled)
	dc.Density = float64(balls) / float64(k) / float64(generated.N)
	dc.Coverage = share(covered)
	return pr, dc, nil
}

func squaredDistance(a, b, product float64) float64 { return max(0, a+b-2*product) }

func share(list []bool) float64 {
	n := 0
	for _, x := range list {
		if x {
			n++
		}
	}
	return float64(n) / float64(len(list))
}

// radii returns the squared distance of each row to its k-th nearest neighbour
// other than itself.
func radii(f *Features, norms []float64, k int) []float64 {
	out := make([]float64, f.N)
	eachRow(f, f, false, func(i int, products []float64) {
		nearest := make([]float64, k+1) // rising; the row itself is among them
		for n := range nearest {
			nearest[n] = math.Inf(1)
		}
		for j, p := range products {
			d := squaredDistance(norms[i], norms[j], p)
			if d >= nearest[k] {
				continue
			}
			at := k
			for ; at > 0 && nearest[at-1] > d; at-- {
				nearest[at] = nearest[at-1]
			}
			nearest[at] = d
		}
		out[i] = nearest[k]
	})
	return out
}
