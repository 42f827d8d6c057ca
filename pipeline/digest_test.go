package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/models/unet"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/optim"
)

var updateDigests = flag.Bool("update-digests", false, "write testdata/digests.json anew: say why in the commit")

// The artifact law: the graphs of each preset, as they are exported and as they
// run on the CPU provider, do not move unless a commit says why.
func TestArtifactDigests(t *testing.T) {
	const path = "testdata/digests.json"
	got := map[string]string{}
	for _, p := range Presets() {
		c, err := LoadConfig(p.Name, "", []string{"train.micro_batch=2"})
		if err != nil {
			t.Fatal(err)
		}
		s, o := digestSubject(t, c)
		o.Batch, o.Trained = 2, s.trained(c)
		g, err := TrainingGraph(s.unet, s.schedule, o)
		if err != nil {
			t.Fatal(err)
		}
		drawn, err := drawMasks(g, "cpu", c.Train.Seed, s.unet.DropoutRate())
		if err != nil {
			t.Fatal(err)
		}
		digests(t, p.Name, g, drawn, got)
	}
	optimizer, err := optim.AdamWGraph(1000)
	if err != nil {
		t.Fatal(err)
	}
	digests(t, "optimizer", optimizer, optimizer, got)
	if *updateDigests {
		text, err := json.MarshalIndent(got, "", "  ")
		if err == nil {
			err = os.WriteFile(path, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for name, digest := range got {
		if want[name] != digest {
			t.Errorf("%s graph: digest %s, want %s: if it was to move, -update-digests and say why", name, digest, want[name])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d digests are stored, want %d", len(want), len(got))
	}
}

// digestSubject is what a preset trains. That of Stable Diffusion starts from a
// folder: its U-Net's config.json stands in testdata, its latents are an eighth
// of the image.
func digestSubject(t *testing.T, c Config) (*subject, GraphOptions) {
	if c.Model.Path == "" {
		s, err := openSubject(c)
		if err != nil {
			t.Fatal(err)
		}
		return s, s.graph(c)
	}
	net, err := unet.Load("testdata/sd-v1-4-unet.json")
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := diffusion.New(c.Scheduler.diffusers(c.Train.PredictionType))
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{unet: net, schedule: schedule}
	o := s.graph(c)
	o.Height, o.Width = c.Data.Resolution/8, c.Data.Resolution/8
	return s, o
}

// digests adds those of a graph's two models to got: as it is exported, and as it
// runs on the CPU provider.
func digests(t *testing.T, name string, exported, running *graph.Graph, got map[string]string) {
	for kind, of := range map[string]struct {
		g       *graph.Graph
		kernels string
	}{"portable": {exported, ""}, "native": {running, "cpu"}} {
		m, err := of.g.NativeModel(of.kernels)
		if err != nil {
			t.Fatal(err)
		}
		if err := onnx.Check(m); err != nil {
			t.Errorf("%s, %s: %v", name, kind, err)
		}
		raw, err := onnx.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		got[name+" "+kind] = hex.EncodeToString(sum[:])
	}
}
