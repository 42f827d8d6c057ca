package analysis

import (
	"math"
	"testing"

	"immiscible/assign"
	"immiscible/datasets/rng"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s: %v, want %v ± %v", what, got, want, within)
	}
}

// Figures that can be worked out by hand.
func TestByHand(t *testing.T) {
	// Two groups of two images of two numbers, each 1 from its group's mean in one number.
	x := []float32{1, 0, -1, 0, 5, 6, 5, 4}
	groups := []int64{0, 0, 1, 1}
	spread, err := Spread(x, 4, 2, groups)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "spread within groups", spread, 1, 1e-12) // four squares of 1 over (4 − 2 groups) · 2 numbers
	all, err := Spread(x, 4, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "spread", all, math.Sqrt((27+27)/6.), 1e-12) // both numbers: squares 1, 1, 25, 25 and 0, 0, 36, 16, less 4·2.5²
	if alone, err := Spread(x[:2], 1, 2, nil); err != nil || alone != 0 {
		t.Errorf("spread of one image: %v (%v)", alone, err)
	}
	if _, err := Spread(x, 4, 2, []int64{0, 0, 1, -1}); err == nil {
		t.Error("a group below 0 passed")
	}

	distances, err := Nearest([]float32{1, 1, 4, 4}, 2, x, 4, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "nearest to (1, 1)", distances[0], 1, 1e-6)
	near(t, "nearest to (4, 4)", distances[1], 1, 1e-6)
	if distances, err = Nearest(x, 4, x, 4, 2, true); err != nil {
		t.Fatal(err)
	}
	for _, d := range distances {
		near(t, "nearest but itself", d, 2, 1e-6)
	}
	near(t, "pairs", PairDistance([]float32{0, 0, 3, 4, 3, 0}, 3, 2), (5+3+4)/3., 1e-12)

	e := MeanOf([]float64{1, 2, 3, 6})
	near(t, "mean", e.Value, 3, 1e-12)
	near(t, "its error", e.Error, math.Sqrt(14/3./4), 1e-12)
}

// The halves of the plane have centres 2·√(2/π) apart, halves by lot have none,
// and clusters of different groups, or of one row, are not compared.
func TestClusterDistance(t *testing.T) {
	const n, dim = 6000, 5
	noise, half, lot := make([]float32, n*dim), make([]int, n), make([]int, n)
	for i := range n {
		row := noise[i*dim : (i+1)*dim]
		rng.New(2, "noise", uint64(i)).FillNormal(row)
		if row[0] > 0 {
			half[i] = 1
		}
		lot[i] = i % 3
	}
	halves := ClusterDistance(noise, n, dim, half, []int64{0, 0, 0})
	near(t, "halves", halves.Value, 2*math.Sqrt(2/math.Pi), 0.1) // a centre's error is √(5/3000) = 0.04
	// The square's standard deviation is √(2·5)·2/2000 for clusters of 2,000.
	if d := ClusterDistance(noise, n, dim, lot, []int64{0, 0, 0}); d.Value > math.Sqrt(4*math.Sqrt(10)*2/2000) {
		t.Errorf("by lot: %v, want nearly 0", d)
	}
	if d := ClusterDistance(noise, n, dim, half, []int64{0, 1}); d != (assign.Estimate{}) {
		t.Errorf("of two groups: %v, want nothing", d)
	}
	if d := ClusterDistance(noise[:3*dim], 3, dim, []int{0, 0, 1}, []int64{0, 0}); d != (assign.Estimate{}) {
		t.Errorf("of one row: %v, want nothing", d)
	}
	if j := NearestOf([]float32{2, 2}, []float32{0, 0, 3, 3, 1, 2}, 3, 2); j != 2 {
		t.Errorf("nearest is row %d, want 2", j)
	}
}

// Of two images x and −x the posterior mean is x·tanh(√ᾱ·⟨x_t, x⟩/(1−ᾱ)).
func TestPosterior(t *testing.T) {
	images := []float32{1, 2, -1, -2, 9, 9}
	groups := []int64{0, 0, 1}
	noisy := []float32{0.3, -0.5, 2, 1, -0.2, -0.1}
	for _, abar := range []float64{4e-5, 0.1, 0.9} {
		got, err := Posterior(noisy, 3, []int64{0, 0, 0}, images, 3, 2, groups, abar)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			product := float64(noisy[2*i]) + 2*float64(noisy[2*i+1])
			share := math.Tanh(math.Sqrt(abar) * product / (1 - abar))
			near(t, "first number", float64(got[2*i]), share, 1e-6)
			near(t, "second number", float64(got[2*i+1]), 2*share, 2e-6)
		}
	}
	if _, err := Posterior(noisy, 3, []int64{2, 0, 0}, images, 3, 2, groups, 0.5); err == nil {
		t.Error("a class without an image passed")
	}
}

// An estimate that follows the noise by ρ along one direction has ρ for its
// response, whatever it gives back of the noise in all directions; the mean has
// no residual, and the residual of the noise is that of the image in other units.
func TestMeasureTerminal(t *testing.T) {
	const n, dim, rho, abar = 4000, 8, 0.6, 0.01
	axes := assign.Directions{Dim: dim, Means: []float32{1, 0, 0, 0, 0, 0, 0, 0}, Principal: []float32{0, 1, 0, 0, 0, 0, 0, 0}, Deviation: []float32{2}}
	images := []float32{1, 2, 0, 0, 0, 0, 0, 0, 1, -2, 0, 0, 0, 0, 0, 0} // ± 2 along the direction: |x − mean|²/dim = 0.5
	noisy, mean, follow := make([]float32, n*dim), make([]float32, n*dim), make([]float32, n*dim)
	for i := range n {
		row := noisy[i*dim : (i+1)*dim]
		rng.New(1, "x_T", uint64(i)).FillNormal(row)
		mean[i*dim], follow[i*dim] = 1, 1
		follow[i*dim+1] = rho * 2 * row[1]
		for k, v := range row {
			follow[i*dim+k] += 3 * v
		}
	}
	of := func(estimate []float32) Terminal {
		m, err := MeasureTerminal(noisy, estimate, n, nil, images, 2, nil, axes, abar)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := of(mean); m != (Terminal{}) {
		t.Errorf("the mean: %+v, want zeros", m)
	}
	m := of(follow)
	near(t, "response", m.Response.Value, rho, 4*m.Response.Error)
	square := ((3+2*rho)*(3+2*rho) + 7*9) / 8.
	near(t, "image residual", m.ImageResidual.Value, math.Sqrt(square/0.5), 4*m.ImageResidual.Error)
	near(t, "residual", m.Residual.Value, m.ImageResidual.Value*math.Sqrt(0.5*abar/(1-abar)), 1e-9)
	if m.Response.Error > 0.15 || m.ImageResidual.Error > 0.1 {
		t.Errorf("errors %v and %v are larger than 4,000 noises give", m.Response.Error, m.ImageResidual.Error)
	}
	if _, err := MeasureTerminal(noisy, mean, n, nil, images[:dim], 1, nil, assign.Directions{Dim: dim, Means: images[:dim]}, abar); err == nil {
		t.Error("images without any deviation passed")
	}
}
