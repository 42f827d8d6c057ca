package unet

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/safetensors"
)

// build makes the graph of c for a batch of two h×w images.
func build(c Config, h, w int) (*graph.Graph, error) {
	return graph.Build("test", func(b *graph.Builder) {
		sample := b.Input("sample", graph.Float32, 2, c.InChannels, h, w)
		timesteps := b.Input("timesteps", graph.Int64, 2)
		var labels *graph.Value
		switch c.Conditioning() {
		case "embedding", "timestep":
			labels = b.Input("class_labels", graph.Int64, 2)
		case "identity":
			labels = b.Input("class_labels", graph.Float32, 2, c.TimeEmbedDim())
		}
		out := UNet2D(b, c, sample, timesteps, labels, true)
		b.AssertShape(out, 2, c.OutChannels, h, w)
		b.Output("out_sample", out)
	})
}

// The parameters' names and shapes are those of diffusers' state dict, all of
// them and no other.
func TestStateDict(t *testing.T) {
	names := strings.NewReplacer(".query.", ".to_q.", ".key.", ".to_k.", ".value.", ".to_v.", ".proj_attn.", ".to_out.0.")
	for _, dir := range folders(t) {
		c, err := LoadConfig(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.OpenSharded(dir, "diffusion_pytorch_model")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		want := map[string]string{}
		for _, tensor := range f.Tensors {
			want[names.Replace(tensor.Name)] = fmt.Sprint(tensor.Shape) // of an old folder: today's name
		}
		g, err := build(c, c.SampleSize.H, c.SampleSize.W)
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		got := map[string]string{}
		for _, p := range g.Params() {
			got[p.Node.Name] = fmt.Sprint(p.Shape)
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if got[key] != want[key] {
				t.Errorf("%s: %s has shape %q, want %s", dir, key, got[key], want[key])
			}
			delete(got, key)
		}
		for key := range got {
			t.Errorf("%s: %s is no key of the state dict", dir, key)
		}
	}
}

// Dropout is in every residual block, and its masks are inputs named for it.
func TestDropoutMasks(t *testing.T) {
	c, err := LoadConfig("testdata/scale-shift/config.json")
	if err != nil {
		t.Fatal(err)
	}
	c.Dropout = 0.1
	g, err := build(c, 4, 8)
	if err != nil {
		t.Fatal(err)
	}
	got, want := map[string]bool{}, map[string]bool{}
	for _, v := range g.Inputs {
		switch key, suffix, _ := strings.Cut(v.Node.Name, ".conv2.weight"); {
		case v.DType == graph.Bool:
			got[v.Node.Name] = true
		case v.Node.Param && suffix == "" && key != v.Node.Name:
			want[key+".dropout.mask"] = true
		}
	}
	if len(want) != 10 || !maps.Equal(got, want) {
		t.Errorf("masks %v, want one a residual block: %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// A size that cannot be halved as often as the model halves is refused.
func TestImageSize(t *testing.T) {
	c, err := LoadConfig("testdata/classes/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build(c, 8, 10); err == nil || !strings.Contains(err.Error(), "a 8×10 image cannot be halved 2 times: want multiples of 4") {
		t.Errorf("8×10: got %v", err)
	}
}
