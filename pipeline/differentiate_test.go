package pipeline

import (
	"archive/zip"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// unzipped writes an archive's files into a folder for a test.
func unzipped(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	r, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, f := range r.File {
		src, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(src)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// heldKeys is names.json: which initializer holds which key, transposed or not.
func heldKeys(t *testing.T, path string) map[string]heldKey {
	t.Helper()
	var names struct{ Held map[string]heldKey }
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &names)
	}
	if err != nil {
		t.Fatal(err)
	}
	return names.Held
}

type heldKey struct {
	Key        string
	Transposed bool
}

func (h *heldKey) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Key, &h.Transposed})
}

// runDifferentiated runs one of the written models on its weights and on what
// is given, by name.
func runDifferentiated(t *testing.T, dir, file string, floats map[string][]float32, integers map[string][]int64) map[string][]float32 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	weights := openTensors(t, filepath.Join(dir, "model.safetensors"))
	session, err := enginetest.Open(t).NewSession(raw, engine.SessionOptions{Name: file})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, info := range session.Inputs {
		x, err := enginetest.Open(t).NewTensor(info.DType, info.Shape...)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if _, ok := weights.file.Lookup(info.Name); ok {
			err = x.SetFloat32(weights.float32s(info.Name))
		} else if values, ok := floats[info.Name]; ok {
			err = x.SetFloat32(values)
		} else if values, ok := integers[info.Name]; ok {
			err = x.SetInt64(values)
		} else {
			t.Fatalf("%s: nothing for input %s", file, info.Name)
		}
		if err == nil {
			err = session.Bind(info.Name, x)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	outputs := map[string]*engine.Tensor{}
	for _, info := range session.Outputs {
		y, err := enginetest.Open(t).NewTensor(info.DType, info.Shape...)
		if err == nil {
			err = session.Bind(info.Name, y)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer y.Close()
		outputs[info.Name] = y
	}
	if err := session.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	results := map[string][]float32{}
	for name, y := range outputs {
		results[name] = append([]float32{}, y.GetFloat32()...)
	}
	return results
}

// compareHeld compares each <initializer>.grad with the gradient of the key that
// the initializer holds; a true gradient of 0 may be 1e-6 of the largest.
func compareHeld(t *testing.T, got map[string][]float32, held map[string]heldKey, want func(key string) ([]float32, []int64), bound float64) {
	t.Helper()
	largest, compared := 0.0, 0
	for _, h := range held {
		ref, _ := want(h.Key)
		for _, x := range ref {
			largest = max(largest, math.Abs(float64(x)))
		}
	}
	for name, h := range held {
		ref, shape := want(h.Key)
		d, ok := got[name+".grad"]
		if ref == nil || !ok {
			continue
		}
		compared++
		if len(d) != len(ref) {
			t.Errorf("%s.grad has %d elements, want %d", name, len(d), len(ref))
			continue
		}
		worst, scale := 0.0, 1e-2*largest
		for i, x := range ref {
			at := i
			if h.Transposed {
				rows, cols := int(shape[0]), int(shape[1])
				at = i%cols*rows + i/cols
			}
			worst, scale = max(worst, math.Abs(float64(d[at]-x))), max(scale, math.Abs(float64(x)))
		}
		if !(worst <= bound*scale) {
			t.Errorf("%s.grad (%s): off by %.1e, want %.0e at most", name, h.Key, worst/scale, bound)
		}
	}
	if compared == 0 {
		t.Error("no gradient was compared")
	}
}

const exportsZip = "../models/graph/importer/testdata/exports.zip"

// Files by other exporters, differentiated: loss and gradients as PyTorch's
// autograd has them, and the written evaluation model is the original.
func TestDifferentiate(t *testing.T) {
	dir := unzipped(t, exportsZip)
	for _, c := range []struct {
		file, loss string
		dims       map[string]int
	}{
		{"mlp/torchscript", "mse", map[string]int{"batch": 5}},
		{"mlp/dynamo", "mse", nil},
		{"vit/dynamo", "mse", nil},
		{"resnet/torchscript", "cross-entropy", map[string]int{"batch": 3}},
		{"resnet/dynamo", "cross-entropy", nil},
		{"sd1/dynamo", "mse", nil}, // with external data
	} {
		t.Run(c.file, func(t *testing.T) {
			folder, out := filepath.Join(dir, c.file), filepath.Join(t.TempDir(), "out")
			o := DifferentiateOptions{File: filepath.Join(folder, "model.onnx"), Out: out, Loss: c.loss, Wrt: []string{"*"}, Dims: c.dims, Messages: io.Discard}
			if err := Differentiate(o); err != nil {
				t.Fatal(err)
			}
			v := openTensors(t, filepath.Join(folder, "..", "vectors.safetensors"))
			floats, integers := map[string][]float32{}, map[string][]int64{}
			for _, entry := range v.file.Tensors {
				name, isInput := strings.CutPrefix(entry.Name, "in.")
				if !isInput && name != "target" {
					continue
				}
				if entry.DType == "I64" {
					integers[name] = v.int64s(entry.Name)
				} else {
					floats[name] = v.float32s(entry.Name)
				}
			}
			got := runDifferentiated(t, out, "training_model.onnx", floats, integers)
			within(t, "loss", got["loss"], v.float32s("loss"), 1e-5)
			compareHeld(t, got, heldKeys(t, filepath.Join(folder, "names.json")), func(key string) ([]float32, []int64) {
				entry, ok := v.file.Lookup("grad." + key)
				if !ok {
					return nil, nil
				}
				return v.float32s("grad." + key), entry.Shape
			}, 1e-4)
			eval := runDifferentiated(t, out, "eval_model.onnx", floats, integers)
			within(t, "output", eval["output"], v.float32s("output"), 1e-5)
			checkManifest(t, out)
		})
	}
}

// checkManifest holds manifest.json to the files: parameters are those of
// model.safetensors, and each trained one has a gradient.
func checkManifest(t *testing.T, dir string) {
	t.Helper()
	var m manifest
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	weights := openTensors(t, filepath.Join(dir, "model.safetensors"))
	outputs := map[string]bool{}
	for _, o := range m.Models["training_model.onnx"].Outputs {
		outputs[o.Name] = true
	}
	for _, p := range m.Parameters {
		if got := weights.lookup(p.Key).Size; got != int64(4*Param{Shape: p.Shape}.Numel()) {
			t.Errorf("%s: %d bytes for shape %v", p.Key, got, p.Shape)
		}
		if p.Trained != outputs[p.Key+".grad"] {
			t.Errorf("%s: trained %v, its gradient is an output: %v", p.Key, p.Trained, outputs[p.Key+".grad"])
		}
	}
	if len(m.Parameters) != len(weights.file.Tensors) || m.Trained%m.Chunk != 0 || len(m.Digests) != 5 {
		t.Errorf("%d parameters of %d tensors, chunk %d of %d, %d digests", len(m.Parameters), len(weights.file.Tensors), m.Chunk, m.Trained, len(m.Digests))
	}
}

// Exported denoisers with the diffusion loss: the vectors of diffusers, and to
// 1e-5 what the same folder gives as a graph of this module.
func TestDifferentiateDiffusion(t *testing.T) {
	dir := unzipped(t, "testdata/denoisers.zip")
	for _, c := range []struct {
		name, folder string
		dims         map[string]int
	}{
		{"single-scalar", "single", map[string]int{"batch": 3, "height": 4, "width": 4}}, // one timestep, spread over the batch
		{"single-vector", "single", nil},
		{"sd1-scalar", "sd1", map[string]int{"batch": 3, "sequence": 5}},
		{"sd1-vector", "sd1", map[string]int{"steps": 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := openGolden(t, c.folder)
			if _, ok := c.dims["sequence"]; ok {
				c.dims["sequence"] = g.options.Tokens
			}
			text, err := os.ReadFile(g.Scheduler)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, c.name, "scheduler_config.json"), text, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			imported, native := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
			if err := Differentiate(DifferentiateOptions{File: filepath.Join(dir, c.name, "model.onnx"), Out: imported, Loss: "diffusion",
				Wrt: []string{"*"}, Dims: c.dims, Messages: io.Discard}); err != nil {
				t.Fatal(err)
			}
			if err := Export(ExportOptions{Model: g.Dir, Out: native, Batch: g.options.Batch, Height: g.options.Height, Width: g.options.Width, Tokens: g.options.Tokens, Messages: io.Discard}); err != nil {
				t.Fatal(err)
			}
			floats, integers := map[string][]float32{"loss_scale": {1}}, map[string][]int64{"timesteps": g.vectors.int64s("timesteps")}
			for _, name := range []string{"sample", "noise", "noisy", "loss_weights", "encoder_hidden_states"} {
				if _, ok := g.vectors.file.Lookup(name); ok {
					floats[name] = g.vectors.float32s(name)
				}
			}
			if _, ok := g.vectors.file.Lookup("class_labels"); ok {
				integers["class_labels"] = g.vectors.int64s("class_labels")
			}
			got := runDifferentiated(t, imported, "training_model.onnx", floats, integers)
			ours := runDifferentiated(t, native, "training_model.onnx", floats, integers)
			held := heldKeys(t, filepath.Join(dir, c.name, "names.json"))
			within(t, "loss", got["loss"], ours["loss"], 1e-5)
			within(t, "loss_per_sample", got["loss_per_sample"], ours["loss_per_sample"], 1e-5)
			compareHeld(t, got, held, func(key string) ([]float32, []int64) {
				return ours[key+".grad"], g.vectors.lookup(key + ".grad").Shape
			}, 1e-5)
			within(t, "loss", got["loss"], g.vectors.float32s("loss"), 1e-5)
			compareHeld(t, got, held, func(key string) ([]float32, []int64) {
				return g.vectors.float32s(key + ".grad"), g.vectors.lookup(key + ".grad").Shape
			}, 1e-4)
			floats["sample"] = floats["noisy"]
			eval := runDifferentiated(t, imported, "eval_model.onnx", floats, integers)
			within(t, "out_sample", eval["out_sample"], g.vectors.float32s("out_sample"), 1e-5)
		})
	}
}

// loss_scale need not be fed: its default is in the file. Where it is, gradients
// are that much larger, and the loss is not.
func TestDifferentiateLossScale(t *testing.T) {
	dir, out := unzipped(t, exportsZip), filepath.Join(t.TempDir(), "out")
	if err := Differentiate(DifferentiateOptions{File: filepath.Join(dir, "mlp/dynamo/model.onnx"), Out: out, Loss: "mse", Wrt: []string{"0.*", "3.bias"}, Messages: io.Discard}); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Load(filepath.Join(out, "training_model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	initializers := 0
	for _, i := range m.Graph.Initializer {
		if i.GetName() == "loss_scale" {
			initializers++
		}
	}
	var grads []string
	for _, o := range m.Graph.Output {
		if key, ok := strings.CutSuffix(o.GetName(), ".grad"); ok {
			grads = append(grads, key)
		}
	}
	if initializers != 1 || strings.Join(grads, " ") != "0.weight 0.bias 3.bias" {
		t.Errorf("%d defaults of loss_scale, gradients of %v", initializers, grads)
	}
}

// What cannot be done is said, with what can.
func TestDifferentiateErrors(t *testing.T) {
	dir := unzipped(t, exportsZip)
	file := func(name string) string { return filepath.Join(dir, name, "model.onnx") }
	for _, c := range []struct {
		name string
		o    DifferentiateOptions
		want []string
	}{
		{"a loss", DifferentiateOptions{File: file("mlp/dynamo"), Loss: "hinge"}, []string{`-loss "hinge"`, "mse, diffusion, cross-entropy"}},
		{"a pattern", DifferentiateOptions{File: file("mlp/dynamo"), Loss: "mse", Wrt: []string{"["}}, []string{`-wrt "["`}},
		{"nothing named", DifferentiateOptions{File: file("mlp/dynamo"), Loss: "mse", Wrt: []string{"conv*"}}, []string{`-wrt "conv*"`, "6 parameters", "0.weight"}},
		{"a symbolic dimension", DifferentiateOptions{File: file("mlp/torchscript"), Loss: "mse", Wrt: []string{"*"}}, []string{"batch", "-dim"}},
		{"another dimension", DifferentiateOptions{File: file("mlp/dynamo"), Loss: "mse", Wrt: []string{"*"}, Dims: map[string]int{"batch": 2}}, []string{"-dim batch=2", "none"}},
		{"no denoiser", DifferentiateOptions{File: file("mlp/dynamo"), Loss: "diffusion", Wrt: []string{"*"}}, []string{"-loss diffusion", "sample"}},
		{"no classes", DifferentiateOptions{File: file("vit/dynamo"), Loss: "diffusion", Wrt: []string{"*"}}, []string{"-loss diffusion"}},
		{"no file", DifferentiateOptions{File: file("none"), Loss: "mse", Wrt: []string{"*"}}, []string{"no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Out, c.o.Messages = filepath.Join(t.TempDir(), "out"), io.Discard
			err := Differentiate(c.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q, want %q in it", err, part)
				}
			}
			if _, err := os.Stat(c.o.Out); err == nil {
				t.Error("the folder was made")
			}
		})
	}
}

// A parameter that the first output does not depend on is not trained, and said;
// running statistics are no parameters, whatever a pattern names.
func TestDifferentiateUntrained(t *testing.T) {
	g, err := graph.Build("two", func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 2)
		b.Output("y", b.Mul(x, b.Input("p", graph.Float32, 2)))
		b.Output("z", b.Mul(x, b.Input("q", graph.Float32, 2)))
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Graph.Input = m.Graph.Input[:1]
	for _, name := range []string{"p", "q"} {
		m.Graph.Initializer = append(m.Graph.Initializer, onnx.NewTensor(name, onnx.TensorProto_FLOAT, []int64{2}, make([]byte, 8)))
	}
	file, out := filepath.Join(t.TempDir(), "two.onnx"), filepath.Join(t.TempDir(), "out")
	if err := onnx.Save(file, m); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := Differentiate(DifferentiateOptions{File: file, Out: out, Loss: "mse", Wrt: []string{"*"}, Messages: &said}); err != nil {
		t.Fatal(err)
	}
	checkManifest(t, out)
	if !strings.Contains(said.String(), "no gradient reaches q: it is not trained") || strings.Contains(said.String(), "reaches p") {
		t.Errorf("said %q", said.String())
	}

	dir, out := unzipped(t, exportsZip), filepath.Join(t.TempDir(), "out")
	o := DifferentiateOptions{File: filepath.Join(dir, "resnet/torchscript/model.onnx"), Out: out, Loss: "cross-entropy", Wrt: []string{"*normalization*"},
		Dims: map[string]int{"batch": 1}, Messages: io.Discard}
	if err := Differentiate(o); err != nil {
		t.Fatal(err)
	}
	checkManifest(t, out)
	for _, tensor := range openTensors(t, filepath.Join(out, "model.safetensors")).file.Tensors {
		if strings.Contains(tensor.Name, "running_") {
			t.Errorf("%s is a parameter", tensor.Name)
		}
	}
}
