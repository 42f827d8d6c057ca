package assign

import "math"

// Distances returns the mean Euclidean (not squared) distance of the pairs (x_i, n_i) and of the pairs
// (x_i, n_perm[i]): the number of paper 1's Table 2, for the log. x and noise are [n, dim], n ≥ 1; a nil perm is
// the identity.
func Distances(x, noise []float32, perm []int, n, dim int) (before, after float64) {
	for i := range n {
		before += distance(vector(x, i, dim), vector(noise, i, dim))
		after += distance(vector(x, i, dim), vector(noise, partner(perm, i), dim))
	}
	return before / float64(n), after / float64(n)
}

// SecondMoment returns E|n|²/D, the mean square of all entries of noise: 1 for Gaussian noise, and below 1 for
// noise that KNN chose by l2.
func SecondMoment(noise []float32) float64 { return dot64(noise, noise) / float64(len(noise)) }

// AlongX returns the mean of n_perm[i] · x_i/|x_i|, in standard deviations of Gaussian noise: 0 for independent
// pairing. x and noise are [n, dim]; a nil perm is the identity; an image of length 0 counts as 0.
func AlongX(x, noise []float32, perm []int, n, dim int) float64 {
	var sum float64
	for i := range n {
		v := vector(x, i, dim)
		if length := math.Sqrt(dot64(v, v)); length > 0 {
			sum += dot64(v, vector(noise, partner(perm, i), dim)) / length
		}
	}
	return sum / float64(n)
}

// partner is perm[i], or i where there is no perm.
func partner(perm []int, i int) int {
	if perm == nil {
		return i
	}
	return perm[i]
}

// distance is the Euclidean distance of two vectors.
func distance(x, y []float32) float64 {
	var s [4]float64
	y = y[:len(x)]
	for k, a := range x {
		d := float64(a) - float64(y[k])
		s[k%4] += float64(d * d)
	}
	return math.Sqrt(s[0] + s[1] + (s[2] + s[3]))
}
