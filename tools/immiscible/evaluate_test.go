package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/pipeline"
	"immiscible/pipeline/npy"
)

// features writes rows [n, d] as .npy.
func features(t *testing.T, d int, rows ...float64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "features.npy")
	if err := npy.Write(path, []int{len(rows) / d, d}, rows); err != nil {
		t.Fatal(err)
	}
	return path
}

// evaluation runs evaluate with -json.
func evaluation(t *testing.T, args ...string) pipeline.Evaluation {
	t.Helper()
	stdout, _ := mustCall(t, append([]string{"evaluate", "-json"}, args...)...)
	var e pipeline.Evaluation
	if err := json.Unmarshal([]byte(stdout), &e); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	return e
}

// Figures of given features whose values are known.
func TestEvaluateFeatures(t *testing.T) {
	// Means (0, 0) and (3, 4), covariances 4/3·diag(1, 4) and 4/3·diag(4, 9).
	a := features(t, 2, -1, 2, 1, -2, -1, -2, 1, 2)
	b := features(t, 2, 3-2, 4+3, 3+2, 4-3, 3-2, 4-3, 3+2, 4+3)
	want := 25 + 4./3*(1+1)
	if e := evaluation(t, "fid", a, b); math.Abs(*e.FID-want) > 1e-6 || e.Dim != 2 || e.Generated.N != 4 || e.Reference.Name != b || len(e.Reference.SHA256) != 64 {
		t.Errorf("FID %+v, want %v", e, want)
	}
	stats := filepath.Join(t.TempDir(), "b.npz")
	mustCall(t, "evaluate", "stats", b, "-out", stats)
	if e := evaluation(t, "fid", a, stats); math.Abs(*e.FID-want) > 1e-6 {
		t.Errorf("FID against statistics %v, want %v", *e.FID, want)
	}
	var rows []float64
	for i := range 64 {
		rows = append(rows, math.Sin(float64(i)), math.Cos(float64(3*i)), math.Sin(float64(i*i)))
	}
	same := features(t, 3, rows...)
	for metric, want := range map[string][]float64{
		"fid": {0}, "sfid": {0}, "precision-recall": {1, 1}, "cmmd": {0}, "clipscore": {100},
	} {
		e := evaluation(t, metric, same, same, "-normalize")
		values := e.Values()
		if len(values) != len(want) {
			t.Fatalf("%s: %v", metric, values)
		}
		for i, v := range values {
			if math.Abs(v.Value-want[i]) > 1e-5 {
				t.Errorf("%s of a set with itself: %s is %v, want %v", metric, v.Name, v.Value, want[i])
			}
		}
	}
	if e := evaluation(t, "density-coverage", same, same, "-k", "3"); *e.Coverage != 1 || e.K != 3 {
		t.Errorf("coverage of a set with itself %v (k %d), want 1", *e.Coverage, e.K)
	}
	if e := evaluation(t, "kid", same, same, "-subset_size", "64"); math.Abs(*e.KID) > 0.1 || e.SubsetSize != 64 {
		t.Errorf("KID of a set with itself %+v", e)
	}
}

// FID and sFID of images through a network. All pixels of an image are v, and
// channel c is c·v at each of four positions: features lie on one line, along
// which Fréchet's distance is that of two normal laws of one dimension.
func TestEvaluateImages(t *testing.T) {
	g, err := graph.Build("features", func(b *graph.Builder) {
		x := b.Input("pixels", graph.Float32, 2, 1, 2, 2)
		parts := make([]*graph.Value, 9)
		for i := range parts {
			parts[i] = b.Mul(x, b.Scalar(float64(i+1)))
		}
		all := b.Concat(1, parts...)
		b.Output("other", b.Mul(all, b.Scalar(5)))
		b.Output("spatial", all)
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	network := filepath.Join(t.TempDir(), "features.onnx")
	if err := onnx.Save(network, m); err != nil {
		t.Fatal(err)
	}
	folder := func(values ...byte) string {
		dir := t.TempDir()
		for i, v := range values {
			picture := image.NewGray(image.Rect(0, 0, 2, 2))
			for k := range picture.Pix {
				picture.Pix[k] = v
			}
			var file bytes.Buffer
			if err := png.Encode(&file, picture); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".png")), file.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	a, b := folder(0, 255), folder(255, 255, 0) // means 0 and 1/3, variances 2 and 4/3
	along := 1./9 + math.Pow(math.Sqrt(2)-math.Sqrt(4./3), 2)
	for metric, length := range map[string]float64{
		"sfid": 4 * (1 + 4 + 9 + 16 + 25 + 36 + 49), // seven channels, four positions
		"fid":  1 + 4 + 9 + 16 + 25 + 36 + 49 + 64 + 81,
	} {
		e := evaluation(t, metric, a, b, "-features", network, "-output", "spatial", "-input_range", "-1..1")
		if got := e.Values()[0]; got.Name != metric || math.Abs(got.Value-length*along) > 1e-4*length*along {
			t.Errorf("%s is %+v, want %v", metric, got, length*along)
		}
		if e.Features.Name != "features.onnx" || len(e.Features.SHA256) != 64 || e.Dim != map[string]int{"sfid": 28, "fid": 9}[metric] {
			t.Errorf("%s: %+v", metric, e.Features)
		}
	}
	for _, row := range []struct{ want, metric, output string }{
		{"no output \"nothing\", want one of other, spatial", "sfid", "nothing"},
		{"no -features says which network", "fid", ""},
	} {
		args := []string{"evaluate", row.metric, a, b}
		if row.output != "" {
			args = append(args, "-features", network, "-output", row.output)
		}
		if status, _, stderr := call(t.Context(), args...); status != 1 || !strings.Contains(stderr, row.want) {
			t.Errorf("%v: exit %d, %q, want %q", args, status, stderr, row.want)
		}
	}
}
