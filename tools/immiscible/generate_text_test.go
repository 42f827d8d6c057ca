package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sdTiny is a Stable Diffusion folder made by tools/golden/sd_pipeline.py.
const sdTiny = "../../pipeline/testdata/sd-tiny"

// generateText generates from sdTiny into a new folder and reads it.
func generateText(t *testing.T, more ...string) ([]map[string]any, map[string]string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "images")
	mustCall(t, append([]string{"generate", "-model", sdTiny, "-out", out}, more...)...)
	return imagesOf(t, out)
}

// A file of prompts as Windows writes it, with an empty line and a prompt twice:
// n pictures of each, all different, the same bytes whatever the batch, with
// guidance and a sampler that draws; any of them alone, and after a loss.
func TestGeneratePrompts(t *testing.T) {
	long := strings.Repeat("a great white shark and ", 50_000) // 1.2 MB, of which 77 tokens count
	prompts := write(t, filepath.Join(t.TempDir(), "prompts.txt"), "\ufeffa tench, “Tinca tinca”\r\n\r\na photo of a crane\r\na photo of a crane\r\n"+long)
	settings := []string{"-prompts", prompts, "-n", "2", "-steps", "3", "-sampler", "euler_a", "-seed", "4"}
	lines, pictures := generateText(t, settings...)
	texts := []string{"a tench, “Tinca tinca”", "", "a photo of a crane", "a photo of a crane", long}
	if len(lines) != 10 {
		t.Fatalf("%d pictures, want 2 of each of 5 prompts", len(lines))
	}
	distinct := map[string]bool{}
	for i, line := range lines {
		want := map[string]any{"file": fmt.Sprintf("prompt-%05d-%05d.png", i/2, i%2), "index": float64(i % 2), "seed": 4.0, "prompt": texts[i/2],
			"sampler": "euler_a", "steps": 3.0, "guidance": 7.5, "weights": "raw", "model": "sd-tiny"}
		if !maps.Equal(line, want) {
			t.Errorf("line %d of the manifest is %.300v, want %.300v", i, line, want)
		}
		distinct[pictures[line["file"].(string)]] = true
	}
	if len(distinct) != 10 {
		t.Errorf("%d different pictures, want 10", len(distinct))
	}
	for name, want := range map[string]string{
		"prompt-00000-00001.png": "a tench, “Tinca tinca”\nSteps: 3, Sampler: euler_a, CFG scale: 7.5, Seed: 4, Index: 1, Size: 16x16, Model: sd-tiny, Weights: raw",
		"prompt-00001-00000.png": "tEXtparameters\x00\nSteps: 3, Sampler: euler_a, CFG scale: 7.5, Seed: 4, Index: 0, Size: 16x16",
		"prompt-00003-00000.png": `"file":"prompt-00003-00000.png","index":0,"seed":4,"prompt":"a photo of a crane","sampler":"euler_a"`,
	} {
		if !strings.Contains(pictures[name], want) {
			t.Errorf("%s does not hold %q", name, want)
		}
	}
	if n := len(pictures["prompt-00004-00000.png"]); n > 20_000 {
		t.Errorf("a picture of a long prompt has %d bytes", n)
	}
	for _, batch := range []string{"1", "3", "16"} {
		if again, other := generateText(t, append(settings, "-batch", batch)...); !maps.Equal(other, pictures) || fmt.Sprint(again) != fmt.Sprint(lines) {
			t.Errorf("-batch %s: other pictures or another manifest", batch)
		}
	}

	// One image of one prompt alone is the same picture, but for its text.
	_, alone := generateText(t, "-prompt", "a photo of a crane", "-indices", "1", "-steps", "3", "-sampler", "euler_a", "-seed", "4")
	if got, want := alone["prompt-00000-00001.png"], pictures["prompt-00002-00001.png"]; len(alone) != 1 || !samePixels(t, got, want) {
		t.Errorf("alone it is another picture, of %d", len(alone))
	}

	// What is lost is made again, and nothing else.
	out := filepath.Join(t.TempDir(), "images")
	into := append([]string{"generate", "-model", sdTiny, "-out", out}, settings...)
	mustCall(t, into...)
	if err := os.Remove(filepath.Join(out, "prompt-00003-00001.png")); err != nil {
		t.Fatal(err)
	}
	if _, stderr := mustCall(t, into...); !strings.Contains(stderr, "9 of 10 images are there") {
		t.Errorf("the restart says %q", stderr)
	}
	if again, other := imagesOf(t, out); !maps.Equal(other, pictures) || fmt.Sprint(again) != fmt.Sprint(lines) {
		t.Error("after the restart: other pictures or another manifest")
	}
	badCall{"another prompt in its place", append([]string{"generate", "-model", sdTiny, "-out", out, "-prompt", "a cock"}, settings[2:]...), 1,
		"prompt-00000-00000.png was made with other settings"}.check(t, out)
}

