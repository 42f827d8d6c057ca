package importer

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/onnx"
)

// The keys of every exported parameter are those that hold the same values in
// PyTorch's state dict (names.json, by the golden script's comparison).
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	for _, name := range unzip(t, "testdata/exports.zip", dir) {
		if !strings.HasSuffix(name, "/model.onnx") || strings.HasPrefix(name, "zoo") || strings.HasPrefix(name, "mlp") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var names struct{ Held map[string][2]any }
			text, err := os.ReadFile(filepath.Join(dir, filepath.Dir(name), "names.json"))
			if err == nil {
				err = json.Unmarshal(text, &names)
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			keys := f.Keys()
			for initializer, held := range names.Held {
				if got, want := keys[initializer], (Key{held[0].(string), held[1].(bool)}); got != want {
					t.Errorf("%s holds %v, got %v", initializer, want, got)
				}
			}
		})
	}
}

// Weights written into a copy: what is imported from it are those weights, of a
// tensor with two names each its own; what was not given stays.
func TestWithWeights(t *testing.T) {
	m := model{inits: []*onnx.TensorProto{float("w", []int64{3}, 1, 2, 3), onnx.NewTensor("h", onnx.TensorProto_FLOAT16, []int64{3}, make([]byte, 6)), float("k", []int64{3}, 7, 8, 9)},
		nodes: []*onnx.NodeProto{node("Identity", []string{"w"}, []string{"copy.w"}), node("Mul", []string{"x", "w"}, []string{"a"}),
			node("Mul", []string{"a", "copy.w"}, []string{"b"}), node("Add", []string{"b", "h"}, []string{"c"}), node("Add", []string{"c", "k"}, []string{"y"})}}
	f, err := m.open(t)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string][]float32{"w": {2, 2, 2}, "copy.w": {5, 6, 7}, "h": {0.5, -0.25, 65504}}
	written, err := f.WithWeights(func(name string) ([]float32, bool) { list, ok := given[name]; return list, ok })
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "new.onnx")
	if err := onnx.Save(path, written); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	im, err := again.Import(Options{})
	if err != nil {
		t.Fatal(err)
	}
	given["k"] = []float32{7, 8, 9}
	if len(im.Weights) != 4 {
		t.Errorf("%d weights, want 4", len(im.Weights))
	}
	for _, w := range im.Weights {
		list, err := w.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range given[w.Name] {
			if list[i] != x {
				t.Errorf("%s is %v, want %v", w.Name, list, given[w.Name])
				break
			}
		}
	}
	given["w"] = []float32{1}
	if _, err := f.WithWeights(func(name string) ([]float32, bool) { list, ok := given[name]; return list, ok }); err == nil || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("a tensor of another size: %v", err)
	}
}

// Every half survives the way to float32 and back; between two of them the
// nearest is taken, of equally near ones the even one.
func TestHalf(t *testing.T) {
	for bits := range uint32(1 << 16) {
		x := half(uint16(bits))
		if x != x {
			if back := halfBits(x); back&0x7c00 != 0x7c00 || back&0x3ff == 0 {
				t.Fatalf("%#04x: NaN became %#04x", bits, back)
			}
			continue
		}
		if back := halfBits(x); back != uint16(bits) {
			t.Fatalf("%#04x is %g and became %#04x", bits, x, back)
		}
		if next := half(uint16(bits) + 1); bits&0x7fff < 0x7bff {
			middle := (x + next) / 2
			if back, even := halfBits(middle), uint16(bits+bits&1); back != even {
				t.Fatalf("%g, between %g and %g, became %#04x, want %#04x", middle, x, next, back, even)
			}
		}
	}
	if got := halfBits(float32(math.Inf(-1))); got != 0xfc00 {
		t.Errorf("-Inf became %#04x", got)
	}
}
