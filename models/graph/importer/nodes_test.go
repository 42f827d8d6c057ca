package importer

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/graph/refeval"
	"immiscible/models/onnx"
)

var update = flag.Bool("update", false, "write testdata/nodes_refused.txt")

// ONNX's own tests of its operators (tools/golden/onnx_nodes.py), through import
// into our evaluator and into ONNX Runtime. A case passes or is refused, and
// testdata/nodes_refused.txt lists the refused ones with what was said.
func TestNodes(t *testing.T) {
	dir := t.TempDir()
	var refused []string
	passed := 0
	for _, name := range unzip(t, "testdata/nodes.zip", dir) {
		name, isModel := strings.CutSuffix(name, ".onnx")
		if !isModel {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if err := checkNode(t, filepath.Join(dir, name)); err != nil {
				said := strings.ReplaceAll(err.Error(), filepath.Join(dir, name)+".onnx: ", "")
				refused = append(refused, name+"\t"+said)
				return
			}
			passed++
		})
	}
	list := strings.Join(refused, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/nodes_refused.txt", []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/nodes_refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	if list != string(want) {
		for _, line := range refused {
			if !slices.Contains(strings.Split(string(want), "\n"), line) {
				t.Errorf("refused: %s", line)
			}
		}
		t.Errorf("the refused cases are not those of testdata/nodes_refused.txt (go test -run TestNodes -update writes it)")
	}
	t.Logf("%d of ONNX's node tests pass, %d are refused", passed, len(refused))
}

// checkNode returns the error of an import that is refused; other faults fail.
func checkNode(t *testing.T, path string) error {
	f, err := Open(path + ".onnx")
	if err != nil {
		return err
	}
	data, err := onnx.Load(path + ".data")
	if err != nil {
		t.Fatal(err)
	}
	dims := map[string]int{}
	for _, p := range data.Graph.Initializer {
		for _, in := range f.Model.Graph.Input {
			for i, d := range in.GetType().GetTensorType().GetShape().GetDim() {
				if "in."+in.GetName() == p.GetName() && d.GetDimValue() == 0 && p.Dims[i] > 0 && !initialized(f.Model, in.GetName()) {
					dims[dimName(in, i)] = int(p.Dims[i])
				}
			}
		}
	}
	im, err := f.Import(Options{Dims: dims, Param: func(string, bool) bool { return false }})
	if err != nil {
		return err
	}
	inputs, outputs, half := map[string][]float64{}, map[string][]float64{}, false
	for _, p := range data.Graph.Initializer {
		x, err := readTensor(p, "")
		if err != nil {
			t.Fatal(err)
		}
		half = half || p.GetDataType() == int32(onnx.TensorProto_FLOAT16) || p.GetDataType() == int32(onnx.TensorProto_BFLOAT16)
		if name, ok := strings.CutPrefix(p.GetName(), "in."); ok {
			inputs[name] = x.data
		} else {
			outputs[strings.TrimPrefix(p.GetName(), "out.")] = x.data
		}
	}
	ours, err := refeval.Eval(im.Graph, inputs)
	if err != nil {
		t.Fatal(err)
	}
	theirs := run(t, im.Graph, inputs)
	for name, want := range outputs {
		if i := firstWrong(ours[name], want, half); i >= 0 {
			t.Errorf("refeval: output %s[%d] of %d: got %v, want %v", name, i, len(want), at(ours[name], i), at(want, i))
		}
		if i := firstWrong(theirs[name], want, half); i >= 0 {
			t.Errorf("ONNX Runtime: output %s[%d] of %d: got %v, want %v", name, i, len(want), at(theirs[name], i), at(want, i))
		}
	}
	return nil
}

func initialized(m *onnx.ModelProto, name string) bool {
	return slices.ContainsFunc(m.Graph.Initializer, func(t *onnx.TensorProto) bool { return t.GetName() == name })
}

// firstWrong is the first element that is off by more than the tolerances of
// ONNX's own runner, 1e-3 relative and 1e-7 absolute; of those that were rounded
// to half precision, by more than two of its steps. −1 if none is.
func firstWrong(got, want []float64, half bool) int {
	if len(got) != len(want) {
		return len(want)
	}
	relative, absolute := 1e-3, 1e-7
	if half {
		relative, absolute = 2.0/(1<<7), 1e-3 // bfloat16's 8 bits
	}
	for i, w := range want {
		g := got[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) || math.Abs(g-w) <= absolute+relative*math.Abs(w) {
			continue
		}
		return i
	}
	return -1
}

func at(x []float64, i int) any {
	if i < len(x) {
		return x[i]
	}
	return "nothing"
}
