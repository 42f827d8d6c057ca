package main

import (
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/pipeline"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/npy"
)

// analyzedAs runs an analysis with -json, whose object is what it keeps in DIR.
func analyzedAs[T any](t *testing.T, out, file string, args ...string) *T {
	t.Helper()
	stdout, _ := mustCall(t, append([]string{"analyze"}, append(args, "-out", out, "-json")...)...)
	var printed, kept T
	if err := json.Unmarshal([]byte(stdout), &printed); err != nil || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("%v in %q", err, stdout)
	}
	text, err := os.ReadFile(filepath.Join(out, file))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	a, _ := json.Marshal(printed)
	b, _ := json.Marshal(kept)
	if err != nil || string(a) != string(b) {
		t.Errorf("%s is not what was printed (%v)", file, err)
	}
	return &printed
}

// pictureIn checks that a picture is there and at least so wide.
func pictureIn(t *testing.T, dir, name string, width int) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if picture, err := png.Decode(f); err != nil || picture.Bounds().Dx() < width {
		t.Errorf("%s: %v", name, err)
	}
}

// The analyses of a trained model: what they print and keep, and identities
// between them.
func TestAnalyzeTrained(t *testing.T) {
	model, out := trainedModel(t), t.TempDir()
	earlier := filepath.Join(filepath.Dir(model), "checkpoint-4")
	layers := analyzedAs[pipeline.LayersReport](t, out, "layers.json", "layers", earlier, model, "-steps", "4", "-layers", "4,2,1", "-n", "20", "-show", "2", "-seed", "3")
	if layers.Schema != "immiscible.analyze.layers/1" || len(layers.Models) != 2 || layers.Models[1].Name != "checkpoint-6" || !slices.Equal(layers.Layers, []int{4, 2, 1, 0}) ||
		!layers.Conditioned || layers.Reference.N != 10000 || layers.N != 20 {
		t.Errorf("%+v", layers)
	}
	for _, m := range layers.Models {
		if len(m.Layers) != 4 || m.Layers[3].FID <= layers.Reference.FID || m.Layers[3].Nearest <= 0 || m.Layers[0].Std <= 0 {
			t.Errorf("%s: %+v, the data %+v", m.Name, m.Layers, layers.Reference)
		}
		pictureIn(t, out, "layers-"+m.Name+".png", 300)
	}
	pictureIn(t, out, "layers.png", 1000)

	// x_τ = √ᾱ·x̂0 + √(1−ᾱ)·ε in what is kept of the first images.
	dump, err := npy.Read(filepath.Join(out, "layers-checkpoint-6.npy"))
	if err != nil || !slices.Equal(dump.Shape, []int{3, 3, 2, 1, 8, 8}) {
		t.Fatalf("shape %v (%v)", dump.Shape, err)
	}
	values, err := dump.Float32()
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := diffusion.New(diffusion.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	const part = 2 * 64
	for i, timestep := range layers.Timesteps {
		signal, noise := schedule.NoisyCoefficients(int(timestep))
		for k := range part {
			at := values[3*i*part+k:]
			if want := signal*float64(at[2*part]) + noise*float64(at[part]); math.Abs(float64(at[0])-want) > 1e-4*(1+math.Abs(want)) {
				t.Fatalf("timestep %v, number %d: %v, want %v", timestep, k, at[0], want)
			}
		}
	}

	// The last layer's images are those of four sampler steps.
	steps := analyzedAs[pipeline.StepsReport](t, out, "steps.json", "steps", model, "-steps", "1,4", "-n", "20", "-seed", "3", "-batch", "7", "-sampler", "ddim")
	if got, want := steps.Models[0].Steps[1], layers.Models[1].Layers[3]; got != want || steps.Reference != layers.Reference {
		t.Errorf("four steps: %+v, and the last of four layers: %+v", got, want)
	}
	pictureIn(t, out, "steps.png", 1000)
	pictureIn(t, out, "steps-checkpoint-6.png", 300)

	// The exact optimum is near the mean; a model of six steps is not.
	terminal := analyzedAs[pipeline.TerminalReport](t, out, "terminal.json", "terminal", model, "-n", "20")
	if m, o := terminal.Models[0], terminal.Optimum; terminal.Timestep != 999 || o.ImageResidual > 0.1 || m.ImageResidual < 1 || m.Residual < 100*o.Residual || m.StandardError.Residual <= 0 {
		t.Errorf("%+v", terminal)
	}
	pictureIn(t, out, "terminal.png", 300)

	// Images move as the noise does, and the further the more.
	b := analyzedAs[pipeline.BijectivityReport](t, out, "bijectivity.json", "bijectivity", model, "-n", "4", "-perturbations", "3", "-steps", "2", "-w", "0.1,0.5,2,1000")
	d := b.Models[0].Distance
	if !slices.IsSorted(d) || d[0] <= 0 || math.Abs(d[3]-1) > 0.01 || b.Models[0].Independent <= 0 {
		t.Errorf("%+v", b)
	}
	pictureIn(t, out, "bijectivity.png", 600)
	pictureIn(t, out, "bijectivity-checkpoint-6.png", 200)

	// Clusters by lot are as far apart as chance makes them.
	m := analyzedAs[pipeline.MiscibilityReport](t, out, "miscibility.json", "miscibility", model, "-n", "60", "-clusters", "2", "-steps", "2", "-classes", "3,5").Models[0]
	if m.RandomError <= 0 || m.Random > 4*m.RandomError || m.Distance < 0 {
		t.Errorf("%+v", m)
	}
	pictureIn(t, out, "miscibility-checkpoint-6.png", 150)
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != 16 {
		t.Errorf("%d files, want 16 (%v)", len(entries), err)
	}
}

func TestAnalyzeTrainedRefuses(t *testing.T) {
	model := trainedModel(t)
	apart := filepath.Join(t.TempDir(), "alone")
	if err := os.CopyFS(apart, os.DirFS(model)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"layers", 2, "no MODEL"},
		{"layers M -n 1", 2, "-n 1, want at least 2"},
		{"layers M -steps 0", 2, "-steps 0"},
		{"layers M -steps 5 -layers 6,1", 2, "want numbers that fall, from -steps 5"},
		{"layers M -steps 5 -layers 2,4", 2, "want numbers that fall"},
		{"layers M -show 0", 2, "-show 0"},
		{"layers M M", 1, "stands twice"},
		{"layers none", 1, "config.toml is not there"},
		{"terminal ALONE", 1, "name settings that have its [data]"},
		{"terminal M -classes 11", 1, "class 11"},
		{"steps M -steps 5,2", 2, "larger than the one before"},
		{"steps M -sampler ddmi", 2, `-sampler "ddmi"`},
		{"bijectivity M -w 0.3,0.1", 2, "want rising numbers"},
		{"bijectivity M -perturbations 1", 2, "-perturbations 1"},
		{"bijectivity M -weights new", 2, `-weights "new"`},
		{"miscibility M -clusters 1", 2, "-clusters 1, want at least 2"},
		{"miscibility M -clusters 5000 -n 2 -steps 1 -batch 2", 1, "images of class 0, want 5000 clusters"},
		{"bijectivity M -prompt x", 1, "takes no text"},
	} {
		args := strings.Fields(strings.NewReplacer("ALONE", apart, "M", model).Replace(c.args))
		status, stdout, stderr := call(t.Context(), append([]string{"analyze"}, append(args, "-out", t.TempDir())...)...)
		if status != c.status || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: got status %d, stdout %q, stderr %q", c.args, status, stdout, stderr)
		}
	}
}

