package pipeline

import (
	"math"
	"testing"

	"immiscible/assign"
	"immiscible/datasets/rng"
	"immiscible/pipeline/analysis"
)

// mixture draws n points of two Gaussian modes in the plane, at (±1, 0) with
// standard deviation 0.3, and the mode of each.
func mixture(seed uint64, n int) (x []float32, labels []int64) {
	x, labels = make([]float32, 2*n), make([]int64, n)
	for i := range n {
		draws := rng.New(seed, "mixture", uint64(i))
		labels[i] = int64(draws.Intn(2))
		x[2*i] = float32(float64(2*labels[i]-1) + 0.3*draws.Normal())
		x[2*i+1] = float32(0.3 * draws.Normal())
	}
	return x, labels
}

func mixtureLaw(t *testing.T, n, rounds int, sets ...string) *PairingLaw {
	t.Helper()
	x, labels := mixture(1, n)
	c := pairingConfig(t, sets...)
	c.Data.NumClasses, c.Noise.PoolSize, c.Train.BatchSize = 2, min(n, 200), min(n, 200)
	l, err := MeasurePairing(c, x, n, 2, labels, rounds)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Miscibility on the mixture, as paper 2 orders it: the clusters of linear
// assignment are further apart than those of KNN, those of KNN further than
// those of independent noise, which are not apart; each by four standard errors.
func TestMixtureMiscibility(t *testing.T) {
	linear := mixtureLaw(t, 200, 200, "noise.pairing=linear", "noise.per_class=false").Clusters
	knn := mixtureLaw(t, 200, 200, "noise.pairing=knn", "noise.knn_k=4").Clusters
	for _, c := range []struct {
		name      string
		more, few assign.Estimate
	}{{"linear over KNN", linear[1], knn[1]}, {"KNN over independent", knn[1], knn[0]}} {
		if d := c.more.Value - c.few.Value; !(d > 4*math.Hypot(c.more.Error, c.few.Error)) {
			t.Errorf("%s: %v and %v", c.name, c.more, c.few)
		}
	}
	if knn[0].Value > 4*knn[0].Error {
		t.Errorf("independent clusters are %v apart, want 0 within four errors", knn[0])
	}
}

// The linear probe reads the mode from noise that was assigned without regard
// to it, and not from noise that was assigned within each mode: C²OT's bias
// (arXiv 2503.10636), and its cure.
func TestMixtureProbe(t *testing.T) {
	blind := mixtureLaw(t, 4000, 0, "noise.pairing=linear", "noise.per_class=false")
	aware := mixtureLaw(t, 4000, 0, "noise.pairing=linear", "noise.per_class=true")
	if p := blind.ClassProbe; p.Value < blind.Chance+0.2 {
		t.Errorf("class-blind: the probe reads %v, chance %v, want far more", p, blind.Chance)
	}
	if p := aware.ClassProbe; math.Abs(p.Value-0.5) > 4*p.Error+0.01 { // of two modes of nearly the same frequency
		t.Errorf("within classes: the probe reads %v, want chance", p)
	}
}

// terminalOf measures estimates of x_T = noisy on the mixture.
func terminalOf(t *testing.T, noisy, estimate []float32, alphasCumprod float64) analysis.Terminal {
	t.Helper()
	x, labels := mixture(2, 2000)
	a := &analyzer{images: x, labels: labels}
	a.config.Data.Channels, a.config.Data.Resolution = 2, 1
	axes, err := a.axes(nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := analysis.MeasureTerminal(noisy, estimate, len(noisy)/2, nil, x, len(labels), nil, *axes, alphasCumprod)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// At the last timestep the optimum of vanilla training on the mixture, which
// has a closed form, is the mean image up to √ᾱ, and its residual is near 0.
// The optimum of immiscible training is not: here the mean of the images that
// linear assignment gave to the noises nearby.
func TestMixtureTerminal(t *testing.T) {
	const n, few, abar = 2000, 300, 4.0e-5 // ᾱ of DDPM's last timestep
	noisy := make([]float32, 2*n)
	for i := range n {
		rng.New(3, "x_T", uint64(i)).FillNormal(noisy[2*i : 2*i+2])
	}
	// x_t given a mode is N(√ᾱ·m, ᾱ·s² + 1 − ᾱ), and x0 given both is m + √ᾱ·s²/(ᾱ·s² + 1 − ᾱ)·(x_t − √ᾱ·m).
	optimum := make([]float32, 2*n)
	signal, variance := math.Sqrt(abar), 0.09*abar+1-abar
	for i := range n {
		x := [2]float64{float64(noisy[2*i]), float64(noisy[2*i+1])}
		right := 1 / (1 + math.Exp(-2*signal*x[0]/variance))
		for k := range 2 {
			for mode, share := range []float64{1 - right, right} {
				m := 0.0
				if k == 0 {
					m = float64(2*mode - 1)
				}
				optimum[2*i+k] += float32(share * (m + signal*0.09/variance*(x[k]-signal*m)))
			}
		}
	}
	vanilla := terminalOf(t, noisy, optimum, abar)
	// The estimate moves by √ᾱ·Var x0·x_T, 0.007 in units of the deviation; the mean of 2,000 points is off by 0.02.
	if vanilla.ImageResidual.Value > 0.06 || vanilla.Residual.Value > 0.06*signal || math.Abs(vanilla.Response.Value) > 0.02 {
		t.Errorf("vanilla optimum: %+v, want nearly 0", vanilla)
	}

	x, labels := mixture(5, 20000)
	c := pairingConfig(t, "noise.pairing=linear", "noise.per_class=false")
	c.Noise.PoolSize, c.Train.BatchSize = 200, 200
	ch := &chooser{config: c}
	var noises []float32
	for at := 0; at < len(labels); at += 200 {
		p := poolOf(x, labels, at, at+200, 2)
		if err := ch.choose(p); err != nil {
			t.Fatal(err)
		}
		noises = append(noises, p.noise...)
	}
	immiscible := make([]float32, 2*few)
	for i := range few {
		var total, sum [2]float64
		for j := range labels {
			dx, dy := float64(noisy[2*i]-noises[2*j]), float64(noisy[2*i+1]-noises[2*j+1])
			weight := math.Exp(-(dx*dx + dy*dy) / (2 * 0.1 * 0.1))
			for k := range 2 {
				total[k] += weight
				sum[k] += weight * float64(x[2*j+k])
			}
		}
		for k := range 2 {
			immiscible[2*i+k] = float32(sum[k] / total[k])
		}
	}
	paired := terminalOf(t, noisy[:2*few], immiscible, abar)
	if paired.ImageResidual.Value < 0.8 || paired.Response.Value < 0.2 || paired.Residual.Value < 10*vanilla.Residual.Value {
		t.Errorf("immiscible optimum: %+v, want another image for every noise", paired)
	}
}
