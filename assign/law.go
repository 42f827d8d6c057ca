package assign

import (
	"fmt"
	"math"
	"slices"
)

// Estimate is a mean over draws with its standard error.
type Estimate struct {
	Value, Error float64
}

// Law tells how chosen noise differs from N(0, I) independent of image and class, which is what sampling starts
// from. All estimates are over the draws, one an image.
type Law struct {
	Distance     Estimate // |x − n|, Euclidean
	SecondMoment Estimate // E|n|²/D; Gaussian: 1
	AlongX       Estimate // E n·x̂ in standard deviations; independent: 0
	// AlongResidual is AlongX for x less the mean of its class (of all, without labels): the part of the image
	// that the class does not tell.
	AlongResidual Estimate
	// MeanShift is |E n|², with the part that the number of draws alone makes taken off; Gaussian: 0.
	MeanShift Estimate
	// LeadingVariance is the variance of n along each axis of Measure; Gaussian: 1.
	LeadingVariance []Estimate
	// ClassProbe is the share of classes read rightly from the noise by a linear probe: nearest class mean, made on
	// half of the draws and asked on the other half, both ways round. Chance is the share of the commonest class.
	ClassProbe Estimate
	Chance     float64
	// KS is the Kolmogorov–Smirnov statistic of the components along x̂ against N(0, 1), KSP its p-value.
	KS, KSP float64
}

// Measure estimates the law of noise [n, dim], row i of which was chosen for image i of x [n, dim]. axes [any
// number, dim] are unit vectors for LeadingVariance. labels [n] may be nil: then there is no ClassProbe. It wants at
// least two draws.
func Measure(x, noise []float32, n, dim int, labels []int64, axes []float32) (Law, error) {
	var l Law
	if err := checkRows("x", x, n, dim); err != nil {
		return l, err
	}
	if err := checkRows("noise", noise, n, dim); err != nil {
		return l, err
	}
	if n < 2 || len(axes)%dim != 0 || labels != nil && len(labels) != n {
		return l, fmt.Errorf("assign: law of %d draws of %d numbers with %d labels and %d numbers of axes, want 2 draws at least, a label each, and whole axes", n, dim, len(labels), len(axes))
	}
	apart, second := make([]float64, n), make([]float64, n)
	for i := range second {
		apart[i] = distance(vector(x, i, dim), vector(noise, i, dim))
		second[i] = dot64(vector(noise, i, dim), vector(noise, i, dim)) / float64(dim)
	}
	l.Distance, l.SecondMoment = estimate(apart), estimate(second)
	along := components(x, noise, n, dim)
	l.AlongX = estimate(along)
	l.KS, l.KSP = kolmogorovNormal(along)
	l.AlongResidual = estimate(components(residuals(x, n, dim, labels), noise, n, dim))
	l.MeanShift = shift(noise, n, dim)
	for a := range len(axes) / dim {
		l.LeadingVariance = append(l.LeadingVariance, variance(noise, vector(axes, a, dim), n, dim))
	}
	if labels != nil {
		l.ClassProbe, l.Chance = probe(noise, n, dim, labels)
	}
	return l, nil
}

// estimate is the mean with its standard error.
func estimate(x []float64) Estimate {
	n := float64(len(x))
	var mean, square float64
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		square += float64((v - mean) * (v - mean))
	}
	return Estimate{mean, math.Sqrt(square / (n - 1) / n)}
}

// components are n_i·x_i/|x_i|; images of length 0 are left out.
func components(x, noise []float32, n, dim int) []float64 {
	var along []float64
	for i := range n {
		v := vector(x, i, dim)
		if length := math.Sqrt(dot64(v, v)); length > 0 {
			along = append(along, dot64(v, vector(noise, i, dim))/length)
		}
	}
	return along
}

// residuals are the images less the mean of their class.
func residuals(x []float32, n, dim int, labels []int64) []float32 {
	if labels == nil {
		labels = make([]int64, n)
	}
	out := make([]float32, len(x))
	mean := make([]float64, dim)
	for _, members := range groups(labels) {
		clear(mean)
		for _, i := range members {
			for k, v := range vector(x, i, dim) {
				mean[k] += float64(v) / float64(len(members))
			}
		}
		for _, i := range members {
			for k, v := range vector(x, i, dim) {
				out[i*dim+k] = float32(float64(v) - mean[k])
			}
		}
	}
	return out
}

