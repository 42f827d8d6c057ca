package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"immiscible/datasets/rng"
	"immiscible/pipeline/npy"
)

// imagesOf reads a folder that generate filled: the lines of its manifest, in
// order, and every picture by name. Both must tell of the same files.
func imagesOf(t *testing.T, out string) (lines []map[string]any, pictures map[string]string) {
	t.Helper()
	pictures = map[string]string{}
	for path, data := range tree(t, out) {
		if filepath.Ext(path) == ".png" {
			pictures[filepath.Base(path)] = data
		} else if path != out && filepath.Base(path) != "manifest.jsonl" {
			t.Errorf("%s holds %s", out, path)
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "manifest.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("manifest line %q: %v", line, err)
		}
		file, ok := r["file"].(string)
		if !ok || listed[file] || pictures[file] == "" {
			t.Errorf("manifest line %s: twice, or no picture", line)
		}
		listed[file] = true
		lines = append(lines, r)
	}
	if len(listed) != len(pictures) {
		t.Errorf("%d pictures, %d lines of manifest", len(pictures), len(listed))
	}
	return lines, pictures
}

// writeLatents writes noise of a shape and returns the file's path.
func writeLatents(t *testing.T, shape ...int) string {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	rng.New(5, "latents", 0).FillNormal(values)
	path := filepath.Join(t.TempDir(), "latents.npy")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := npy.Encode(f, shape, values); err != nil {
		t.Fatal(err)
	}
	return path
}