// samePixels compares two PNGs by their image data.
func samePixels(t *testing.T, a, b string) bool {
	t.Helper()
	_, dataA, okA := strings.Cut(a, "IDAT")
	_, dataB, okB := strings.Cut(b, "IDAT")
	return okA && okB && dataA == dataB
}

// Classes become captions by their names, of which two may be the same; files
// are named by number. Settings that should matter make other pictures.
func TestGenerateClassesOfText(t *testing.T) {
	names := write(t, filepath.Join(t.TempDir(), "names.txt"), "crane\ncrane\ngreat white shark, white shark\n")
	base := []string{"-class_names", names, "-template", "a photo of a {first}", "-steps", "2", "-n", "2"}
	lines, pictures := generateText(t, base...)
	if len(lines) != 6 || lines[5]["prompt"] != "a photo of a great white shark" || lines[5]["class"] != 2.0 || lines[5]["sampler"] != "pndm" {
		t.Fatalf("the manifest is %v", lines)
	}
	if pictures["class-0000-00000.png"] == pictures["class-0001-00000.png"] {
		t.Error("two classes of one name have the same picture")
	}
	if _, some := generateText(t, append(base, "-classes", "2", "-batch", "1")...); some["class-0002-00001.png"] != pictures["class-0002-00001.png"] || len(some) != 2 {
		t.Error("one class alone: another picture")
	}
	for _, more := range [][]string{{"-guidance", "1"}, {"-negative", "a volcano"}, {"-sampler", "ddim"}, {"-resolution", "16x24"}, {"-template", "{class}"}, {"-seed", "9"}} {
		lines, other := generateText(t, append(base, more...)...)
		if len(other) != 6 || samePixels(t, other["class-0002-00000.png"], pictures["class-0002-00000.png"]) {
			t.Errorf("%q: the same picture, of %d", more, len(other))
		}
		if more[0] == "-resolution" && lines[0]["resolution"] != "16x24" {
			t.Errorf("the manifest is %v", lines[0])
		}
	}
}

// What generating from text cannot do: one line, and nothing is written.
func TestGenerateTextRefuses(t *testing.T) {
	below := t.TempDir()
	out := filepath.Join(below, "images")
	of := func(more ...string) []string {
		return append([]string{"generate", "-model", sdTiny, "-out", out, "-steps", "2"}, more...)
	}
	without := func(part string) string {
		dir := filepath.Join(below, "without-"+part)
		if err := os.CopyFS(dir, os.DirFS(sdTiny)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	file := func(name, text string) string { return write(t, filepath.Join(below, name), text) }
	from := func(model string) []string {
		return []string{"generate", "-model", model, "-out", out, "-prompt", "a cat", "-steps", "2"}
	}
	for _, test := range []badCall{
		{"nothing to draw", of(), 1, "want -prompts or -prompt, or the names of classes with -class_names"},
		{"two sources", of("-prompt", "a", "-prompts", "b"), 2, "-prompts and -prompt, want one of them"},
		{"prompts and classes", of("-prompt", "a", "-classes", "1"), 2, "prompts and -classes, want one of them"},
		{"no prompts", of("-prompts", file("empty.txt", "")), 1, "empty.txt: the file is empty, want a prompt a line"},
		{"not UTF-8", of("-prompts", file("latin.txt", "a\ncaf\xe9\n")), 1, "latin.txt: line 2 is not UTF-8"},
		{"missing prompts", of("-prompts", filepath.Join(below, "none.txt")), 1, "none.txt"},
		{"empty class name", of("-class_names", file("gap.txt", "a\n\nb\n")), 1, "gap.txt: line 2 is empty"},
		{"class out of range", of("-class_names", file("names.txt", "a\nb\n"), "-classes", "2"), 1, "class 2: "},
		{"template", of("-class_names", file("two.txt", "a\nb\n"), "-template", "a photo"), 1, `-template "a photo" names no class`},
		{"negative without guidance", of("-prompt", "a", "-negative", "b", "-guidance", "1"), 1, "a negative prompt needs"},
		{"odd size", of("-prompt", "a", "-resolution", "17"), 1, "-resolution 17x17: want multiples of 2 pixels"},
		{"latents", of("-prompt", "a", "-latents", writeLatents(t, 1, 4, 16, 16)), 1, "shape [1 4 16 16], want [1 4 8 8]"},
		{"no vae", from(without("vae")), 1, "in_channels 4 makes no picture"},
		{"no tokenizer", from(without("tokenizer")), 1, "tokenizer"},
		{"no text encoder", from(without("text_encoder")), 1, "text_encoder"},
	} {
		test.check(t, below)
	}
}
