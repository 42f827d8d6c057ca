package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"immiscible/pipeline/sampler"
)

// The configuration takes every sampler that there is.
func TestConfigNamesEverySampler(t *testing.T) {
	field, ok := reflect.TypeFor[ConfigSample]().FieldByName("Sampler")
	if got, want := field.Tag.Get("is"), strings.Join(sampler.Names(), "|"); !ok || got != want {
		t.Errorf("[sample] sampler is one of %q, want %q", got, want)
	}
}

// Guidance is one run of both halves, and mixes what two runs without it give:
// bit by bit with samplers of whole and of fractional timesteps.
func TestGuidanceIsOneRunOfBothHalves(t *testing.T) {
	g := openGolden(t, "classes")
	gen := g.newGenerator(t, g.options)
	n, dim := gen.Batch, gen.Dim()
	noise, labels := make([]float32, n*dim), make([]int64, n)
	for i := range noise {
		noise[i] = float32(i%17)/8 - 1
	}
	for i := range labels {
		labels[i] = int64(i % 3)
	}
	null := make([]int64, n)
	for i := range null {
		null[i] = 4
	}
	for _, name := range []string{"ddim", "euler"} {
		changed := *gen.Schedule
		changed.TimestepSpacing = "linspace"
		s, err := sampler.New(name, &changed, 3, 0)
		if err != nil {
			t.Fatal(err)
		}
		o := GenerateOptions{Sampler: s, GuidanceScale: 2.5, NullLabel: 4}
		kind := gen.kind(o)
		if kind.rows != 2*n || kind.fractional != (name == "euler") {
			t.Fatalf("%s: %+v", name, kind)
		}
		guided, plain := evaluatorOf(t, gen, kind), evaluatorOf(t, gen, evaluatorKind{rows: n, fractional: kind.fractional})
		at := s.Timesteps()[1]
		run := func(e *evaluator, labels []int64) []float32 {
			if err := e.labels.SetInt64(labels); err != nil {
				t.Fatal(err)
			}
			output, err := e.run(t.Context(), noise, s.InputScale(1), at)
			if err != nil {
				t.Fatal(err)
			}
			return output
		}
		got := guide(run(guided, slices.Concat(null, labels)), 2.5)
		without, with := run(plain, null), run(plain, labels)
		for i := range got {
			if want := without[i] + 2.5*(with[i]-without[i]); got[i] != want {
				t.Fatalf("%s at timestep %g: number %d is %g, want %g", name, at, i, got[i], want)
			}
		}
		first := slices.Clone(noise)
		if err := gen.Generate(t.Context(), first, labels, o); err != nil {
			t.Fatal(err)
		}
		second := slices.Clone(noise)
		if err := gen.Generate(t.Context(), second, labels, o); err != nil || !slices.Equal(first, second) {
			t.Errorf("%s: the second batch is another (%v)", name, err)
		}
	}
}

func evaluatorOf(t *testing.T, g *Generator, kind evaluatorKind) *evaluator {
	t.Helper()
	e, err := g.evaluator(kind)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// An output that is no number ends the batch with the place where it came up.
func TestGenerateReportsWhatIsNotFinite(t *testing.T) {
	g := openGolden(t, "classes")
	gen := g.newGenerator(t, g.options)
	s, err := sampler.New("ddim", gen.Schedule, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]float32, 2*gen.Dim())
	for i := range noise[gen.Dim():] {
		noise[gen.Dim()+i] = 3e38
	}
	err = gen.Generate(t.Context(), noise, []int64{0, 1}, GenerateOptions{Sampler: s, GuidanceScale: 1})
	var bad *notFiniteError
	if !errors.As(err, &bad) || bad.image != 1 || bad.step != 0 || !strings.Contains(err.Error(), "not finite at step 0 (timestep ") {
		t.Errorf("error %v", err)
	}
}

// What was handed to the writer is written though the job is stopped, and the
// first file that cannot be written ends the job.
func TestImageWriter(t *testing.T) {
	out := t.TempDir()
	o := sdOptions(out)
	o.Height, o.Width = 2, 2
	j := &imageJob{ImagesOptions: o}
	w, err := j.startWriter(2)
	if err != nil {
		t.Fatal(err)
	}
	pixels := make([]float32, 3*2*2)
	if err := errors.Join(w.put([]ImageRecord{{File: "a.png"}}, pixels), w.put([]ImageRecord{{File: "b.png"}}, pixels), w.close()); err != nil || w.written != 2 {
		t.Fatalf("error %v, %d written", err, w.written)
	}
	if text, err := os.ReadFile(filepath.Join(out, "manifest.jsonl")); err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("manifest %q (%v)", text, err)
	}
	if w, err = j.startWriter(3); err != nil {
		t.Fatal(err)
	}
	put := func() error { return w.put([]ImageRecord{{File: "no/such/folder.png"}}, pixels) }
	for err = put(); err == nil; err = put() {
	}
	if closed := w.close(); closed == nil || !errors.Is(err, closed) || w.written != 0 {
		t.Errorf("put says %v, close %v", err, closed)
	}
}

// Prompts as files hold them.
func TestReadPrompts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prompts.txt")
	for text, want := range map[string][]string{
		"a\nb\n":                 {"a", "b"},
		"a\nb":                   {"a", "b"},
		"\n":                     {""},
		"\n\n":                   {"", ""},
		"\ufeffa\r\n\r\n b \r\n": {"a", "", " b "},
		"a\rb\n":                 {"a\rb"},
		"\ufeff\n":               {""},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadPrompts(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q (%v), want %q", text, got, err, want)
		}
	}
}
