package importer

import (
	"archive/zip"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// vectors are what PyTorch computed for a family of exports.
type vectors struct {
	floats map[string][]float64
	shapes map[string][]int
}

// unzip writes the files of an archive below dir.
func unzip(t testing.TB, name, dir string) []string {
	t.Helper()
	r, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var names []string
	for _, f := range r.File {
		src, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(src)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
	}
	return names
}

// readVectors reads a safetensors file of F32 and I64 tensors: the package for
// that format stands beside this one, not below.
func readVectors(t testing.TB, path string) vectors {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	text := data[8 : 8+n]
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "__metadata__")
	text, err = json.Marshal(raw)
	if err == nil {
		err = json.Unmarshal(text, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	v := vectors{map[string][]float64{}, map[string][]int{}}
	for name, h := range header {
		body := data[8+int(n)+h.Offsets[0] : 8+int(n)+h.Offsets[1]]
		if h.DType == "I64" {
			v.floats[name] = decode(body, onnx.TensorProto_INT64)
		} else {
			v.floats[name] = decode(body, onnx.TensorProto_FLOAT)
		}
		v.shapes[name] = h.Shape
	}
	return v
}

// symbolic binds the names that the script gave to dimensions to the sizes of
// the family's inputs.
func symbolic(t testing.TB, f *File, v vectors) map[string]int {
	t.Helper()
	dims := map[string]int{}
	for _, in := range f.Model.Graph.Input {
		shape, ok := v.shapes["in."+in.GetName()]
		for i, d := range in.GetType().GetTensorType().GetShape().GetDim() {
			if ok && d.GetDimParam() != "" {
				dims[d.GetDimParam()] = shape[i]
			}
		}
	}
	return dims
}

// run runs a graph in ONNX Runtime.
func run(t testing.TB, g *graph.Graph, values map[string][]float64) map[string][]float64 {
	t.Helper()
	m, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	return runModel(t, m, values)
}

func runModel(t testing.TB, m *onnx.ModelProto, values map[string][]float64) map[string][]float64 {
	t.Helper()
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
	data, err := onnx.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	e := enginetest.Open(t)
	inputs := map[string]*engine.Tensor{}
	for _, v := range m.Graph.Input {
		tt := v.GetType().GetTensorType()
		var shape []int64
		for _, d := range tt.GetShape().GetDim() {
			shape = append(shape, d.GetDimValue())
		}
		x, err := e.NewTensor(engine.DType(tt.GetElemType()), shape...)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		given, ok := values[v.GetName()]
		if !ok || len(given) != x.Len() {
			t.Fatalf("input %q: %d values, want %d", v.GetName(), len(given), x.Len())
		}
		if err := x.Upload(encode(onnx.DataType(tt.GetElemType()), given)); err != nil {
			t.Fatal(err)
		}
		inputs[v.GetName()] = x
	}
	outputs, err := engine.RunOnce(e, data, inputs)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string][]float64{}
	for _, o := range m.Graph.Output {
		y := outputs[o.GetName()]
		raw := make([]byte, y.Bytes())
		if err := y.Download(raw); err != nil {
			t.Fatal(err)
		}
		results[o.GetName()] = decode(raw, onnx.DataType(o.GetType().GetTensorType().GetElemType()))
		y.Close()
	}
	return results
}

func encode(dtype onnx.DataType, values []float64) []byte {
	var raw []byte
	for _, x := range values {
		switch dtype {
		case onnx.TensorProto_FLOAT:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
		case onnx.TensorProto_INT64:
			raw = binary.LittleEndian.AppendUint64(raw, uint64(saturate(x)))
		default:
			raw = append(raw, byte(x))
		}
	}
	return raw
}

// off is max|difference| / max|reference|, or over least where that is larger.
func off(got, want []float64, least float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst, scale := 0.0, max(least, 1e-30)
	for i, x := range want {
		if d := math.Abs(got[i] - x); !(d <= worst) {
			worst = d
		}
		scale = max(scale, math.Abs(x))
	}
	return worst / scale
}

// Exports of every family by both exporters: the output as PyTorch computes it,
// the loss, and the gradient of every parameter.
func TestExports(t *testing.T) {
	dir := t.TempDir()
	for _, name := range unzip(t, "testdata/exports.zip", dir) {
		if !strings.HasSuffix(name, "/model.onnx") {
			continue
		}
		parts := strings.Split(name, "/")
		t.Run(parts[0]+"/"+parts[1], func(t *testing.T) {
			checkExport(t, filepath.Join(dir, name), readVectors(t, filepath.Join(dir, parts[0], "vectors.safetensors")))
		})
	}
}

func checkExport(t *testing.T, path string, v vectors) {
	var names struct {
		Held    map[string][2]any
		Missing []string
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "names.json"))
	if err == nil {
		err = json.Unmarshal(text, &names)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	im, err := f.Import(Options{Dims: symbolic(t, f, v)})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]float64{}
	for name, x := range v.floats {
		if in, ok := strings.CutPrefix(name, "in."); ok {
			values[in] = x
		}
	}
	for _, w := range im.Weights {
		list, err := w.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			values[w.Name] = append(values[w.Name], float64(x))
		}
	}
	values["target"] = v.floats["target"]
	recognised, patterns, err := graph.Recognize(im.Graph)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("recognised", func(t *testing.T) { checkStep(t, recognised, values, v, names.Held, names.Missing) })
	if len(patterns) > 0 && strings.Contains(path, "torchscript") {
		t.Run("as exported", func(t *testing.T) { checkStep(t, im.Graph, values, v, names.Held, names.Missing) })
	}
	if parts := strings.Split(filepath.ToSlash(path), "/"); !maps.Equal(patterns, patternsOf[strings.Join(parts[len(parts)-3:len(parts)-1], "/")]) {
		t.Errorf("patterns found: %v", patterns)
	}
}

