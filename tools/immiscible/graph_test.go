package main

import (
	"archive/zip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/onnx"
)

// exportedGraph is a file of the importer's test data.
func exportedGraph(t *testing.T, name string) string {
	t.Helper()
	r, err := zip.OpenReader("../../models/graph/importer/testdata/exports.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	src, err := r.Open(name + "/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	path := filepath.Join(t.TempDir(), "model.onnx")
	data, err := io.ReadAll(src)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// graph show says what is in the file, as text and as JSON, and draws a scope.
func TestGraphShow(t *testing.T) {
	file := exportedGraph(t, "vae-decoder/torchscript")
	text, _ := mustCall(t, "graph", "show", file)
	for _, line := range []string{"opset 15", "input      latent_sample float32[1 2 64 64]", "output     output float32[1 2 128 128]", "assumed    height = 64",
		"recognised 14 × group norm from InstanceNormalization", "recognised 1 × product of scaled operands", "  14   GroupNormalization", "parameters 6734 in 68 tensors", "GFLOPs", "training "} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	text, _ = mustCall(t, "graph", "show", "-json", file, "-dim", "height=8", "-dim", "width=4")
	var s struct {
		Outputs []struct {
			Name  string
			Shape []int
		}
		Nodes, Patterns, Assumed map[string]int
		Parameters               int
		FLOPs                    int64 `json:"forward_flops"`
		Peak                     int64 `json:"forward_peak_bytes"`
		Train                    int64 `json:"training_peak_bytes"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Outputs) != 1 || !slices.Equal(s.Outputs[0].Shape, []int{1, 2, 16, 8}) || len(s.Assumed) != 0 || s.Nodes["Conv"] == 0 ||
		s.Parameters < 5000 || s.FLOPs <= 0 || s.Peak <= 0 || s.Train <= s.Peak {
		t.Errorf("%+v", s)
	}
	picture, _ := mustCall(t, "graph", "show", file, "-dot", "-scope", "mid_block/attentions.0")
	if !strings.HasPrefix(picture, "digraph {") || !strings.Contains(picture, `label="Softmax"`) || strings.Contains(picture, `"ConvTranspose"`) {
		t.Errorf("the picture is\n%s", picture)
	}
	for _, c := range []badCall{
		{"no file", []string{"graph", "show"}, 2, "0 files, want one"},
		{"a scope without a picture", []string{"graph", "show", file, "-scope", "x"}, 2, "-scope x without -dot"},
		{"no such scope", []string{"graph", "show", file, "-dot", "-scope", "nowhere"}, 1, `no nodes at scope "nowhere"`},
		{"a dimension", []string{"graph", "show", file, "-dim", "height"}, 2, "NAME=NUMBER"},
		{"a dimension that is not there", []string{"graph", "show", file, "-dim", "depth=3"}, 1, "-dim depth=3"},
		{"no model", []string{"graph", "show", "graph_test.go"}, 1, "graph_test.go"},
	} {
		c.check(t, filepath.Join(t.TempDir(), "out"))
	}
}

// graph differentiate writes the artifacts of export, of the patterns' weights.
func TestGraphDifferentiate(t *testing.T) {
	file, out := exportedGraph(t, "mlp/torchscript"), filepath.Join(t.TempDir(), "deep", "artifacts")
	_, stderr := mustCall(t, "graph", "differentiate", file, "-loss", "mse", "-wrt", "0.*", "-wrt", "3.weight", "-dim", "batch=4", "-out", out)
	if stderr != "" {
		t.Errorf("stderr is %q", stderr)
	}
	m := readExport(t, out)
	var trained, frozen []string
	for _, p := range m.Parameters {
		if p.Trained {
			trained = append(trained, p.Key)
		} else {
			frozen = append(frozen, p.Key)
		}
	}
	if !slices.Equal(trained, []string{"0.weight", "0.bias", "3.weight"}) || len(frozen) != 3 {
		t.Errorf("trained %v, frozen %v", trained, frozen)
	}
	for _, name := range []string{"training_model.onnx", "eval_model.onnx", "optimizer_model.onnx", "grad_norm_model.onnx"} {
		loaded, err := onnx.Load(filepath.Join(out, name))
		if err == nil {
			err = onnx.Check(loaded)
		}
		if err != nil || len(loaded.GetGraph().GetInput()) != len(m.Models[name].Inputs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []badCall{
		{"again", []string{"graph", "differentiate", file, "-loss", "mse", "-dim", "batch=4", "-out", out}, 1, "is not empty: name another folder"},
		{"no loss", []string{"graph", "differentiate", file, "-out", out}, 2, "mse, diffusion, cross-entropy"},
		{"no out", []string{"graph", "differentiate", file, "-loss", "mse"}, 2, "no -out"},
		{"no file", []string{"graph", "differentiate", "-loss", "mse", "-out", out}, 2, "0 files"},
	} {
		c.check(t, out)
	}
}

// graph weights takes weights out of an exported denoiser, and puts others in.
func TestGraphWeights(t *testing.T) {
	r, err := zip.OpenReader("../../pipeline/testdata/denoisers.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir, source := t.TempDir(), "../../models/unet/testdata/single"
	src, err := r.Open("single-scalar/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	data, err := io.ReadAll(src)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	file, out := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "unpacked")
	for _, c := range []badCall{
		{"no file", []string{"graph", "weights", "-out", out}, 2, "0 files"},
		{"no out", []string{"graph", "weights", file}, 2, "no -out"},
		{"no config.json", []string{"graph", "weights", file, "-out", out}, 1, "config.json"},
	} {
		c.check(t, dir)
	}
	config, err := os.ReadFile(filepath.Join(source, "config.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustCall(t, "graph", "weights", file, "-out", out)
	written := filepath.Join(dir, "new.onnx")
	mustCall(t, "graph", "weights", file, "-from", filepath.Join(out, "diffusion_pytorch_model.safetensors"), "-out", written)
	// What stands in the way is kept, as export keeps it.
	weights := filepath.Join(out, "diffusion_pytorch_model.safetensors")
	for _, c := range []badCall{
		{"over a file", []string{"graph", "weights", file, "-from", weights, "-out", written}, 1, "new.onnx exists: name another file, or remove it"},
		{"over itself", []string{"graph", "weights", file, "-from", weights, "-out", file}, 1, "model.onnx exists: name another file"},
		{"over a folder", []string{"graph", "weights", file, "-from", weights, "-out", out}, 1, "unpacked exists: name another file"},
		{"into a folder in use", []string{"graph", "weights", file, "-out", out}, 1, "unpacked is not empty: name another folder"},
	} {
		c.check(t, dir)
	}
	again, err := os.ReadFile(written)
	if err != nil {
		t.Fatal(err)
	}
	before, errBefore := onnx.Unmarshal(data)
	after, errAfter := onnx.Unmarshal(again)
	if errBefore != nil || errAfter != nil {
		t.Fatal(errBefore, errAfter)
	}
	for i, w := range before.Graph.Initializer {
		x, errX := onnx.TensorData(w, "")
		y, errY := onnx.TensorData(after.Graph.Initializer[i], "")
		if errX != nil || errY != nil || string(x) != string(y) || w.GetName() != after.Graph.Initializer[i].GetName() {
			t.Errorf("initializer %d %q is not as it was: %v, %v", i, w.GetName(), errX, errY)
		}
	}
}
