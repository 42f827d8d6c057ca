package assign

import (
	"math"
	"testing"

	"immiscible/assign/assigntest"
)

// within fails unless an estimate is within 5 of its standard errors of what it should be.
func within(t *testing.T, what string, e Estimate, want float64) {
	t.Helper()
	if !(math.Abs(e.Value-want) <= 5*e.Error) || !(e.Error > 0) {
		t.Errorf("%s: %.4f ± %.4f, want %.4f", what, e.Value, e.Error, want)
	}
}

// TestMeasure plants what Measure is to find: a mean, a stretched axis, a component along the image, a class.
func TestMeasure(t *testing.T) {
	src := assigntest.NewSource(61)
	const n, dim = 4000, 40
	x, noise, labels := white(src, n*dim), white(src, n*dim), make([]int64, n)
	axes := make([]float32, 2*dim)
	axes[3], axes[dim+7] = 1, 1
	for i := range labels {
		labels[i] = int64(i % 5)
	}
	gaussian, err := Measure(x, noise, n, dim, labels, axes)
	if err != nil {
		t.Fatal(err)
	}
	if before, _ := Distances(x, noise, nil, n, dim); math.Abs(gaussian.Distance.Value-before) > 1e-9*before {
		t.Errorf("distance %v, want %v", gaussian.Distance.Value, before)
	}
	within(t, "second moment", gaussian.SecondMoment, 1)
	within(t, "along x", gaussian.AlongX, 0)
	within(t, "along the residual", gaussian.AlongResidual, 0)
	within(t, "mean shift", gaussian.MeanShift, 0)
	within(t, "variance", gaussian.LeadingVariance[0], 1)
	within(t, "probe", gaussian.ClassProbe, 0.2)
	if gaussian.KSP < 1e-6 || math.Abs(gaussian.Chance-0.2) > 1e-9 {
		t.Errorf("p %v, chance %v", gaussian.KSP, gaussian.Chance)
	}
	if want := math.Sqrt(2.0 / dim / n); math.Abs(gaussian.SecondMoment.Error/want-1) > 0.2 {
		t.Errorf("standard error of the second moment %v, want %v", gaussian.SecondMoment.Error, want)
	}
	if want := math.Sqrt(2.0 / n); math.Abs(gaussian.LeadingVariance[0].Error/want-1) > 0.2 {
		t.Errorf("standard error of a variance %v, want %v", gaussian.LeadingVariance[0].Error, want)
	}

	for i := range n {
		v := vector(x, i, dim)
		length := math.Sqrt(dot64(v, v))
		row := vector(noise, i, dim)
		row[3] *= 2 // variance 4 along the first axis
		row[11] += 0.5
		row[12+labels[i]] += 3
		for k := range row {
			row[k] += float32(1.5 * float64(v[k]) / length)
		}
	}
	planted, err := Measure(x, noise, n, dim, labels, axes)
	if err != nil {
		t.Fatal(err)
	}
	// Independent of the rest, the component along x̂ adds 1.5²/D to the variance of each axis, and a class 9·0.16.
	within(t, "planted along x", planted.AlongX, 1.5)
	within(t, "planted shift", planted.MeanShift, 0.25+5*0.6*0.6)
	within(t, "planted variance", planted.LeadingVariance[0], 4+1.5*1.5/dim)
	within(t, "unplanted variance", planted.LeadingVariance[1], 1+1.5*1.5/dim)
	if planted.ClassProbe.Value < 0.8 || planted.KSP > 1e-12 {
		t.Errorf("probe %v, p %v: want what was planted", planted.ClassProbe, planted.KSP)
	}
	if _, err := Measure(x, noise, n, dim, labels[1:], nil); err == nil {
		t.Error("a label too few was accepted")
	}
}

// TestKolmogorov holds p-values to the tables of the limit distribution (N. Smirnov, Ann. Math. Statist. 19 (1948)
// 279–281): 0.05 at 1.36, 0.01 at 1.63, and the statistic to one by hand.
func TestKolmogorov(t *testing.T) {
	if d, _ := kolmogorovNormal([]float64{0, math.Inf(-1)}); math.Abs(d-0.5) > 1e-15 {
		t.Errorf("statistic %v, want ½", d)
	}
	for _, c := range []struct{ lambda, p float64 }{{1.36, 0.0495}, {1.63, 0.0098}, {0.5, 0.9639}} {
		n := 100000
		d := c.lambda / (math.Sqrt(float64(n)) + 0.12 + 0.11/math.Sqrt(float64(n)))
		x := make([]float64, n)
		for i := range x { // quantiles, all too low by d
			p := (float64(i)+0.5)/float64(n) - (d - 0.5/float64(n))
			switch {
			case p <= 1e-12:
				x[i] = -10
			case p < 0.5:
				x[i] = -upperQuantile(p)
			default:
				x[i] = upperQuantile(1 - p)
			}
		}
		if _, p := kolmogorovNormal(x); math.Abs(p-c.p) > 2e-4 {
			t.Errorf("λ = %v: p = %v, want %v", c.lambda, p, c.p)
		}
	}
}

