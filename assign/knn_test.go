package assign

import (
	"math"
	"slices"
	"testing"

	"immiscible/assign/assigntest"
)

// literal is the search that KNN replaces: draw the candidates, keep the best. A fraction of K is one more
// candidate with that probability.
func literal(k KNN, dst, x []float32, src Source) {
	candidates := int(k.K)
	if src.Float64() < k.K-float64(candidates) {
		candidates++
	}
	g := make([]float32, len(x))
	least := math.Inf(1)
	for range candidates {
		src.FillNormal(g)
		c := -dot64(g, x)
		if k.Score == "l2" {
			c = 2*c + dot64(g, g)
		}
		if c < least {
			least = c
			copy(dst, g)
		}
	}
}

// TestKNNAgainstLiteralSearch compares the laws of four functions of the chosen noise (component along x, squared
// length, distance, one fixed direction) by two-sample Kolmogorov–Smirnov tests. 11 cases × 4 tests at a
// significance of 1e-5 each.
func TestKNNAgainstLiteralSearch(t *testing.T) {
	const draws = 6000
	critical := math.Sqrt(-math.Log(1e-5/2)/2) * math.Sqrt(2.0/draws)
	for _, c := range []struct {
		k      KNN
		dim    int
		length float64 // |x|/√dim
	}{
		{KNN{2, "l2"}, 48, 1}, {KNN{16, "l2"}, 48, 1}, {KNN{16, "l2"}, 48, 0.1}, {KNN{3.5, "l2"}, 20, 0.5},
		{KNN{8, "l2"}, 1, 1}, {KNN{8, "l2"}, 2, 1}, {KNN{8, "l2"}, 3, 0},
		{KNN{2, "dot"}, 48, 1}, {KNN{16, "dot"}, 48, 0.5}, {KNN{8, "dot"}, 1, 1}, {KNN{8, "dot"}, 3, 0},
	} {
		src := assigntest.NewSource(uint64(100*c.dim) + uint64(c.k.K))
		x := smooth(src, 1, c.dim)
		norm := math.Sqrt(dot64(x, x))
		for i := range x {
			x[i] *= float32(c.length * math.Sqrt(float64(c.dim)) / norm)
		}
		axis := white(src, c.dim)
		var laws [2][4][]float64
		n := make([]float32, c.dim)
		for range draws {
			for way := range laws {
				if way == 0 {
					literal(c.k, n, x, src)
				} else if err := c.k.Draw(n, x, src); err != nil {
					t.Fatal(err)
				}
				for f, value := range []float64{dot64(n, x), dot64(n, n), distance(n, x), dot64(n, axis)} {
					laws[way][f] = append(laws[way][f], value)
				}
			}
		}
		for f, name := range []string{"along x", "squared length", "distance", "fixed direction"} {
			if d := kolmogorov(laws[0][f], laws[1][f]); d > critical {
				t.Errorf("%+v: %s: KS statistic %.4f above %.4f", c, name, d, critical)
			}
		}
	}
}

