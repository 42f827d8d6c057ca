package metrics

import (
	"fmt"
	"math"
	"sync"

	"immiscible/datasets/rng"
)

// KID is the kernel inception distance of two sets (M. Bińkowski et al., arXiv
// 1801.01401, §4): the unbiased squared maximum mean discrepancy with the kernel
// (x·y/D + 1)³, averaged over random subsets of equal size. It may be negative.
type KID struct {
	Mean, Std  float64 // over the subsets; Std divides by their number
	Subsets    int
	SubsetSize int
}

// ComputeKID draws subsets of min(subsetSize, rows of the smaller set) rows
// without repetition from each set; which rows is a function of seed. Where that
// is all rows of both sets, every subset is the same and one is computed.
func ComputeKID(x, y *Features, subsets, subsetSize int, seed uint64) (KID, error) {
	m := min(subsetSize, x.N, y.N)
	if err := samePair("kid", x, y, 2); err != nil {
		return KID{}, err
	}
	if subsets < 1 || m < 2 {
		return KID{}, fmt.Errorf("kid: %d subsets of %d rows, want at least 1 of 2", subsets, m)
	}
	k := KID{Subsets: subsets, SubsetSize: m}
	if m == x.N && m == y.N {
		k.Mean = polynomialMMD(x, y)
		return k, nil
	}
	values := make([]float64, subsets)
	for i := range values {
		r := rng.New(seed, "kid", uint64(i))
		values[i] = polynomialMMD(x.Select(choose(x.N, m, r)), y.Select(choose(y.N, m, r)))
		k.Mean += values[i] / float64(subsets)
	}
	for _, v := range values {
		k.Std += (v - k.Mean) * (v - k.Mean) / float64(subsets)
	}
	k.Std = math.Sqrt(k.Std)
	return k, nil
}

// choose draws m of n numbers without repetition: the first m steps of a
// Fisher–Yates shuffle.
func choose(n, m int, r *rng.Stream) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	for i := range m {
		j := i + r.Intn(n-i)
		all[i], all[j] = all[j], all[i]
	}
	return all[:m]
}

// polynomialMMD is the unbiased estimate (A. Gretton et al., JMLR 13 (2012), Eq.
// 3) for two sets of m rows each:
//
//	Σ_{i≠j} (k(x_i, x_j) + k(y_i, y_j)) / (m(m − 1)) − 2 Σ_{i,j} k(x_i, y_j) / m²
func polynomialMMD(x, y *Features) float64 {
	d := float64(x.D)
	cube := func(p float64) float64 { v := p/d + 1; return v * v * v }
	m := float64(x.N)
	within := rowSum(x, x, true, cube) + rowSum(y, y, true, cube)
	return 2*within/(m*(m-1)) - 2*rowSum(x, y, false, cube)/(m*m)
}

// rowSum is Σ kernel(x_i·y_j) over all pairs, or those with j > i.
func rowSum(x, y *Features, above bool, kernel func(product float64) float64) float64 {
	sums := make([]float64, x.N)
	eachRow(x, y, above, func(i int, products []float64) {
		if above {
			products = products[i+1:]
		}
		for _, p := range products {
			sums[i] += kernel(p)
		}
	})
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total
}

// Constants of CMMD: the kernel's bandwidth, and the factor that makes values
// readable.
const (
	CMMDSigma = 10
	CMMDScale = 1000
)

// CMMD is the squared maximum mean discrepancy with the kernel exp(−|x − y|²/2σ²)
// (S. Jayasumana et al., "Rethinking FID", arXiv 2401.09603, Eq. 3, the biased
// estimate of the authors' code), × CMMDScale. It is meant for CLIP embeddings of
// length 1.
func CMMD(x, y *Features) (float64, error) {
	if err := samePair("cmmd", x, y, 1); err != nil {
		return 0, err
	}
	var nx, ny []float64
	var wait sync.WaitGroup
	wait.Go(func() { nx = x.squaredNorms() })
	wait.Go(func() { ny = y.squaredNorms() })
	wait.Wait()
	mean := func(a, b *Features, na, nb []float64, same bool) float64 {
		sums := make([]float64, a.N)
		eachRow(a, b, same, func(i int, products []float64) {
			from := 0
			if same {
				from = i + 1
			}
			for j := from; j < len(products); j++ {
				sums[i] += math.Exp(-(na[i] + nb[j] - 2*products[j]) / (2 * CMMDSigma * CMMDSigma))
			}
		})
		total := 0.0
		for _, s := range sums {
			total += s
		}
		if same {
			total = 2*total + float64(a.N) // the other half, and the diagonal of ones
		}
		return total / float64(a.N) / float64(b.N)
	}
	return CMMDScale * (mean(x, x, nx, nx, true) + mean(y, y, ny, ny, true) - 2*mean(x, y, nx, ny, false)), nil
}
