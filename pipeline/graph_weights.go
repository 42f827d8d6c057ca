package pipeline

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/models"
	"immiscible/models/graph"
	"immiscible/models/graph/importer"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
	"immiscible/models/unet"
	"immiscible/pipeline/whole"
)

// UnpackGraph makes a diffusers folder out of an exported denoiser: config.json,
// which must stand beside the file (optimum puts it there), the weights under
// their state-dict keys, and scheduler_config.json where there is one. It fails
// unless the file's parameters are exactly those of the model that config.json
// describes, in shape too. The folder out must not exist or be empty, and appears
// whole or not at all.
func UnpackGraph(file, out string) error {
	return whole.Folder(out, func(dir string) error { return unpackGraph(file, dir) })
}

func unpackGraph(file, dir string) error {
	f, err := importer.Open(file)
	if err != nil {
		return err
	}
	config := filepath.Join(filepath.Dir(file), "config.json")
	text, err := os.ReadFile(config)
	if err != nil {
		return fmt.Errorf("%s: a config.json beside it must say what model it is: %w", file, err)
	}
	net, err := unet.Parse(config, text)
	if err != nil {
		return err
	}
	size := net.Sample()
	if size.H == 0 {
		size = unet.Size{H: 64, W: 64}
	}
	model, err := EvalGraph(net, GraphOptions{Batch: 1, Height: size.H, Width: size.W})
	if err != nil {
		return err
	}
	held, err := stateDict(f, model.Params())
	if err != nil {
		return err
	}
	if err := safetensors.Write(filepath.Join(dir, weightsFile), map[string]string{"format": "pt"}, held); err != nil {
		return err
	}
	if scheduler := schedulerNear(file); scheduler != "" {
		text, err := os.ReadFile(scheduler)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "scheduler_config.json"), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644)
}

// stateDict gives a file's weights the keys and shapes of a model's parameters.
func stateDict(f *importer.File, params []*graph.Value) ([]safetensors.Entry, error) {
	weights, keys := f.Weights(), f.Keys()
	byKey := map[string]importer.Weight{}
	for _, w := range weights {
		if k, ok := keys[w.Name]; ok {
			byKey[k.Name] = w
		}
	}
	var entries []safetensors.Entry
	for _, p := range params {
		name := p.Node.Name
		w, ok := byKey[name]
		if !ok { // exported from within another module: unet.conv_in.weight
			for key, candidate := range byKey {
				if prefix, found := strings.CutSuffix(key, "."+name); found && !strings.Contains(prefix, ".") {
					w, ok = candidate, true
				}
			}
		}
		if !ok {
			return nil, fmt.Errorf("%s: no tensor for %s of config.json's model: is the file an export of it?", f.Path, name)
		}
		transposed := keys[w.Name].Transposed
		have := slices.Clone(w.Shape)
		if transposed {
			slices.Reverse(have)
		}
		if !sameButOnes(int64s(have), p.Shape) {
			return nil, fmt.Errorf("%s: tensor %s has shape %v, want %v for %s of config.json's model", f.Path, w.Name, have, p.Shape, name)
		}
		shape := int64s(p.Shape)
		entries = append(entries, safetensors.Entry{Name: name, DType: "F32", Shape: shape, Write: func(out io.Writer) error {
			values, err := w.Float32()
			if err != nil {
				return err
			}
			if transposed {
				values = transposed2(values, w.Shape[0], w.Shape[1])
			}
			return safetensors.Float32Entry(name, shape, values).Write(out)
		}})
	}
	return entries, nil
}

func int64s(list []int) []int64 {
	wide := make([]int64, len(list))
	for i, x := range list {
		wide[i] = int64(x)
	}
	return wide
}

// transposed2 is the transpose of a matrix.
func transposed2(x []float32, rows, cols int) []float32 {
	y := make([]float32, len(x))
	for i := range rows {
		for j := range cols {
			y[j*rows+i] = x[i*cols+j]
		}
	}
	return y
}

// RepackGraph writes a copy of an ONNX file with trained weights: those of a
// safetensors file, under the names that the file has or under state-dict keys.
// Names, types and layout stay. Large weights go into external data, out + "_data".
// There must be no file out.
func RepackGraph(file, weights, out string) error {
	for _, path := range []string{out, out + "_data"} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("-out %s exists: name another file, or remove it", path)
		}
	}
	f, err := importer.Open(file)
	if err != nil {
		return err
	}
	trained, err := safetensors.Open(weights)
	if err != nil {
		return err
	}
	defer trained.Close()
	keys, used := f.Keys(), map[string]bool{}
	shapes := map[string][]int{}
	for _, w := range f.Weights() {
		shapes[w.Name] = w.Shape
	}
	var failed error
	m, err := f.WithWeights(func(name string) ([]float32, bool) {
		key, transposed := name, false
		tensor, ok := trained.Lookup(key)
		if !ok {
			key, transposed = keys[name].Name, keys[name].Transposed
			tensor, ok = trained.Lookup(key)
		}
		if !ok || failed != nil {
			return nil, false
		}
		used[key] = true
		n := 1
		for _, d := range tensor.Shape {
			n *= int(d)
		}
		values := make([]float32, n)
		if failed = trained.Float32(tensor, values); failed != nil {
			return nil, false
		}
		if transposed && len(shapes[name]) == 2 && n == shapes[name][0]*shapes[name][1] {
			values = transposed2(values, shapes[name][1], shapes[name][0])
		}
		return values, true
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	for _, t := range trained.Tensors {
		if !used[t.Name] {
			return fmt.Errorf("%s: tensor %q has no place in %s", weights, t.Name, file)
		}
	}
	const large = 1 << 30 // bytes: protobuf's limit is 2 GiB
	total := int64(0)
	for _, t := range m.Graph.Initializer {
		total += int64(len(t.RawData))
	}
	if total > large {
		return onnx.SaveExternal(out, m, 1024)
	}
	return onnx.Save(out, m)
}

// openSource opens a diffusers folder, or a folder that holds an exported
// denoiser (optimum's unet/model.onnx with its config.json) as if it were one:
// its weights are unpacked into a temporary folder, which is gone when this
// returns, and whose file stays open.
func openSource(path string) (*models.Model, error) {
	file := exportedDenoiser(path)
	if file == "" {
		return models.Open(path, "unet")
	}
	temp, err := os.MkdirTemp("", "immiscible-onnx-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	if err := unpackGraph(file, temp); err != nil {
		return nil, err
	}
	m, err := models.Open(temp, "unet")
	if err != nil {
		return nil, err
	}
	m.Dir, m.Scheduler = path, schedulerNear(file)
	return m, nil
}

// exportedDenoiser is the model.onnx of a folder that has no weights of
// diffusers', or "".
func exportedDenoiser(path string) string {
	for _, dir := range []string{filepath.Join(path, "unet"), path} {
		file := filepath.Join(dir, "model.onnx")
		_, missing := os.Stat(file)
		weights, _ := filepath.Glob(filepath.Join(dir, "diffusion_pytorch_model*"))
		if missing == nil && len(weights) == 0 {
			return file
		}
	}
	return ""
}