// kolmogorov is the largest distance between two empirical distribution functions.
func kolmogorov(a, b []float64) (d float64) {
	slices.Sort(a)
	slices.Sort(b)
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x := min(a[i], b[j])
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

// TestKNNRealDot tests the component along x̂ against its law Φ^K for K that are no candidates' number, and the
// remainder against being untouched by the choice: E|n|² = D − 1 + E s².
func TestKNNRealDot(t *testing.T) {
	const draws, dim = 20000, 16
	src := assigntest.NewSource(77)
	x := white(src, dim)
	length := math.Sqrt(dot64(x, x))
	n := make([]float32, dim)
	for _, k := range []float64{1.0001, 1.5, 2.75, 64, 65536, 1e12} {
		s := make([]float64, draws)
		var rest float64
		for i := range s {
			if err := (KNN{k, "dot"}).Draw(n, x, src); err != nil {
				t.Fatal(err)
			}
			s[i] = dot64(n, x) / length
			rest += dot64(n, n) - s[i]*s[i]
		}
		slices.Sort(s)
		var d float64
		for i, v := range s {
			p := math.Exp(k * math.Log1p(-math.Erfc(v/math.Sqrt2)/2))
			d = max(d, math.Abs(p-float64(i)/draws), math.Abs(p-float64(i+1)/draws))
		}
		if critical := math.Sqrt(-math.Log(1e-5/2) / 2 / draws); d > critical {
			t.Errorf("K = %v: KS statistic %.4f above %.4f", k, d, critical)
		}
		if mean := rest / draws; math.Abs(mean-(dim-1)) > 5*math.Sqrt(2.0*(dim-1)/draws) {
			t.Errorf("K = %v: squared remainder %v, want %v", k, mean, dim-1)
		}
	}
}

// TestKNNOne holds K = 1 to FillNormal, bit for bit, and to the same state of the source afterwards.
func TestKNNOne(t *testing.T) {
	x := white(assigntest.NewSource(1), 100)
	for _, score := range []string{"l2", "dot"} {
		a, b := assigntest.NewSource(9), assigntest.NewSource(9)
		want, got := white(a, 100), make([]float32, 100)
		if err := (KNN{1, score}).Draw(got, x, b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) || a.Uint64() != b.Uint64() {
			t.Errorf("%s: K = 1 is not FillNormal", score)
		}
	}
}

// TestKNNFormula holds the mean distance to the formula of reading/method.md §3.2, to a tenth of the reduction, and
// E|n|²/D to the bands of its §5. D = 4,096, unit Gaussian images.
func TestKNNFormula(t *testing.T) {
	const draws, dim = 2000, 4096
	src := assigntest.NewSource(6)
	for _, c := range []struct {
		k            KNN
		m            float64 // E max of k normals
		least, most  float64 // E|n|²/D
		alongAtLeast float64
	}{
		{KNN{64, "l2"}, 2.34, 0.965, 0.977, 1.8}, {KNN{64, "dot"}, 2.34, 0.995, 1.005, 2.3},
	} {
		var before, after, second, along float64
		x, g, n := make([]float32, dim), make([]float32, dim), make([]float32, dim)
		for range draws {
			src.FillNormal(x)
			src.FillNormal(g)
			if err := c.k.Draw(n, x, src); err != nil {
				t.Fatal(err)
			}
			b, _ := Distances(x, g, nil, 1, dim)
			a, _ := Distances(x, n, nil, 1, dim)
			before, after = before+b, after+a
			second += SecondMoment(n) / draws
			along += AlongX(x, n, nil, 1, dim) / draws
		}
		want := c.m * math.Sqrt(2+4) / (2 * 2 * math.Sqrt(dim))
		if c.k.Score == "dot" { // −x·n has 4s²/(2 + 4s²) of the score's variance
			want *= math.Sqrt(4.0 / 6)
		}
		if got := 1 - after/before; math.Abs(got-want) > want/10 {
			t.Errorf("%+v: distance falls by %.5f, want %.5f", c.k, got, want)
		}
		if second < c.least || second > c.most {
			t.Errorf("%+v: second moment %.4f outside [%v, %v]", c.k, second, c.least, c.most)
		}
		if along < c.alongAtLeast {
			t.Errorf("%+v: along x %.3f, want at least %v", c.k, along, c.alongAtLeast)
		}
	}
}

// TestMaxNormal holds quantiles of the normal law and of its maxima to known values and to their definition.
func TestMaxNormal(t *testing.T) {
	for p, want := range map[float64]float64{0.5: 0, 0.975: 1.959963984540054, 0.001: -3.090232306167813} {
		if got := maxNormal(p, 1); math.Abs(got-want) > 1e-14*5 {
			t.Errorf("Φ⁻¹(%v) = %v, want %v", p, got, want)
		}
	}
	for _, k := range []float64{1e-3, 0.5, 1, 2, 63, 65535, 1e9, 1e18, 1e99} {
		for _, u := range []float64{1e-300, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1 - 0x1p-53} {
			s := maxNormal(u, k)
			if math.Log(u)/k < -700 {
				if !math.IsInf(s, -1) {
					t.Errorf("u = %v, k = %v: %v, want −Inf", u, k, s)
				}
				continue
			}
			logP := math.Log1p(-math.Erfc(s/math.Sqrt2) / 2)
			if s < 0 {
				logP = math.Log(math.Erfc(-s/math.Sqrt2) / 2)
			}
			if got, want := k*logP, math.Log(u); math.Abs(got-want) > 1e-9*math.Abs(want)+1e-300 {
				t.Errorf("u = %v, k = %v: s = %v has log-probability %v, want %v", u, k, s, got, want)
			}
		}
	}
}

func TestKNNErrors(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	x := []float32{1, 2}
	for _, c := range []struct {
		k      KNN
		dst, x []float32
	}{
		{KNN{0.5, "dot"}, x, x}, {KNN{nan, "dot"}, x, x}, {KNN{inf, "dot"}, x, x}, {KNN{-1, "l2"}, x, x}, {KNN{1e12, "l2"}, x, x},
		{KNN{4, ""}, x, x}, {KNN{4, "cosine"}, x, x},
		{KNN{4, "l2"}, x[:1], x}, {KNN{4, "l2"}, nil, nil}, {KNN{4, "l2"}, make([]float32, 2), []float32{1, float32(nan)}},
		{KNN{1, "dot"}, make([]float32, 2), []float32{float32(inf), 0}},
	} {
		src := assigntest.NewSource(4)
		if err := c.k.Draw(c.dst, c.x, src); err == nil {
			t.Errorf("%+v for %v: no error", c.k, c.x)
		}
		if src.Uint64() != assigntest.NewSource(4).Uint64() {
			t.Errorf("%+v: an error after drawing", c.k)
		}
	}
}

// BenchmarkKNN times one image of 4,096 entries.
func BenchmarkKNN(b *testing.B) {
	src := assigntest.NewSource(1)
	x, n := white(src, 4096), make([]float32, 4096)
	for name, k := range map[string]KNN{"independent": {1, "l2"}, "l2-64": {64, "l2"}, "l2-65536": {65536, "l2"}, "dot-65536": {65536, "dot"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := k.Draw(n, x, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAnnealed(t *testing.T) {
	for _, c := range []struct {
		k, end      float64
		step, steps int64
		want        float64
	}{
		{64, 1, 0, 3000, 64}, {64, 1, 3000, 3000, 1}, {64, 1, 9999, 3000, 1}, {64, 1, 1500, 3000, 8}, {64, 1, 1000, 3000, 16},
		{64, 1, 500, 0, 64}, {2, 32, 1, 2, 8}, {8, 8, 3, 7, 8},
	} {
		if got := Annealed(c.k, c.end, c.step, c.steps); math.Abs(got-c.want) > 1e-12*c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
	if got := Annealed(64.5, 1, 10, 10); got != 1 {
		t.Errorf("ends at %v, want exactly 1", got)
	}
}