// TestClassBias is the reason for pairing within classes (C²OT, arXiv 2503.10636): paired at large, noise tells the
// class of an image; within classes it does not.
func TestClassBias(t *testing.T) {
	src := assigntest.NewSource(62)
	const pools, n, dim = 8, 250, 30
	var laws [2]Law
	for k := range laws {
		var x, noise []float32
		var labels []int64
		for range pools {
			a, b := skewed(src, n, dim)
			drawn := white(src, n*dim)
			var own []int64
			if k == 1 {
				own = b
			}
			perm, err := Pair(a, drawn, n, dim, own, Options{Cost: CostL2Sq})
			if err != nil {
				t.Fatal(err)
			}
			x, labels, noise = append(x, a...), append(labels, b...), append(noise, gather(drawn, perm, dim)...)
		}
		var err error
		if laws[k], err = Measure(x, noise, pools*n, dim, labels, nil); err != nil {
			t.Fatal(err)
		}
		shift := laws[k].MeanShift // the noises are those that were drawn
		if math.Abs(shift.Value) > 5*shift.Error {
			t.Errorf("shift %v, want 0", shift)
		}
	}
	if blind := laws[0]; blind.ClassProbe.Value < blind.Chance+0.1 {
		t.Errorf("class-blind pairing: probe %v at chance %v, want the bias", blind.ClassProbe, blind.Chance)
	}
	if aware := laws[1]; aware.ClassProbe.Value > aware.Chance+4*aware.ClassProbe.Error {
		t.Errorf("pairing within classes: probe %v at chance %v", aware.ClassProbe, aware.Chance)
	}
}

// TestWhitenedLaw is the table of design §7 on toy data whose law is known: chosen by inner product along the
// whitened direction from the class's mean, noise has mean 0, no class, and variance 1 + (E s² − 1)/D along every
// direction; along the image itself it has all three defects.
func TestWhitenedLaw(t *testing.T) {
	src := assigntest.NewSource(63)
	const n, dim, k = 12000, 40, 64
	x, labels := skewed(src, n, dim)
	d := Directions{Dim: dim, Means: make([]float32, 3*dim), Principal: make([]float32, 3*dim), Deviation: []float32{8, 4, 2}, Rest: 1}
	axes := d.Principal
	for c := range 3 {
		d.Means[c*dim+3+c] = 10
		d.Principal[c*dim+c] = 1
	}
	bare, whitened := make([]float32, n*dim), make([]float32, n*dim)
	direction := make([]float32, dim)
	for i := range n {
		if err := d.Along(direction, vector(x, i, dim), labels[i]); err != nil {
			t.Fatal(err)
		}
		if err := (KNN{k, "dot"}).Draw(vector(whitened, i, dim), direction, src); err != nil {
			t.Fatal(err)
		}
		if err := (KNN{k, "dot"}).Draw(vector(bare, i, dim), vector(x, i, dim), src); err != nil {
			t.Fatal(err)
		}
	}
	law, err := Measure(x, whitened, n, dim, labels, axes)
	if err != nil {
		t.Fatal(err)
	}
	s2 := maxNormalMoment(k, 2)
	within(t, "shift", law.MeanShift, 0)
	within(t, "second moment", law.SecondMoment, 1+(s2-1)/dim)
	within(t, "probe", law.ClassProbe, law.Chance)
	for _, v := range law.LeadingVariance {
		within(t, "variance", v, 1+(s2-1)/dim)
	}
	raw, err := Measure(x, bare, n, dim, labels, axes)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "raw second moment", raw.SecondMoment, 1+(s2-1)/dim)
	within(t, "raw along x", raw.AlongX, maxNormalMoment(k, 1))
	if raw.MeanShift.Value < 0.5 || raw.LeadingVariance[0].Value < 1.5 || raw.ClassProbe.Value < raw.Chance+0.1 {
		t.Errorf("along the image itself: %+v, want shift, stretch and bias", raw)
	}
}

// maxNormalMoment is E s^m of the largest s of k normals, from its quantiles at 200,000 even steps.
func maxNormalMoment(k float64, m int) (moment float64) {
	const steps = 200000
	for i := range steps {
		moment += math.Pow(maxNormal((float64(i)+0.5)/steps, k), float64(m)) / steps
	}
	return moment
}
