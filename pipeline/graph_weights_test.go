package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models"
	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
)

// The weights of an export are those of the folder that it was made of, bit for
// bit and under its keys; written back into the file, changed, they are there.
func TestGraphWeights(t *testing.T) {
	dir := unzipped(t, "testdata/denoisers.zip")
	for name, folder := range map[string]string{"single-scalar": "single", "single-vector": "single", "sd1-scalar": "sd1"} {
		t.Run(name, func(t *testing.T) {
			g := openGolden(t, folder)
			file, out := filepath.Join(dir, name, "model.onnx"), filepath.Join(t.TempDir(), "unpacked")
			for _, beside := range []string{filepath.Join(g.Dir, "config.json"), g.Scheduler} {
				text, err := os.ReadFile(beside)
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, name, filepath.Base(beside)), text, 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := UnpackGraph(file, out); err != nil {
				t.Fatal(err)
			}
			unpacked, err := models.Open(out, "unet")
			if err != nil {
				t.Fatal(err)
			}
			defer unpacked.Close()
			sameTensors(t, unpacked.Weights, g.Weights, 1)
			if unpacked.Scheduler == "" {
				t.Error("no scheduler_config.json")
			}

			// Other weights, by their keys, into a copy of the file and out again.
			var entries []safetensors.Entry
			for _, tensor := range g.Weights.Tensors {
				values := make([]float32, tensor.Size/4)
				if err := g.Weights.Float32(tensor, values); err != nil {
					t.Fatal(err)
				}
				for i := range values {
					values[i] *= 1.5
				}
				entries = append(entries, safetensors.Float32Entry(tensor.Name, tensor.Shape, values))
			}
			trained := filepath.Join(t.TempDir(), "trained.safetensors")
			if err := safetensors.Write(trained, nil, entries); err != nil {
				t.Fatal(err)
			}
			written := filepath.Join(t.TempDir(), "model.onnx")
			if err := RepackGraph(file, trained, written); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(g.Dir, "config.json"))
			if err == nil {
				err = os.WriteFile(filepath.Join(filepath.Dir(written), "config.json"), text, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			again := filepath.Join(t.TempDir(), "again")
			if err := UnpackGraph(written, again); err != nil {
				t.Fatal(err)
			}
			changed, err := models.Open(again, "unet")
			if err != nil {
				t.Fatal(err)
			}
			defer changed.Close()
			sameTensors(t, changed.Weights, g.Weights, 1.5)
		})
	}
}

func sameTensors(t *testing.T, got, want *safetensors.File, factor float32) {
	t.Helper()
	if len(got.Tensors) != len(want.Tensors) {
		t.Errorf("%d tensors, want %d", len(got.Tensors), len(want.Tensors))
	}
	for _, tensor := range want.Tensors {
		found, ok := got.Lookup(tensor.Name)
		if !ok || found.Size != tensor.Size {
			t.Errorf("%s: there %v, %d bytes, want %d", tensor.Name, ok, found.Size, tensor.Size)
			continue
		}
		x, y := make([]float32, tensor.Size/4), make([]float32, tensor.Size/4)
		if err := got.Float32(found, x); err != nil {
			t.Fatal(err)
		}
		if err := want.Float32(tensor, y); err != nil {
			t.Fatal(err)
		}
		for i := range y {
			if x[i] != factor*y[i] {
				t.Errorf("%s[%d] is %g, want %g", tensor.Name, i, x[i], factor*y[i])
				break
			}
		}
	}
}

// The copy runs in ONNX Runtime as it is, and gives the model's output.
func TestRepackedGraphRuns(t *testing.T) {
	dir, g := unzipped(t, "testdata/denoisers.zip"), openGolden(t, "single")
	written := filepath.Join(t.TempDir(), "model.onnx")
	if err := RepackGraph(filepath.Join(dir, "single-vector", "model.onnx"), g.Weights.Path, written); err != nil {
		t.Fatal(err)
	}
	model, err := os.ReadFile(written)
	if err != nil {
		t.Fatal(err)
	}
	e := enginetest.Open(t)
	session, err := e.NewSession(model, engine.SessionOptions{Name: "repacked"})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	inputs := map[string]*engine.Tensor{}
	for _, info := range session.Inputs {
		x, err := e.NewTensor(info.DType, info.Shape...)
		switch {
		case err != nil:
		case info.Name == "sample":
			err = x.SetFloat32(g.vectors.float32s("noisy"))
		case info.Name == "timestep":
			err = x.SetInt64(g.vectors.int64s("timesteps"))
		default:
			err = x.SetInt64(g.vectors.int64s(info.Name))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		inputs[info.Name] = x
	}
	out, err := engine.RunOnce(e, model, inputs)
	if err != nil {
		t.Fatal(err)
	}
	defer out["output"].Close()
	within(t, "output", out["output"].GetFloat32(), g.vectors.float32s("out_sample"), 1e-5)
}

// A folder of another model, weights of another model, no config.json: said.
func TestGraphWeightsErrors(t *testing.T) {
	dir, out := unzipped(t, "testdata/denoisers.zip"), filepath.Join(t.TempDir(), "out")
	file := filepath.Join(dir, "single-scalar", "model.onnx")
	expect := func(what string, err error, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v, want %q in it", what, err, part)
			}
		}
	}
	expect("no config.json", UnpackGraph(file, out), "config.json")
	text, err := os.ReadFile(filepath.Join(goldenModels, "classes", "config.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "single-scalar", "config.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	expect("another model's config.json", UnpackGraph(file, out), "config.json's model")
	expect("another model's weights", RepackGraph(file, filepath.Join(goldenModels, "classes", "diffusion_pytorch_model.safetensors"), filepath.Join(dir, "new.onnx")), "values for dims")
	if _, err := os.Stat(out); err == nil {
		t.Error("a folder was made")
	}
}

// Training from an exported folder is training from the diffusers folder that
// it was exported of, to the bit; and what was trained goes back into the file.
func TestTrainFromExport(t *testing.T) {
	source := plainSource(t)
	base := filepath.Join(train(t, "", tinySets(source, "train.max_steps=2")), "checkpoint-2")
	exported := filepath.Join(t.TempDir(), "onnx")
	exportLikeOthers(t, base, filepath.Join(exported, "unet"))
	run := func(from string) string {
		return train(t, "", withoutUNet(tinySets(source, "model.path="+from, "train.max_steps=20", "sample.every_steps=0", "checkpoint.every_steps=20")))
	}
	want, got := run(base), run(exported)
	for i, record := range readLog(t, got) {
		if ref := readLog(t, want)[i]; record.Loss != ref.Loss || record.GradNorm != ref.GradNorm {
			t.Fatalf("step %d: loss %v and norm %v, want %v and %v", i+1, record.Loss, record.GradNorm, ref.Loss, ref.GradNorm)
		}
	}
	a, b := openTensors(t, filepath.Join(got, "checkpoint-20", "unet", "diffusion_pytorch_model.safetensors")), openTensors(t, filepath.Join(want, "checkpoint-20", "unet", "diffusion_pytorch_model.safetensors"))
	sameTensors(t, a.file, b.file, 1)

	file, written := filepath.Join(exported, "unet", "model.onnx"), filepath.Join(t.TempDir(), "unet", "model.onnx")
	if err := os.Mkdir(filepath.Dir(written), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := RepackGraph(file, a.file.Path, written); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(exported, "unet", "config.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(filepath.Dir(written), "config.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	back, err := openSource(filepath.Dir(filepath.Dir(written)))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	sameTensors(t, back.Weights, a.file, 1)
}

// exportLikeOthers writes a folder's U-Net as one ONNX file with its weights
// within, config.json beside, and the scheduler's folder next to it.
func exportLikeOthers(t *testing.T, from, to string) {
	t.Helper()
	m, err := models.Open(from, "unet")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g, err := EvalGraph(m.UNet, GraphOptions{Batch: 1, Height: 8, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	file, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	var inputs []*onnx.ValueInfoProto
	for _, in := range file.Graph.Input {
		tensor, ok := m.Weights.Lookup(in.GetName())
		if !ok {
			inputs = append(inputs, in)
			continue
		}
		raw, err := m.Weights.Bytes(tensor)
		if err != nil {
			t.Fatal(err)
		}
		file.Graph.Initializer = append(file.Graph.Initializer, onnx.NewTensor(in.GetName(), onnx.TensorProto_FLOAT, tensor.Shape, raw))
	}
	file.Graph.Input = inputs
	scheduler := filepath.Join(filepath.Dir(to), "scheduler")
	for _, dir := range []string{to, scheduler} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := onnx.Save(filepath.Join(to, "model.onnx"), file); err != nil {
		t.Fatal(err)
	}
	for _, copied := range [][2]string{{filepath.Join(from, "unet", "config.json"), filepath.Join(to, "config.json")}, {m.Scheduler, filepath.Join(scheduler, "scheduler_config.json")}} {
		text, err := os.ReadFile(copied[0])
		if err == nil {
			err = os.WriteFile(copied[1], text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