// Exactly n pictures a class, of the model's size, a line of the manifest each,
// and the same bytes for every batch size, class by class, and after a restart
// that makes only what is missing.
func TestGenerate(t *testing.T) {
	model := trainedModel(t)
	into := func(out string, more ...string) []string {
		return append([]string{"generate", "-model", model, "-out", out, "-n", "3", "-steps", "3", "-sampler", "ddpm", "-seed", "9"}, more...)
	}
	whole := filepath.Join(t.TempDir(), "images")
	mustCall(t, into(whole)...)
	lines, pictures := imagesOf(t, whole)
	if len(lines) != 30 {
		t.Fatalf("%d pictures, want 3 of each of 10 classes", len(lines))
	}
	distinct := map[string]bool{}
	for i, line := range lines {
		want := map[string]any{"file": fmt.Sprintf("class-%04d-%05d.png", i/3, i%3), "index": float64(i % 3), "seed": 9.0, "class": float64(i / 3),
			"sampler": "ddpm", "steps": 3.0, "guidance": 1.0, "weights": "ema", "model": "checkpoint-6"}
		if !maps.Equal(line, want) {
			t.Errorf("line %d of the manifest is %v, want %v", i, line, want)
		}
		picture, err := png.Decode(strings.NewReader(pictures[line["file"].(string)]))
		if err != nil || picture.Bounds().Dx() != 8 || picture.Bounds().Dy() != 8 {
			t.Errorf("%v: %v", line["file"], err)
		}
		distinct[pictures[line["file"].(string)]] = true
	}
	if len(distinct) != 30 {
		t.Errorf("%d different pictures, want 30", len(distinct))
	}

	for _, batch := range []string{"1", "3", "7", "32"} {
		out := filepath.Join(t.TempDir(), "images")
		mustCall(t, into(out, "-batch", batch)...)
		if again, other := imagesOf(t, out); !maps.Equal(other, pictures) || fmt.Sprint(again) != fmt.Sprint(lines) {
			t.Errorf("-batch %s: other pictures or another manifest", batch)
		}
	}

	// Class by class into one folder, the last two alone.
	parts := filepath.Join(t.TempDir(), "images")
	for _, classes := range []string{"0-7", "8", "9"} {
		mustCall(t, into(parts, "-classes", classes)...)
	}
	if again, other := imagesOf(t, parts); !maps.Equal(other, pictures) || fmt.Sprint(again) != fmt.Sprint(lines) {
		t.Error("class by class: other pictures or another manifest")
	}

	// Two pictures and a line of the manifest are lost, and a kill has left half
	// a line and a temporary file.
	long := time.Now().Add(-time.Hour)
	for name := range pictures {
		if err := os.Chtimes(filepath.Join(whole, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	lost := map[string]bool{"class-0004-00002.png": true, "class-0007-00000.png": true, "class-0009-00002.png": true}
	for _, name := range []string{"class-0004-00002.png", "class-0007-00000.png"} {
		if err := os.Remove(filepath.Join(whole, name)); err != nil {
			t.Fatal(err)
		}
	}
	manifest := filepath.Join(whole, "manifest.jsonl")
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	write(t, manifest, string(text[:len(text)-20]))
	write(t, filepath.Join(whole, ".tmp-image-1"), "half a picture")
	_, stderr := mustCall(t, into(whole)...)
	if !strings.Contains(stderr, "27 of 30 images are there") {
		t.Errorf("the restart says %q", stderr)
	}
	if again, other := imagesOf(t, whole); !maps.Equal(other, pictures) || fmt.Sprint(again) != fmt.Sprint(lines) {
		t.Error("after the restart: other pictures or another manifest")
	}
	for name := range pictures {
		info, err := os.Stat(filepath.Join(whole, name))
		if err != nil || info.ModTime().Equal(long) == lost[name] {
			t.Errorf("%s: lost %v, written at %v", name, lost[name], info.ModTime())
		}
	}

	// More of each class joins; fewer, or other settings, do not.
	mustCall(t, into(whole, "-n", "4")...)
	if lines, more := imagesOf(t, whole); len(lines) != 40 || more["class-0004-00002.png"] != pictures["class-0004-00002.png"] {
		t.Errorf("-n 4 after -n 3: %d pictures", len(lines))
	}
	for _, test := range []badCall{
		{"fewer", into(whole, "-n", "2"), 1, "lists class-0000-00002.png, and fewer images a class are wanted now"},
		{"seed", into(whole, "-n", "4", "-seed", "8"), 1, "was made with other settings"},
		{"steps", into(whole, "-n", "4", "-steps", "4"), 1, "was made with other settings"},
		{"eta", into(whole, "-n", "4", "-sampler", "ddim", "-eta", "0.5"), 1, "was made with other settings"},
	} {
		test.check(t, whole)
	}
}

// Raw weights, other seeds, guidance and given noise make other pictures; given
// noise stands for the seed's.
func TestGenerateSettings(t *testing.T) {
	model := trainedModel(t)
	run := func(more ...string) map[string]string {
		out := filepath.Join(t.TempDir(), "images")
		mustCall(t, append([]string{"generate", "-model", model, "-out", out, "-steps", "3", "-classes", "2,5"}, more...)...)
		lines, pictures := imagesOf(t, out)
		if len(lines) != 2 || lines[0]["class"] != 2.0 || lines[1]["class"] != 5.0 {
			t.Errorf("%q: the manifest is %v", more, lines)
		}
		return pictures
	}
	base, latents := run(), writeLatents(t, 2, 1, 8, 8)
	if !maps.Equal(base, run()) {
		t.Error("the same command makes other pictures in another folder")
	}
	for name, other := range map[string]map[string]string{
		"raw": run("-weights", "raw"), "seed": run("-seed", "1"), "guidance": run("-guidance", "3"), "latents": run("-latents", latents), "eta": run("-eta", "1"),
	} {
		for file := range base {
			if samePixels(t, base[file], other[file]) {
				t.Errorf("%s: %s is the same picture", name, file)
			}
		}
	}
	given, seeded := run("-latents", latents), run("-latents", latents, "-seed", "1")
	for file := range given {
		if !samePixels(t, given[file], seeded[file]) {
			t.Error("with given noise and eta 0 the seed decides")
		}
	}
}

// A model that no class conditions: n pictures in all.
func TestGenerateUnconditional(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	mustCall(t, tinyTrain(run, "train.max_steps=2", "data.num_classes=0", "noise.per_class=false", `model.unet.num_class_embeds="none"`)...)
	model, out := filepath.Join(run, "checkpoint-2"), filepath.Join(t.TempDir(), "images")
	mustCall(t, "generate", "-model", model, "-out", out, "-n", "3", "-steps", "2")
	lines, pictures := imagesOf(t, out)
	if _, labelled := lines[0]["class"]; len(lines) != 3 || labelled || pictures["00002.png"] == "" {
		t.Errorf("the manifest is %v", lines)
	}
	badCall{"classes", []string{"generate", "-model", model, "-out", out, "-classes", "1"}, 1, "is not conditioned on classes"}.check(t, out)
	badCall{"guidance", []string{"generate", "-model", model, "-out", out, "-guidance", "2"}, 1, "has nothing to guide"}.check(t, out)
}

// Generating that is stopped says how far it came, and the same command makes
// the rest: the same bytes as without the stop.
func TestGenerateStopsAndGoesOn(t *testing.T) {
	model := trainedModel(t)
	into := func(out string) []string {
		return []string{"generate", "-model", model, "-out", out, "-n", "20", "-steps", "20", "-batch", "10", "-classes", "0-4"}
	}
	whole, out := filepath.Join(t.TempDir(), "images"), filepath.Join(t.TempDir(), "images")
	mustCall(t, into(whole)...)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(out, "class-0001-00000.png")); err == nil {
				cancel(stopped{syscall.SIGINT})
			}
		}
	}()
	status, _, stderr := call(ctx, into(out)...)
	last := stderr[strings.LastIndex(strings.TrimSpace(stderr), "\n")+1:]
	if status != 130 || !strings.Contains(last, "of 100 images are there, and the same command makes the others: stopped by SIGINT") {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	made := len(tree(t, out)) - 2 // the folder itself, and the manifest
	if made < 20 || made >= 100 || made%10 != 0 || !strings.Contains(last, fmt.Sprintf(" %d of 100 ", made)) {
		t.Errorf("%d pictures are there, and it says %q", made, last)
	}
	mustCall(t, into(out)...)
	wantLines, want := imagesOf(t, whole)
	lines, got := imagesOf(t, out)
	if !maps.Equal(got, want) || fmt.Sprint(lines) != fmt.Sprint(wantLines) {
		t.Error("other pictures or another manifest than without the stop")
	}
}

// A folder without a moving average gives its only weights, and says so.
func TestGenerateWithoutEMA(t *testing.T) {
	model := copyModel(t)
	if err := os.RemoveAll(filepath.Join(model, "unet_ema")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "images")
	_, stderr := mustCall(t, "generate", "-model", model, "-out", out, "-classes", "3", "-steps", "2")
	lines, _ := imagesOf(t, out)
	if len(lines) != 1 || lines[0]["weights"] != "raw" || !strings.Contains(stderr, "has no unet_ema") {
		t.Errorf("manifest %v, stderr %q", lines, stderr)
	}
}
