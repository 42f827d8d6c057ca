package assign

import (
	"fmt"
	"math"
)

// leastDeviation bounds the standard deviation that Standardised divides by, as the diffusion-policy paper does.
const leastDeviation = 1e-6

// Standardised returns a copy of x [n, dim] in which each coordinate has mean 0 and variance 1 over the n rows, the
// variance counted with n. A coordinate whose standard deviation is below 1e-6 is divided by 1e-6: one that is
// constant becomes 0.
func Standardised(x []float32, n, dim int) []float32 {
	mean, square := make([]float64, dim), make([]float64, dim)
	for i := range n {
		for k, v := range vector(x, i, dim) {
			mean[k] += float64(v) / float64(n)
		}
	}
	for i := range n {
		for k, v := range vector(x, i, dim) {
			d := float64(v) - mean[k]
			square[k] += float64(d * d)
		}
	}
	out := make([]float32, len(x))
	for i := range n {
		for k, v := range vector(x, i, dim) {
			out[i*dim+k] = float32((float64(v) - mean[k]) / max(leastDeviation, math.Sqrt(square[k]/float64(n))))
		}
	}
	return out
}

// PairSequences pairs sequences [batch, steps, width] with noise of the same shape, whole noises at a time, on
// coordinates standardised over the batch (Immiscible Diffusion Policy, arXiv 2610.09369). Before epoch start the
// pairing is the identity: the paper trains without assignment first, lest the policy drop modes.
func PairSequences(x, noise []float32, batch, steps, width, epoch, start int, o Options) (perm []int, err error) {
	if batch < 1 || steps < 1 || width < 1 {
		return nil, fmt.Errorf("assign: sequences of shape [%d, %d, %d], want at least 1 of each", batch, steps, width)
	}
	if epoch >= start {
		o.Standardise = true
		return Pair(x, noise, batch, steps*width, nil, o)
	}
	if err := checkRows("x", x, batch, steps*width); err != nil {
		return nil, err
	}
	perm = make([]int, batch)
	for i := range perm {
		perm[i] = i
	}
	return perm, nil
}
