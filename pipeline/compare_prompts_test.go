package pipeline

import (
	"io"
	"path/filepath"
	"slices"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/pipeline/metrics/extractor"
)

// A model of text is judged by the data's captions: with weights that do not
// move, other captions give other samples, and the same ones the same.
func TestComparePrompts(t *testing.T) {
	g, err := graph.Build("features", func(b *graph.Builder) {
		x := b.Input("pixels", graph.Float32, 2, 3, 16, 16)
		b.Output("features", b.Mul(x, b.Scalar(1)))
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
	sets := sdSets(t, "lr.learning_rate=1e-30")
	fid := func(out, template string) float64 {
		t.Helper()
		r, err := Compare(t.Context(), CompareOptions{
			Sets: append(slices.Clone(sets), `data.caption_template="`+template+`"`),
			Arms: []string{"independent"}, Steps: 1, Seeds: []int64{3}, At: []int{1}, SamplerSteps: []int{2}, Samples: 5,
			Features: extractor.Options{Model: network, InputRange: "0..1", Resize: extractor.ResizeClean}, Out: out, Messages: io.Discard,
		})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Prompts || r.Conditioned || r.GuidanceScale != 3 || r.Runs[0].Evaluations[0].ClassAccuracy != nil {
			t.Errorf("%+v", r)
		}
		return r.Runs[0].Evaluations[0].FID
	}
	out := filepath.Join(t.TempDir(), "a")
	a := fid(out, "a {first}")
	if again := fid(out, "a {first}"); again != a {
		t.Errorf("the same folder gives FID %v, and gave %v", again, a)
	}
	if again := fid(filepath.Join(t.TempDir(), "b"), "a {first}"); again != a {
		t.Errorf("the same captions give FID %v and %v", a, again)
	}
	if b := fid(filepath.Join(t.TempDir(), "c"), "two {first}s, drawn"); b == a || !(b > 0) {
		t.Errorf("other captions give the same FID, %v", b)
	}
}
