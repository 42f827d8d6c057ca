package main

import (
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/pipeline/npy"
)

// analyzed runs assign analyze and reads its lines of JSON.
func analyzed(t *testing.T, args ...string) []assignReport {
	t.Helper()
	status, stdout, stderr := call(t.Context(), append([]string{"assign", "analyze", "-json"}, args...)...)
	if status != 0 || stderr != "" {
		t.Fatalf("%q: got status %d, stderr %q", args, status, stderr)
	}
	var reports []assignReport
	for line := range strings.Lines(stdout) {
		var r assignReport
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	return reports
}

// The bands of reading/method.md §5, rows 2 and 5: D = 4,096, unit Gaussian
// images, k = 64. The shortening is that of §3.2 to a tenth.
func TestAnalyzeBands(t *testing.T) {
	for _, c := range []struct {
		score              string
		least, most        float64 // E|n|²/D
		factor             float64 // of the formula for l2
		alongLess, aloMore float64
	}{{"l2", 0.965, 0.977, 1, 1.8, 2.0}, {"dot", 0.998, 1.005, math.Sqrt(4.0 / 6), 2.3, 2.4}} {
		r := analyzed(t, "-dim", "4096", "-std", "1", "-pairing", "knn", "-knn_k", "64", "-knn_score", c.score, "-n", "1000", "-rounds", "0")[0]
		if r.NoiseSecondMoment < c.least || r.NoiseSecondMoment > c.most {
			t.Errorf("%s: second moment %v, want %v…%v", c.score, r.NoiseSecondMoment, c.least, c.most)
		}
		want := c.factor * 2.34 * math.Sqrt(2+4) / (2 * 2 * math.Sqrt(4096))
		if got := 1 - r.DistanceAfter/r.DistanceBefore; math.Abs(got-want) > want/10 {
			t.Errorf("%s: distance falls by %v, want %v", c.score, got, want)
		}
		if r.AlongX < c.alongLess || r.AlongX > c.aloMore || r.KS.Statistic < 0.5 || r.KS.PValue > 1e-9 {
			t.Errorf("%s: along x %v, KS %+v", c.score, r.AlongX, r.KS)
		}
		if r.ClassProbe != nil || r.ClusterDistance != nil || r.Data != "gaussian" || r.N != 1000 || r.Dim != 4096 {
			t.Errorf("%s: %+v", c.score, r)
		}
	}
}

// Design §7's table on the embedded images: what the papers' pairings do to the
// noise, and that centring and whitening leave shift ≤ 0.02, variances within
// 1 ± 0.06 and the probe at chance, each within 4 standard errors.
func TestAnalyzeTable(t *testing.T) {
	rows := analyzed(t, "-table", "-n", "4000")
	if len(rows) != 7 {
		t.Fatalf("%d rows, want 7", len(rows))
	}
	worst := func(r assignReport) (most float64) {
		for i, v := range r.LeadingVariance {
			most = max(most, math.Abs(v-1)-4*r.StandardError.LeadingVariance[i])
		}
		return most
	}
	chance := func(r assignReport) bool { return *r.ClassProbe <= *r.ClassChance+4**r.StandardError.ClassProbe }
	for _, k := range []int{0, 2, 5, 6} { // independent, within class, whitened twice
		if r := rows[k]; r.MeanShift > 0.02+4*r.StandardError.MeanShift || worst(r) > 0.06 || !chance(r) {
			t.Errorf("row %d, %s: shift %v, variances %v, probe %v", k, r.Pairing, r.MeanShift, r.LeadingVariance, *r.ClassProbe)
		}
	}
	if r := rows[1]; *r.ClassProbe < 0.18 || r.AlongResidual < 2 {
		t.Errorf("linear at large: probe %v, along the residual %v", *r.ClassProbe, r.AlongResidual)
	}
	if r := rows[3]; math.Abs(r.MeanShift-0.53) > 0.1 || math.Abs(r.NoiseSecondMoment-0.954) > 0.006 {
		t.Errorf("knn l2: shift %v, second moment %v, want 0.53 and 0.954", r.MeanShift, r.NoiseSecondMoment)
	}
	if r := rows[4]; math.Abs(r.LeadingVariance[0]-1.95) > 0.2 || math.Abs(r.AlongResidual-2.35) > 0.05 {
		t.Errorf("knn dot, centred: variance %v, along the residual %v, want 1.95 and 2.35", r.LeadingVariance[0], r.AlongResidual)
	}
	if a, b := rows[5].AlongResidual, rows[6].AlongResidual; math.Abs(a-1.5) > 0.15 || math.Abs(b-2.3) > 0.15 {
		t.Errorf("whitened: along the residual %v and %v, want 1.5 and 2.3", a, b)
	}
	// The composition of the noise is that of the draw for each permutation.
	if a, b := rows[1].NoiseSecondMoment, rows[0].NoiseSecondMoment; math.Abs(a-b) > 1e-12 {
		t.Errorf("linear assignment changed the second moment from %v to %v", b, a)
	}
}

// Miscibility as paper 2 orders it: linear over knn over independent.
func TestAnalyzeClusters(t *testing.T) {
	args := []string{"-n", "100", "-rounds", "300", "-pairing"}
	linear := analyzed(t, append(args, "linear")...)[0]
	knn := analyzed(t, append(args, "knn", "-knn_k", "8")...)[0]
	if !(*linear.ClusterDistance > *knn.ClusterDistance && *knn.ClusterDistance > *knn.ClusterDistance0+4**knn.StandardError.ClusterDistance) {
		t.Errorf("cluster distances: linear %v, knn %v ± %v, independent %v", *linear.ClusterDistance, *knn.ClusterDistance, *knn.StandardError.ClusterDistance, *knn.ClusterDistance0)
	}
}

// Files, a plot, and what is said of them.
func TestAnalyzeFiles(t *testing.T) {
	dir := t.TempDir()
	made, err := madeUpImages("clusters", 120, 30, 1, 4)
	if err != nil {
		t.Fatal(err)
	}
	images, labels, plot := filepath.Join(dir, "x.npy"), filepath.Join(dir, "y.npy"), filepath.Join(dir, "law.png")
	if err := npy.Write(images, []int{120, 5, 6}, made.X); err != nil {
		t.Fatal(err)
	}
	if err := npy.Write(labels, []int{120}, made.Labels); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := call(t.Context(), "assign", "analyze", "-images", images, "-labels", labels, "-pairing", "knn", "-knn_k", "16.5",
		"-knn_score", "dot", "-center", "class", "-whiten", "4", "-plot", plot, "-rounds", "2")
	if status != 0 || stderr != "" {
		t.Fatalf("got status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{"120 of 30 numbers", "leading variance 5", "class probe", "KS along x", "cluster distance"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	f, err := os.Open(plot)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil || picture.Bounds().Dx() < 600 {
		t.Errorf("the plot: %v", err)
	}
	r := analyzed(t, "-images", images, "-n", "50", "-pool_size", "20", "-flip")[0]
	counted := 0
	for _, c := range r.NormHistogram.Counts {
		counted += c
	}
	if r.PoolSize != 20 || r.N != 50 || counted != 50 || len(r.NormHistogram.Edges) != len(r.NormHistogram.Counts)+1 || r.AlongX >= 0 {
		t.Errorf("%+v", r)
	}
}

func TestAnalyzeRefuses(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"x", 2, `unexpected argument "x"`},
		{"-pairing liner", 2, `[noise] pairing = "liner": want one of`},
		{"-pairing knn -knn_k 0.5", 2, "[noise] knn_k = 0.5: want a number from 1 up"},
		{"-center clas", 2, `[noise] center = "clas": want one of`},
		{"-scale 0", 2, "[noise] scale = 0: want a number above 0"},
		{"-dim 16 -per_class", 2, "need labels, and gaussian has none"},
		{"-dim 16 -pairing knn -center class", 2, "need labels, and gaussian has none"},
		{"-dim 16 -pairing knn -center global -whiten 17 -n 9", 1, "[noise] whiten = 17, and an image has 16 numbers"},
		{"-dim 16 -images x.npy", 2, "-images and made-up images"},
		{"-labels y.npy", 2, "-labels without -images"},
		{"-n 1", 2, "-n 1, want 2 or more"},
		{"-n 10001", 2, "the embedded set has 10000 images"},
		{"-dim -3", 2, "-dim -3"},
		{"-pool_size 0", 2, "-pool_size 0"},
		{"-rounds -1", 2, "-rounds -1"},
		{"-dim 16 -std -1", 2, "-std -1"},
		{"-table -plot x.png", 2, "-plot and -table"},
		{"-plot none/x.png", 1, "cannot be written"},
		{"-images none.npy", 1, "none.npy: no such file"},
	} {
		status, stdout, stderr := call(t.Context(), append([]string{"assign", "analyze"}, strings.Fields(c.args)...)...)
		if status != c.status || stdout != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") > 3 {
			t.Errorf("%s: got status %d, stdout %q, stderr %q", c.args, status, stdout, stderr)
		}
	}
}