// shift is |mean|² less tr(Σ)/n, which is its expectation where the noise has mean 0. The standard error is that of
// noise with covariance Σ = σ²I: σ²√(2D)/n from chance, and 2σ|mean|/√n once there is a shift.
func shift(noise []float32, n, dim int) Estimate {
	mean, square := make([]float64, dim), 0.0
	for i := range n {
		for k, v := range vector(noise, i, dim) {
			mean[k] += float64(v) / float64(n)
		}
	}
	for i := range n {
		for k, v := range vector(noise, i, dim) {
			d := float64(v) - mean[k]
			square += float64(d * d)
		}
	}
	sigma2 := square / float64(n-1) / float64(dim)
	length := norm64(mean)
	value := float64(length*length) - sigma2*float64(dim)/float64(n)
	chance, pull := sigma2*math.Sqrt(2*float64(dim))/float64(n), 2*math.Sqrt(sigma2*max(0, value)/float64(n))
	return Estimate{value, math.Hypot(chance, pull)}
}

// variance of the noise along a unit vector; the standard error from the fourth moment.
func variance(noise, axis []float32, n, dim int) Estimate {
	c := make([]float64, n)
	for i := range c {
		c[i] = dot64(vector(noise, i, dim), axis)
	}
	mean := estimate(c).Value
	for i := range c {
		c[i] = float64((c[i] - mean) * (c[i] - mean))
	}
	e := estimate(c)
	return Estimate{e.Value * float64(n) / float64(n-1), e.Error}
}

// probe reads the class from the noise.
func probe(noise []float32, n, dim int, labels []int64) (right Estimate, chance float64) {
	hits := make([]float64, n)
	side := make([]int, n) // every other draw of a class
	for _, members := range groups(labels) {
		for k, i := range members {
			side[i] = k % 2
		}
	}
	for half := range 2 {
		var train []int64
		var rows []int
		for i := range n {
			if side[i] == half {
				train, rows = append(train, labels[i]), append(rows, i)
			}
		}
		if len(rows) == 0 {
			continue // every class has one draw: nothing can be read
		}
		classes := groups(train)
		centres := make([]float32, len(classes)*dim)
		offset := make([]float64, len(classes)) // |centre|²/2 less what the number of its members alone makes
		for c, members := range classes {
			mean := make([]float64, dim)
			for _, m := range members {
				for k, v := range vector(noise, rows[m], dim) {
					mean[k] += float64(v) / float64(len(members))
				}
			}
			for k, v := range mean {
				centres[c*dim+k] = float32(v)
			}
			offset[c] = (float64(norm64(mean)*norm64(mean)) - float64(dim)/float64(len(members))) / 2
		}
		for i := range n {
			if side[i] == half {
				continue
			}
			best, at := math.Inf(-1), 0
			for c := range classes {
				if score := dot64(vector(noise, i, dim), vector(centres, c, dim)) - offset[c]; score > best {
					best, at = score, c
				}
			}
			if labels[i] == train[classes[at][0]] {
				hits[i] = 1
			}
		}
	}
	most := 0
	for _, members := range groups(labels) {
		most = max(most, len(members))
	}
	return estimate(hits), float64(most) / float64(n)
}

// kolmogorovNormal is the Kolmogorov–Smirnov test of x against N(0, 1), x in any order. The p-value is the limit
// distribution with M. A. Stephens' correction for finite n (J. Royal Statistical Society B 32 (1970) 115–122).
func kolmogorovNormal(x []float64) (statistic, p float64) {
	if len(x) == 0 {
		return 0, 1
	}
	x = slices.Clone(x)
	slices.Sort(x)
	n := float64(len(x))
	for i, v := range x {
		f := math.Erfc(-v/math.Sqrt2) / 2
		statistic = max(statistic, f-float64(i)/n, float64(i+1)/n-f)
	}
	lambda := (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n)) * statistic
	if lambda < 0.2 {
		return statistic, 1 // the series below is 1 to 12 digits
	}
	sign := 1.0
	for j := 1.0; j <= 100; j++ {
		term := math.Exp(-2 * j * j * lambda * lambda)
		p += 2 * sign * term
		if term < 1e-17 {
			break
		}
		sign = -sign
	}
	return statistic, min(1, max(0, p))
}
