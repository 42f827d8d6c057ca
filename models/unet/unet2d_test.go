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

// build makes the graph of c for a batch of two h×w images and three tokens.
func build(c Net, h, w int) (*graph.Graph, error) {
	return graph.Build("test", func(b *graph.Builder) {
		channels, to := c.Channels()
		in := Inputs{Sample: b.Input("sample", graph.Float32, 2, channels, h, w), Timesteps: b.Input("timesteps", graph.Int64, 2)}
		if d := c.LabelDim(); d > 0 {
			in.ClassLabels = b.Input("class_labels", graph.Float32, 2, d)
		} else if c.Conditioning() != "" {
			in.ClassLabels = b.Input("class_labels", graph.Int64, 2)
		}
		if d := c.CrossAttentionDim(); d > 0 {
			in.EncoderHiddenStates = b.Input("encoder_hidden_states", graph.Float32, 2, 3, d)
		}
		out := c.Forward(b, in, true)
		b.AssertShape(out, 2, to, h, w)
		b.Output("out_sample", out)
	})
}

// The parameters' names and shapes are those of diffusers' state dict, all of
// them and no other.
func TestStateDict(t *testing.T) {
	names := strings.NewReplacer(".query.", ".to_q.", ".key.", ".to_k.", ".value.", ".to_v.", ".proj_attn.", ".to_out.0.")
	for _, dir := range folders(t) {
		c, err := Load(filepath.Join(dir, "config.json"))
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
		g, err := build(c, c.Sample().H, c.Sample().W)
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
	n, err := Load("testdata/scale-shift/config.json")
	if err != nil {
		t.Fatal(err)
	}
	c := n.(Config)
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
	c, err := Load("testdata/classes/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build(c, 8, 10); err == nil || !strings.Contains(err.Error(), "a 8×10 image cannot be halved 2 times: want multiples of 4") {
		t.Errorf("8×10: got %v", err)
	}
}
