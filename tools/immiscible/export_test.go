package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"immiscible/datasets/rng"
	"immiscible/models"
	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
	"immiscible/pipeline"
	"immiscible/pipeline/diffusion"
)

// exportManifest is manifest.json, as a tool that knows nothing of this module
// would read it.
type exportManifest struct {
	Parameters []struct {
		Key, DType string
		Shape      []int64
		Offset     int
		Trained    bool
	}
	Chunk, Trained, Opset int
	Models                map[string]struct {
		Inputs, Outputs []struct {
			Name, DType string
			Shape       []int64
		}
	}
	SHA256 map[string]string
}

func readExport(t *testing.T, dir string) exportManifest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m exportManifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The artifacts of design §3 are there, whole, and as manifest.json describes
// them: digests, parameters without gap or overlap, inputs and outputs.
func TestExport(t *testing.T) {
	model, out := trainedModel(t), filepath.Join(t.TempDir(), "deep", "artifacts")
	mustCall(t, "export", "-model", model, "-out", out, "-batch", "3", "-resolution", "8x4")
	m := readExport(t, out)
	var names []string
	for path, data := range tree(t, out) {
		if name := filepath.Base(path); path != out && name != "manifest.json" {
			names = append(names, name)
			if sum := sha256.Sum256([]byte(data)); m.SHA256[name] != hex.EncodeToString(sum[:]) {
				t.Errorf("%s: the digest in manifest.json is %q", name, m.SHA256[name])
			}
		}
	}
	slices.Sort(names)
	if want := []string{"eval_model.onnx", "grad_norm_model.onnx", "model.safetensors", "optimizer_model.onnx", "training_model.onnx"}; !slices.Equal(names, want) || len(m.SHA256) != len(want) {
		t.Fatalf("the folder holds %q, want %q and manifest.json", names, want)
	}

	weights, err := safetensors.Open(filepath.Join(out, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	source, err := models.Open(model, "unet")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if len(m.Parameters) != len(source.Weights.Tensors) || len(m.Parameters) != len(weights.Tensors) {
		t.Errorf("%d parameters and %d weights of the model's %d", len(m.Parameters), len(weights.Tensors), len(source.Weights.Tensors))
	}
	end := 0
	for _, p := range m.Parameters {
		n := 1
		for _, d := range p.Shape {
			n *= int(d)
		}
		if p.Offset < end || p.Offset%64 != 0 || p.DType != "float32" || !p.Trained || p.Offset+n > m.Trained {
			t.Errorf("parameter %+v, the one before ends at %d", p, end)
		}
		end = p.Offset + n
		a, okA := weights.Lookup(p.Key)
		b, okB := source.Weights.Lookup(p.Key)
		x, errX := weights.Bytes(a)
		y, errY := source.Weights.Bytes(b)
		if !okA || !okB || errX != nil || errY != nil || string(x) != string(y) || !slices.Equal(a.Shape, p.Shape) {
			t.Errorf("%s: shape %v, %v, %v", p.Key, a.Shape, errX, errY)
		}
	}
	if m.Chunk < 1 || m.Trained%m.Chunk != 0 || m.Opset < 18 {
		t.Errorf("chunk %d, trained %d, opset %d", m.Chunk, m.Trained, m.Opset)
	}

	want := map[string][]string{
		"training_model.onnx":  {"sample", "noise", "timesteps", "class_labels", "loss_weights", "loss_scale"},
		"eval_model.onnx":      {"sample", "timesteps", "class_labels"},
		"optimizer_model.onnx": {"params", "grads", "exp_avg", "exp_avg_sq", "ema_params", "lr", "beta1", "beta2", "eps", "weight_decay", "bias_correction1", "bias_correction2", "clip_coef", "ema_decay"},
		"grad_norm_model.onnx": {"grads"},
	}
	if !slices.Equal(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(m.Models))) {
		t.Errorf("manifest.json describes %q", slices.Sorted(maps.Keys(m.Models)))
	}
	for name, inputs := range want {
		loaded, err := onnx.Load(filepath.Join(out, name))
		if err == nil {
			err = onnx.Check(loaded)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, v := range m.Models[name].Inputs {
			if _, parameter := weights.Lookup(v.Name); !parameter {
				got = append(got, v.Name)
			}
			if slices.Contains([]string{"sample", "noise"}, v.Name) && !slices.Equal(v.Shape, []int64{3, 1, 8, 4}) {
				t.Errorf("%s: input %s is %v", name, v.Name, v.Shape)
			}
		}
		slices.Sort(got)
		slices.Sort(inputs)
		if !slices.Equal(got, inputs) {
			t.Errorf("%s: inputs %q, want %q", name, got, inputs)
		}
		for i, v := range m.Models[name].Inputs {
			if graph := loaded.GetGraph().GetInput(); len(graph) != len(m.Models[name].Inputs) || graph[i].GetName() != v.Name {
				t.Errorf("%s: the file has %d inputs, manifest.json %d, or another order", name, len(graph), len(m.Models[name].Inputs))
				break
			}
		}
	}
	badCall{"again", []string{"export", "-model", model, "-out", out}, 1, "is not empty: name another folder"}.check(t, out)

	// An empty folder will do, and the same model gives the same bytes.
	again := t.TempDir()
	mustCall(t, "export", "-model", model, "-out", again, "-batch", "3", "-resolution", "8x4")
	for path, data := range tree(t, out) {
		if other := filepath.Join(again, filepath.Base(path)); path != out && tree(t, again)[other] != data {
			t.Errorf("%s: other bytes the second time", filepath.Base(path))
		}
	}
}

// What the exported training_model.onnx computes from its own inputs, by name,
// in a plain session, is what training computes: loss and every gradient. The
// bounds are the design's for agreement, since training may run fused kernels
// where the artifact has standard operators.
func TestExportedStepIsTheTrainedStep(t *testing.T) {
	const batch = 3
	model, out := trainedModel(t), filepath.Join(t.TempDir(), "artifacts")
	mustCall(t, "export", "-model", model, "-out", out, "-batch", "3")
	e := enginetest.Open(t)

	floats := map[string][]float32{"loss_weights": {1, 0.5, 2}, "loss_scale": {4}}
	for _, name := range []string{"sample", "noise"} {
		floats[name] = make([]float32, batch*8*8)
		rng.New(1, name, 0).FillNormal(floats[name])
	}
	integers := map[string][]int64{"timesteps": {0, 500, 999}, "class_labels": {3, 9, 10}}

	// As training does it.
	m, err := models.Open(model, "unet")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	config, err := diffusion.LoadConfig(m.Scheduler)
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := diffusion.New(config)
	if err != nil {
		t.Fatal(err)
	}
	g, err := pipeline.TrainingGraph(m.UNet, schedule, pipeline.GraphOptions{Batch: batch, Height: 8, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	state, err := pipeline.NewState(e, pipeline.NewLayout(g.Params(), m.UNet.Trained), false)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	if err := state.LoadParams(m.Weights, state.Params, nil); err != nil {
		t.Fatal(err)
	}
	stepper, err := pipeline.NewStepper(e, g, state)
	if err != nil {
		t.Fatal(err)
	}
	defer stepper.Close()
	for name, values := range floats {
		if err := stepper.Input(name).SetFloat32(values); err != nil {
			t.Fatal(err)
		}
	}
	for name, values := range integers {
		if err := stepper.Input(name).SetInt64(values); err != nil {
			t.Fatal(err)
		}
	}
	loss, perSample, err := stepper.Gradients(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}

	// As a stranger does it: file, weights and names.
	raw, err := os.ReadFile(filepath.Join(out, "training_model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	weights, err := safetensors.Open(filepath.Join(out, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	session, err := e.NewSession(raw, engine.SessionOptions{Name: "exported"})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	bound := map[string]*engine.Tensor{}
	for _, info := range slices.Concat(session.Inputs, session.Outputs) {
		tensor, err := e.NewTensor(info.DType, info.Shape...)
		if err == nil {
			err = session.Bind(info.Name, tensor)
		}
		if weight, ok := weights.Lookup(info.Name); ok && err == nil {
			floats[info.Name] = make([]float32, tensor.Len())
			err = weights.Float32(weight, floats[info.Name])
		}
		if values, ok := floats[info.Name]; ok && err == nil {
			err = tensor.SetFloat32(values)
		}
		if values, ok := integers[info.Name]; ok && err == nil {
			err = tensor.SetInt64(values)
		}
		if err != nil {
			t.Fatal(err)
		}
		bound[info.Name] = tensor
	}
	if err := session.Run(t.Context()); err != nil {
		t.Fatal(err)
	}

	agree := func(name string, got, want []float32, bound, least float64) {
		t.Helper()
		worst, scale := 0.0, least
		for i := range want {
			worst, scale = max(worst, math.Abs(float64(got[i]-want[i]))), max(scale, math.Abs(float64(want[i])))
		}
		if !(worst <= bound*scale) || len(got) != len(want) {
			t.Errorf("%s: %d values, off by %.1e of %.1e", name, len(got), worst, scale)
		}
	}
	agree("loss", bound["loss"].GetFloat32(), []float32{float32(loss)}, 1e-5, 0)
	agree("loss_per_sample", bound["loss_per_sample"].GetFloat32(), perSample, 1e-5, 0)
	weighted := (perSample[0] + 0.5*perSample[1] + 2*perSample[2]) / 3
	agree("the weighted mean", []float32{weighted}, []float32{float32(loss)}, 1e-6, 0)
	largest := 0.0
	grads := map[string][]float32{}
	for _, p := range state.Layout.Params {
		values, err := p.Read(state.Grads)
		if err != nil {
			t.Fatal(err)
		}
		grads[p.Key] = values
		for _, x := range values {
			largest = max(largest, math.Abs(float64(x)))
		}
	}
	for key, values := range grads {
		// 1e-4 of the tensor's largest, and where the true gradient is 0, 1e-6 of
		// the model's largest.
		agree(key+".grad", bound[key+".grad"].GetFloat32(), values, 1e-4, 1e-2*largest)
	}
}

// Export says nothing on its way, but for a folder without a schedule.
func TestExportWithoutASchedule(t *testing.T) {
	model := copyModel(t)
	if err := os.RemoveAll(filepath.Join(model, "scheduler")); err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Export(pipeline.ExportOptions{Model: model, Out: filepath.Join(t.TempDir(), "a"), Batch: 1, Messages: io.Discard}); err != nil {
		t.Error(err)
	}
	_, stderr := mustCall(t, "export", "-model", model, "-out", filepath.Join(t.TempDir(), "b"))
	if want := model + " has no scheduler_config.json: DDPM's defaults are assumed\n"; stderr != want {
		t.Errorf("stderr is %q, want %q", stderr, want)
	}
	_, stderr = mustCall(t, "export", "-model", trainedModel(t), "-out", filepath.Join(t.TempDir(), "c"))
	if stderr != "" {
		t.Errorf("stderr is %q, want nothing", stderr)
	}
}

// A link to an empty folder stays a link, and the artifacts lie where it leads.
func TestExportThroughALink(t *testing.T) {
	dir := t.TempDir()
	disk, link := filepath.Join(dir, "disk"), filepath.Join(dir, "link")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(disk, link); err != nil {
		t.Fatal(err)
	}
	mustCall(t, "export", "-model", trainedModel(t), "-out", link)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v now, %v", info, err)
	}
	readExport(t, disk)
}
