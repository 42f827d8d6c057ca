package pipeline

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/safetensors"
)

// The exported files, in portable operators only, agree with PyTorch as the
// training session with its native kernels does: loss, loss_per_sample, every
// gradient, and the model's output.
func TestGoldenExport(t *testing.T) {
	forEachGolden(t, func(t *testing.T, g golden) {
		out := filepath.Join(t.TempDir(), "out")
		err := Export(ExportOptions{Model: g.Dir, Out: out, Batch: g.options.Batch, Height: g.options.Height, Width: g.options.Width, Tokens: g.options.Tokens, Messages: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		weights, err := safetensors.Open(filepath.Join(out, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer weights.Close()
		training := runExported(t, filepath.Join(out, "training_model.onnx"), weights, g, nil)
		within(t, "loss", training["loss"].GetFloat32(), g.vectors.float32s("loss"), 1e-4)
		within(t, "loss_per_sample", training["loss_per_sample"].GetFloat32(), g.vectors.float32s("loss_per_sample"), 1e-4)
		largest := float32(0)
		for name := range training {
			if strings.HasSuffix(name, ".grad") {
				for _, x := range g.vectors.float32s(name) {
					largest = max(largest, x, -x)
				}
			}
		}
		for name, got := range training {
			key, isGrad := strings.CutSuffix(name, ".grad")
			switch {
			case !isGrad:
			case trueZero(key):
				for _, x := range got.GetFloat32() {
					if !(max(x, -x) <= 1e-6*largest) {
						t.Errorf("%s: %g, want at most %g: its true value is 0", name, x, 1e-6*largest)
					}
				}
			default:
				within(t, name, got.GetFloat32(), g.vectors.float32s(name), 1e-4)
			}
		}
		eval := runExported(t, filepath.Join(out, "eval_model.onnx"), weights, g, map[string]string{"sample": "noisy"})
		within(t, "out_sample", eval["out_sample"].GetFloat32(), g.vectors.float32s("out_sample"), 1e-5)
	})
}

// runExported runs an exported file once. Inputs come from the weights and the
// vectors; renamed says where a vector has another name.
func runExported(t *testing.T, path string, weights *safetensors.File, g golden, renamed map[string]string) map[string]*engine.Tensor {
	t.Helper()
	e := enginetest.Open(t)
	model, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(model, engine.SessionOptions{Name: filepath.Base(path)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inputs := map[string]*engine.Tensor{}
	for _, in := range s.Inputs {
		tensor, err := e.NewTensor(in.DType, in.Shape...)
		if err != nil {
			t.Fatal(err)
		}
		name := in.Name
		if renamed[name] != "" {
			name = renamed[name]
		}
		if w, ok := weights.Lookup(in.Name); ok {
			values := make([]float32, tensor.Len())
			if err := weights.Float32(w, values); err != nil {
				t.Fatal(err)
			}
			err = tensor.SetFloat32(values)
		} else if name == "loss_scale" {
			err = tensor.SetFloat32([]float32{1})
		} else if in.DType == engine.Int64 {
			err = tensor.SetInt64(g.vectors.int64s(name))
		} else {
			err = tensor.SetFloat32(g.vectors.float32s(name))
		}
		if err != nil {
			t.Fatalf("%s: %v", in.Name, err)
		}
		inputs[in.Name] = tensor
	}
	outputs, err := engine.RunOnce(e, model, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}
