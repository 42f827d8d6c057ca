package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"immiscible/models/onnx"
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
		s, err := openSubject(c)
		if err != nil {
			t.Fatal(err)
		}
		g, err := TrainingGraph(s.unet, s.schedule, GraphOptions{Batch: 2, Height: c.Data.Resolution, Width: c.Data.Resolution, Dropout: true, Trained: s.trained(c)})
		if err != nil {
			t.Fatal(err)
		}
		for name, model := range map[string]func() (*onnx.ModelProto, error){"portable": g.Model, "native": g.NativeModel} {
			m, err := model()
			if err != nil {
				t.Fatal(err)
			}
			if err := onnx.Check(m); err != nil {
				t.Errorf("%s, %s: %v", p.Name, name, err)
			}
			raw, err := onnx.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(raw)
			got[p.Name+" "+name] = hex.EncodeToString(sum[:])
		}
	}
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
			t.Errorf("%s training graph: digest %s, want %s: if it was to move, -update-digests and say why", name, digest, want[name])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d digests are stored, want %d", len(want), len(got))
	}
}