// checkStep runs a forward graph, and a training step made of it.
func checkStep(t *testing.T, g *graph.Graph, values map[string][]float64, v vectors, held map[string][2]any, missing []string) {
	step, err := graph.Build("step", func(b *graph.Builder) {
		output := b.Inline(g, nil)[0]
		loss := testLoss(b, output)
		b.Output("output", output)
		b.Output("loss", loss)
		params := b.Params()
		for i, d := range b.Grad(loss, params) {
			b.Output(params[i].Node.Name+".grad", d)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, step, values)
	for name, bound := range map[string]float64{"output": 1e-5, "loss": 1e-5} {
		if d := off(got[name], v.floats[name], 0); d > bound {
			t.Errorf("%s: off by %.1e, want %.0e at most", name, d, bound)
		}
	}
	largest := 0.0
	for name, x := range v.floats {
		if strings.HasPrefix(name, "grad.") {
			for _, e := range x {
				largest = max(largest, math.Abs(e))
			}
		}
	}
	checked := map[string]bool{}
	for name, h := range held {
		key, transposed := h[0].(string), h[1].(bool)
		want, ok := v.floats["grad."+key]
		if !ok {
			continue // a parameter that the output does not depend on
		}
		if shape := v.shapes["grad."+key]; transposed {
			want = transpose(want, shape[0], shape[1])
		}
		// Where the true gradient is 0, 1e-6 of the model's largest counts.
		if d := off(got[name+".grad"], want, 1e-2*largest); d > 1e-4 {
			t.Errorf("gradient of %s (%s): off by %.1e, want 1e-4 at most", name, key, d)
		}
		checked[key] = true
	}
	for key := range v.floats {
		if key, ok := strings.CutPrefix(key, "grad."); ok && !checked[key] && !slices.Contains(missing, key) {
			t.Errorf("the gradient of %s was not compared", key)
		}
	}
}

func transpose(x []float64, rows, cols int) []float64 {
	y := make([]float64, len(x))
	for i := range rows {
		for j := range cols {
			y[j*rows+i] = x[i*cols+j]
		}
	}
	return y
}

// testLoss is the mean squared error, or the cross-entropy where an output is
// [N, 5], the classifier's.
func testLoss(b *graph.Builder, output *graph.Value) *graph.Value {
	if len(output.Shape) == 2 && output.Dim(1) == 5 {
		want := b.Input("target", graph.Int64, output.Dim(0))
		hit := b.Cast(b.Equal(b.Reshape(want, -1, 1), b.Ints(0, 1, 2, 3, 4)), graph.Float32)
		return b.Neg(b.ReduceMean(b.ReduceSum(b.Mul(hit, b.LogSoftmax(output)), false, 1), false))
	}
	d := b.Sub(output, b.Input("target", graph.Float32, output.Shape...))
	return b.ReduceMean(b.Mul(d, d), false)
}

// patternsOf is what graph.Recognize finds in each export: as many as the model
// has modules of that kind, less the operators that the opset has as one.
var patternsOf = map[string]map[string]int{
	"mlp/torchscript":         found(1, 0, 1, 0, 0, 0, 0),
	"unet2d/torchscript":      found(0, 21, 0, 19, 1, 12, 4),
	"unet2d/dynamo":           found(0, 21, 0, 19, 1, 0, 4),
	"sd1/torchscript":         found(12, 21, 4, 19, 1, 16, 8),
	"sd1/dynamo":              found(0, 21, 0, 19, 1, 0, 8),
	"sd2/torchscript":         found(12, 21, 4, 19, 1, 16, 8),
	"sd2/dynamo":              found(0, 21, 0, 19, 1, 0, 8),
	"sdxl/torchscript":        found(0, 21, 4, 20, 1, 17, 8),
	"sdxl/dynamo":             found(0, 21, 0, 20, 1, 1, 8),
	"vae-encoder/torchscript": found(0, 10, 0, 9, 0, 5, 1),
	"vae-encoder/dynamo":      found(0, 10, 0, 9, 0, 0, 1),
	"vae-decoder/torchscript": found(0, 14, 0, 13, 1, 7, 1),
	"vae-decoder/dynamo":      found(0, 14, 0, 13, 1, 0, 1),
	"clip-text/torchscript":   found(5, 0, 0, 2, 0, 0, 2),
	"clip-text/dynamo":        found(0, 0, 0, 2, 0, 0, 2),
	"vit/torchscript":         found(0, 0, 2, 0, 0, 0, 2),
	"vit/dynamo":              found(0, 0, 0, 0, 0, 0, 2),
	"zoo/torchscript":         found(0, 0, 0, 0, 0, 0, 3),
	"zoo/dynamo":              found(0, 0, 0, 0, 0, 0, 3),
	"dit/torchscript":         found(0, 0, 0, 4, 0, 2, 4),
	"dit/dynamo":              found(0, 0, 0, 4, 0, 0, 2),
}

func found(layerNorms, groupNorms, gelus, silus, upsamples, units, products int) map[string]int {
	list := map[string]int{"LayerNormalization in pieces": layerNorms, "group norm from InstanceNormalization": groupNorms,
		"GELU from Erf": gelus, "SiLU from Sigmoid": silus, "convolution of a doubled image": upsamples, "times one": units, "product of scaled operands": products}
	maps.DeleteFunc(list, func(_ string, n int) bool { return n == 0 })
	return list
}
