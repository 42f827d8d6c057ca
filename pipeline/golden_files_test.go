package pipeline

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"immiscible/models"
	"immiscible/models/safetensors"
	"immiscible/pipeline/diffusion"
)

// goldenModels holds diffusers' models with PyTorch's vectors, made by
// tools/golden/unet.py. Tolerances are the design's (§3, "Agreement").
const goldenModels = "../models/unet/testdata"

// forEachGolden runs f on every model in testdata.
func forEachGolden(t *testing.T, f func(t *testing.T, g golden)) {
	folders, err := os.ReadDir(goldenModels)
	if err != nil || len(folders) < 13 {
		t.Fatalf("%d models in %s (%v), want 13: run tools/golden/unet.py and unet_condition.py", len(folders), goldenModels, err)
	}
	for _, folder := range folders {
		t.Run(folder.Name(), func(t *testing.T) { f(t, openGolden(t, folder.Name())) })
	}
}

type golden struct {
	*models.Model
	vectors  tensors
	schedule *diffusion.Schedule
	options  GraphOptions // for the batch of the vectors
}

func openGolden(t *testing.T, name string) golden {
	m, err := models.Open(filepath.Join(goldenModels, name), "unet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	config, err := diffusion.LoadConfig(m.Scheduler)
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := diffusion.New(config)
	if err != nil {
		t.Fatal(err)
	}
	g := golden{Model: m, vectors: openTensors(t, filepath.Join(m.Dir, "vectors.safetensors")), schedule: schedule}
	size := m.UNet.Sample()
	g.options = GraphOptions{Batch: len(g.vectors.int64s("timesteps")), Height: size.H, Width: size.W}
	if m.UNet.CrossAttentionDim() > 0 {
		g.options.Tokens = int(g.vectors.lookup("encoder_hidden_states").Shape[1])
	}
	return g
}

// tensors reads a file's tensors for a test, which fails where one is missing.
type tensors struct {
	t    *testing.T
	file *safetensors.File
}

func openTensors(t *testing.T, path string) tensors {
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return tensors{t, f}
}

func (s tensors) lookup(name string) safetensors.Tensor {
	entry, ok := s.file.Lookup(name)
	if !ok {
		s.t.Fatalf("%s: no tensor %q", s.file.Path, name)
	}
	return entry
}

func (s tensors) float32s(name string) []float32 {
	entry := s.lookup(name)
	values := make([]float32, entry.Size/4)
	if err := s.file.Float32(entry, values); err != nil {
		s.t.Fatal(err)
	}
	return values
}

func (s tensors) int64s(name string) []int64 {
	raw, err := s.file.Bytes(s.lookup(name))
	if err != nil {
		s.t.Fatal(err)
	}
	values := make([]int64, len(raw)/8)
	for i := range values {
		values[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return values
}

// disagreement is max|got − ref| / max|ref|; infinite where a number is not.
func disagreement(got, ref []float32) float64 {
	if len(got) != len(ref) {
		return math.Inf(1)
	}
	diff, largest := 0.0, 0.0
	for i, r := range ref {
		d := math.Abs(float64(got[i]) - float64(r))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		diff, largest = max(diff, d), max(largest, math.Abs(float64(r)))
	}
	return diff / largest
}

func within(t *testing.T, what string, got, ref []float32, tolerance float64) {
	t.Helper()
	if d := disagreement(got, ref); !(d <= tolerance) {
		t.Errorf("%s: max|Δ|/max|ref| is %.2g, want at most %g", what, d, tolerance)
	}
}
