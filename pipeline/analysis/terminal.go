package analysis

import (
	"fmt"
	"math"

	"immiscible/assign"
)

// Terminal holds estimates of the image at the last timestep T against what
// vanilla training would have there. Noise that is independent of the image
// tells nothing of it, so that the best estimate is the mean image, and the best
// prediction of the noise (arXiv 2406.12303, §3)
//
//	ε* = a·E x0 + b·x_T,  a = −√ᾱ/√(1−ᾱ),  b = 1/√(1−ᾱ)
//
// Noise that was chosen for its image tells of it, and the best estimate is
// another image for every noise.
type Terminal struct {
	// Residual is the root mean square of ε − ε* over numbers, ε being the noise that goes with the estimate.
	Residual assign.Estimate
	// ImageResidual is the same of the estimate: that of denoised − E x0, in units of the images' own deviation
	// from their mean. 0: the mean whatever the noise; 1: as far from it as an image is.
	ImageResidual assign.Estimate
	// Response is how far the estimate follows the noise along the directions of axes, beyond what it does along
	// the others: the mean of E (denoised·v)(x_T·v) less that of all other directions, in units of the images'
	// standard deviation along v. Where the estimate along v is its mean + ρ·deviation·(x_T·v), and along others
	// nothing, it is ρ. What a network gives back of the noise in all directions alike, which 1/√ᾱ blows up, is no
	// answer of an image and cancels.
	Response assign.Estimate
}

// MeasureTerminal compares estimates denoised [n, dim], of x_T noisy [n, dim],
// with the means of the groups of images [m, dim]. axes are the directions of
// the images about these means (see assign.Directions.Whitening); alphasCumprod is ᾱ_T.
func MeasureTerminal(noisy, denoised []float32, n int, groups []int64, images []float32, m int, imageGroups []int64, axes assign.Directions, alphasCumprod float64) (Terminal, error) {
	var t Terminal
	dim := axes.Dim
	means := axes.Means
	count := len(means) / dim
	if len(noisy) != n*dim || len(denoised) != n*dim || len(images) != m*dim {
		return t, fmt.Errorf("terminal: %d noises of %d numbers and %d estimates of %d, want as many", len(noisy)/dim, dim, len(denoised)/dim, dim)
	}
	for i := range n {
		if g := groupOf(groups, i); count > 1 && g >= int64(count) {
			return t, fmt.Errorf("terminal: no image of class %d, want classes 0…%d", g, count-1)
		}
	}
	meanOf := func(groups []int64, i int) []float32 {
		g := 0
		if count > 1 {
			g = int(groupOf(groups, i))
		}
		return means[g*dim : (g+1)*dim]
	}
	spread := 0.0 // mean of |x0 − mean|²/dim
	for i := range m {
		spread += squareOfDifference(images[i*dim:(i+1)*dim], meanOf(imageGroups, i)) / float64(dim*m)
	}
	if !(spread > 0) {
		return t, fmt.Errorf("terminal: the images of a class are all alike, want some that differ")
	}
	squares, responses := make([]float64, n), make([]float64, n)
	for i := range n {
		row, noise, mean := denoised[i*dim:(i+1)*dim], noisy[i*dim:(i+1)*dim], meanOf(groups, i)
		squares[i] = squareOfDifference(row, mean) / float64(dim)
		// The product with the noise along each direction, and what is left of the whole for all others.
		var rest float64
		for k, v := range row {
			rest += (float64(v) - float64(mean[k])) * float64(noise[k])
		}
		follow := make([]float64, len(axes.Deviation))
		for r := range follow {
			var estimate, along float64
			for k, v := range axes.Principal[r*dim : (r+1)*dim] {
				estimate += float64(v) * (float64(row[k]) - float64(mean[k]))
				along += float64(v) * float64(noise[k])
			}
			follow[r] = estimate * along
			rest -= follow[r]
		}
		if others := dim - len(follow); others > 0 {
			rest /= float64(others)
		} else {
			rest = 0
		}
		for r, f := range follow {
			if deviation := float64(axes.Deviation[r]); deviation > 0 {
				responses[i] += (f - rest) / deviation / float64(len(follow))
			}
		}
	}
	t.Response = MeanOf(responses)
	square := MeanOf(squares)
	root := math.Sqrt(square.Value)
	in := func(unit float64) assign.Estimate {
		e := assign.Estimate{Value: root * unit}
		if root > 0 {
			e.Error = square.Error / (2 * root) * unit
		}
		return e
	}
	t.ImageResidual = in(1 / math.Sqrt(spread))
	t.Residual = in(math.Sqrt(alphasCumprod / (1 - alphasCumprod)))
	return t, nil
}

func squareOfDifference(a, b []float32) (sum float64) {
	for k, v := range a {
		d := float64(v) - float64(b[k])
		sum += d * d
	}
	return sum
}

// Posterior is E[x0 | x_t, group] [n, dim] where x0 is one of images [m, dim],
// each as likely, and noise is independent of it: what the optimum of vanilla
// training estimates. Image j weighs exp(−|x_t − √ᾱ·x_j|²/2(1−ᾱ)).
func Posterior(noisy []float32, n int, groups []int64, images []float32, m, dim int, imageGroups []int64, alphasCumprod float64) ([]float32, error) {
	out := make([]float32, n*dim)
	lengths := squaredLengths(images, m, dim)
	signal, variance := math.Sqrt(alphasCumprod), 1-alphasCumprod
	products, weights := make([]float32, m), make([]float64, m)
	sum := make([]float64, dim)
	for i := range n {
		if err := assign.MatrixProduct(noisy[i*dim:(i+1)*dim], images, 1, m, dim, products); err != nil {
			return nil, err
		}
		most := math.Inf(-1)
		for j := range weights {
			weights[j] = math.Inf(-1)
			if groups == nil || groups[i] == imageGroups[j] {
				weights[j] = (signal*float64(products[j]) - alphasCumprod*lengths[j]/2) / variance
			}
			most = max(most, weights[j])
		}
		if math.IsInf(most, -1) {
			return nil, fmt.Errorf("posterior: no image of class %d", groups[i])
		}
		total := 0.0
		clear(sum)
		for j, w := range weights {
			if w -= most; w < -40 { // less than 1e-17 of the largest
				continue
			}
			w = math.Exp(w)
			total += w
			for k, v := range images[j*dim : (j+1)*dim] {
				sum[k] += w * float64(v)
			}
		}
		for k, v := range sum {
			out[i*dim+k] = float32(v / total)
		}
	}
	return out, nil
}