// A row for each value, in JSON a line each, and a picture.
func TestAnalyzeOver(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "k.png")
	rows := analyzed(t, "-dim", "64", "-n", "400", "-pairing", "knn", "-over", "knn_k=1,4,64", "-rounds", "4", "-plot", picture)
	if len(rows) != 3 || rows[0].DistanceAfter != rows[0].DistanceBefore || rows[1].DistanceAfter >= rows[0].DistanceAfter || rows[2].DistanceAfter >= rows[1].DistanceAfter || rows[2].KNNK != 64 {
		t.Errorf("%+v", rows)
	}
	pictureIn(t, filepath.Dir(picture), "k.png", 1000)
	costs := analyzed(t, "-dim", "64", "-n", "200", "-over", "cost=l2sq,dot,l1", "-rounds", "0", "-plot", picture)
	if len(costs) != 3 || costs[0].DistanceAfter != costs[1].DistanceAfter || costs[2].DistanceAfter <= costs[0].DistanceAfter || costs[2].Cost != "l1" {
		t.Errorf("%+v", costs)
	}
	stdout, _ := mustCall(t, "assign", "analyze", "-dim", "64", "-n", "200", "-over", "pool_size=50,200", "-rounds", "0")
	if strings.Count(stdout, "\n") != 4 || !strings.Contains(stdout, "choice ms") {
		t.Error(stdout)
	}
	for args, want := range map[string]string{
		"-over k=1,2":                           "want KEY=LIST with one of",
		"-over knn_k=1,2":                       "with -pairing linear, want knn",
		"-pairing knn -over knn_k=1,0.5":        "knn_k = 0.5: want a number from 1 up",
		"-pairing knn -over cost=l2":            "with -pairing knn, want linear",
		"-over pool_size=10,x":                  `"x" is no number from 1 up`,
		"-over cost=l2,l3":                      `cost = "l3": want one of`,
		"-table -over scale=1,2":                "-over and -table",
		"-pairing knn -over whiten=1,-1":        `"-1" is no number from 0 up`,
		"-dim 16 -images x.npy -over scale=1,2": "-images and made-up images",
	} {
		status, stdout, stderr := call(t.Context(), append([]string{"assign", "analyze"}, strings.Fields(args)...)...)
		if status != 2 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: got status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
	}
}
