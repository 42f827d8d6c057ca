package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"immiscible/pipeline/npy"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: got %.12g, want %.12g (± %g)", what, got, want, tolerance)
	}
}

// set makes features of rows that f fills.
func set(t *testing.T, n, d int, f func(i, k int) float64) *Features {
	t.Helper()
	rows := make([]float64, n*d)
	for i := range n {
		for k := range d {
			rows[i*d+k] = f(i, k)
		}
	}
	s, err := NewFeatures(n, d, rows)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func normal(t *testing.T, r *rand.Rand, n, d int) *Features {
	return set(t, n, d, func(int, int) float64 { return r.NormFloat64() })
}

func moments(t *testing.T, f *Features) Moments {
	t.Helper()
	g := NewGaussian(f.D)
	if err := g.AddFeatures(f); err != nil {
		t.Fatal(err)
	}
	m, err := g.Moments()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func frechet(t *testing.T, a, b Moments) float64 {
	t.Helper()
	d, err := Frechet(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Two dimensions have a closed form for any pair of covariances: the eigenvalues
// of S₁S₂ have product det S₁ det S₂ and sum tr S₁S₂, so that the trace of the
// root is √(tr S₁S₂ + 2√(det S₁ det S₂)).
func TestFrechetClosedForms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for range 50 {
		var m [2]Moments
		for i := range m {
			a, b, c := r.Float64()+0.5, r.Float64()+0.5, r.NormFloat64()
			m[i] = Moments{Mean: []float64{r.NormFloat64(), r.NormFloat64()}, Cov: []float64{a * a, a * c, a * c, c*c + b*b}}
		}
		s, u := m[0].Cov, m[1].Cov
		det := func(s []float64) float64 { return s[0]*s[3] - s[1]*s[2] }
		root := math.Sqrt(s[0]*u[0] + 2*s[1]*u[1] + s[3]*u[3] + 2*math.Sqrt(det(s)*det(u)))
		want := s[0] + s[3] + u[0] + u[3] - 2*root
		for j := range 2 {
			want += (m[0].Mean[j] - m[1].Mean[j]) * (m[0].Mean[j] - m[1].Mean[j])
		}
		near(t, "two dimensions", frechet(t, m[0], m[1]), want, 1e-12)
	}
	// Commuting covariances: Σ (√a − √b)² over their common directions, here the
	// axes, two of which one of the sets does not have.
	const d = 40
	a, b := Moments{Mean: make([]float64, d), Cov: make([]float64, d*d)}, Moments{Mean: make([]float64, d), Cov: make([]float64, d*d)}
	want := 0.0
	for j := range d {
		x, y := float64(j), float64(2*j)+1
		if j == 7 {
			y = 0
		}
		a.Mean[j], a.Cov[j*d+j], b.Cov[j*d+j] = 0.1, x, y
		want += 0.01 + (math.Sqrt(x)-math.Sqrt(y))*(math.Sqrt(x)-math.Sqrt(y))
	}
	near(t, "diagonal", frechet(t, a, b), want, 1e-12)
	zero := Moments{Mean: make([]float64, d), Cov: make([]float64, d*d)}
	near(t, "a point", frechet(t, a, zero), 0.01*d+d*(d-1)/2, 1e-12)
}

// A set from itself: 0, whatever its rank and scale.
func TestFrechetOfItself(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	for _, shape := range [][2]int{{500, 64}, {20, 64}, {2, 64}, {300, 1}} {
		for _, scale := range []float64{1e-3, 1, 1e3} {
			f := set(t, shape[0], shape[1], func(_, k int) float64 { return scale * (r.NormFloat64()*math.Pow(0.8, float64(k)) + 3) })
			near(t, fmt.Sprint(shape, scale), frechet(t, moments(t, f), moments(t, f))/scale/scale, 0, 1e-10)
		}
	}
}

type goldens map[string]map[string]float64

func readGoldens(t *testing.T) (goldens, map[string]*Features) {
	t.Helper()
	raw, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "made_by")
	g := goldens{}
	for name, text := range all {
		var values map[string]float64
		if err := json.Unmarshal(text, &values); err != nil {
			t.Fatal(err)
		}
		g[name] = values
	}
	a, err := npy.OpenArchive("testdata/features.npz")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	sets := map[string]*Features{}
	for _, name := range a.Names {
		array, err := a.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if sets[name], err = NewFeatures(array.Shape[0], array.Shape[1], array.Data.([]float32)); err != nil {
			t.Fatal(err)
		}
	}
	return g, sets
}

// Published implementations on the same features. They agree with each other to
// 1e-7 on sets with fewer rows than numbers, where pytorch-fid takes the root of
// a singular product, and to 1e-12 elsewhere.
func TestPublishedImplementations(t *testing.T) {
	g, sets := readGoldens(t)
	x, y := sets["generated"], sets["reference"]
	first := y.Select(slices.Collect(func(yield func(int) bool) {
		for i := range 200 {
			if !yield(i) {
				return
			}
		}
	}))
	check := func(name string, got, tolerance float64) {
		t.Helper()
		if len(g[name]) == 0 {
			t.Errorf("no golden %s", name)
		}
		for by, want := range g[name] {
			near(t, name+" by "+by, got, want, tolerance)
		}
	}
	check("fid_full_rank", frechet(t, moments(t, x), moments(t, y)), 1e-10)
	check("fid_rank_deficient", frechet(t, moments(t, sets["few"]), moments(t, sets["fewer"])), 1e-7)
	k, err := ComputeKID(x, first, 100, 1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	check("kid", k.Mean, 1e-12)
	c, err := CMMD(x, y)
	if err != nil {
		t.Fatal(err)
	}
	check("cmmd", c, 1e-10)
	score, err := CLIPScore(x, first)
	if err != nil {
		t.Fatal(err)
	}
	check("clipscore", score, 1e-10)
	for _, k := range []int{3, 5} {
		pr, dc, err := Neighbours(x, y, k)
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]float64{"precision": pr.Precision, "recall": pr.Recall, "density": dc.Density, "coverage": dc.Coverage} {
			near(t, fmt.Sprintf("%s k=%d by prdc", name, k), got, g["prdc"][fmt.Sprintf("%s_%d", name, k)], 1e-12)
		}
		if k == 5 {
			near(t, "precision by torch-fidelity", pr.Precision, g["torch-fidelity"]["precision_5"], 1e-6)
			near(t, "recall by torch-fidelity", pr.Recall, g["torch-fidelity"]["recall_5"], 1e-6)
		}
	}
}

// Statistics as pytorch-fid saves them are those of the same rows.
func TestStatisticsOfPyTorchFID(t *testing.T) {
	_, sets := readGoldens(t)
	a, err := npy.OpenArchive("testdata/statistics.npz")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m := moments(t, sets["reference"])
	for name, got := range map[string][]float64{"mu": m.Mean, "sigma": m.Cov} {
		array, err := a.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range array.Data.([]float64) {
			near(t, name, got[i], want, 1e-13)
		}
	}
}

// Cutting rows into calls changes no bit; merging changes rounding only; a mean
// far from 0 costs no digits; and the definition, computed naively, agrees.
func TestGaussianStreamsAndMerges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	const n, d = 700, 37
	rows := make([]float64, n*d)
	for i := range rows {
		rows[i] = 1e6 + r.NormFloat64()
	}
	all, pieces, left, right := NewGaussian(d), NewGaussian(d), NewGaussian(d), NewGaussian(d)
	for at := 0; at < n; {
		k := min(1+r.IntN(90), n-at)
		if err := pieces.Add(rows[at*d : (at+k)*d]); err != nil {
			t.Fatal(err)
		}
		at += k
	}
	for _, part := range []struct {
		g    *Gaussian
		rows []float64
	}{{all, rows}, {left, rows[:251*d]}, {right, rows[251*d:]}} {
		if err := part.g.Add(part.rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := left.Merge(right); err != nil {
		t.Fatal(err)
	}
	want, err := all.Moments()
	if err != nil {
		t.Fatal(err)
	}
	same, _ := pieces.Moments()
	merged, _ := left.Moments()
	if !slices.Equal(same.Mean, want.Mean) || !slices.Equal(same.Cov, want.Cov) {
		t.Error("rows in pieces gave other bits")
	}
	if merged.N != n {
		t.Errorf("merged: %d rows, want %d", merged.N, n)
	}
	for i := range d {
		mean := 0.0
		for k := range n {
			mean += (rows[k*d+i] - 1e6) / n
		}
		near(t, "mean", want.Mean[i]-1e6, mean, 1e-9)
		for j := range d {
			cov, other := 0.0, 0.0
			for k := range n {
				other += (rows[k*d+j] - 1e6) / n
			}
			for k := range n {
				cov += (rows[k*d+i] - 1e6 - mean) * (rows[k*d+j] - 1e6 - other) / (n - 1)
			}
			near(t, "covariance", want.Cov[i*d+j], cov, 1e-9)
			near(t, "merged covariance", merged.Cov[i*d+j], want.Cov[i*d+j], 1e-9)
		}
	}
}

func TestRefusals(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	x, y, narrow, pair := normal(t, r, 10, 4), normal(t, r, 10, 4), normal(t, r, 10, 3), normal(t, r, 2, 4)
	fail := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got error %v, want one line with %q", err, want)
		}
	}
	_, err := NewFeatures(2, 2, []float32{1, 2, 3, float32(math.NaN())})
	fail("entry [1, 1] is NaN", err)
	_, err = NewFeatures(2, 2, []float64{1, 2, math.Inf(-1), 0})
	fail("entry [1, 0] is -Inf", err)
	_, err = NewFeatures(2, 2, []float64{1, 2, 3})
	fail("3 numbers for 2 rows of 2", err)
	g := NewGaussian(2)
	fail("whole rows of 2", g.Add([]float64{1}))
	if err := g.Add([]float64{1, 2}); err != nil {
		t.Fatal(err)
	}
	_, err = g.Moments()
	fail("1 rows, want at least 2", err)
	fail("entry [2, 1] is NaN", g.Add([]float64{1, 2, 3, math.NaN()}))
	fail("2 and of 3 numbers", g.Merge(NewGaussian(3)))
	fail("rows of 4 numbers, want 2", g.AddFeatures(x))

	_, err = Frechet(moments(t, x), moments(t, narrow))
	fail("statistics of 4 and of 3 numbers", err)
	_, err = Frechet(Moments{Mean: []float64{0, 0}, Cov: []float64{1, 0, 0}}, moments(t, narrow))
	fail("want D and D × D", err)
	identity := Moments{Mean: []float64{0, 0}, Cov: []float64{1, 0, 0, 1}}
	_, err = Frechet(identity, Moments{Mean: []float64{0, 0}, Cov: []float64{1, 2, 2, 1}})
	fail("not positive semidefinite", err)
	_, err = Frechet(identity, Moments{Mean: []float64{0, 0}, Cov: []float64{1, 0, 0, -1}})
	fail("no negative variance", err)
	_, err = Frechet(identity, Moments{Mean: []float64{0, 0}, Cov: []float64{1, 0.5, 0, 1}})
	fail("want a symmetric matrix", err)
	_, err = Frechet(identity, Moments{Mean: []float64{0, math.NaN()}, Cov: []float64{1, 0, 0, 1}})
	fail("entry [1] of the mean is NaN", err)

	_, err = ComputeKID(x, narrow, 1, 10, 0)
	fail("rows of 4 and of 3 numbers", err)
	_, err = ComputeKID(x, y, 0, 10, 0)
	fail("0 subsets", err)
	_, _, err = Neighbours(x, pair, 5)
	fail("10 and 2 rows: want at least 6 of each", err)
	_, _, err = Neighbours(x, y, 0)
	fail("0 nearest neighbours", err)
	_, err = CMMD(x, narrow)
	fail("rows of 4 and of 3", err)
	_, err = CLIPScore(x, pair)
	fail("10 images and 2 texts", err)
	_, err = CLIPScore(x, set(t, 10, 4, func(int, int) float64 { return 0 }))
	fail("row 0 is zero", err)
}
