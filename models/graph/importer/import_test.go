package importer

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// model writes a small file by hand: y = f(x) for x float[2, 3].
type model struct {
	opset  int64
	nodes  []*onnx.NodeProto
	inits  []*onnx.TensorProto
	funcs  []*onnx.FunctionProto
	inputs []*onnx.ValueInfoProto // nil: x
	output string                 // "": y
}

func node(op string, inputs []string, outputs []string, attrs ...*onnx.AttributeProto) *onnx.NodeProto {
	name := "/net/layer/" + op + outputs[0]
	return &onnx.NodeProto{OpType: &op, Name: &name, Input: inputs, Output: outputs, Attribute: attrs}
}

func float(name string, dims []int64, values ...float32) *onnx.TensorProto {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return onnx.NewTensor(name, onnx.TensorProto_FLOAT, dims, raw)
}

func ints64(name string, values ...int64) *onnx.TensorProto {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return onnx.NewTensor(name, onnx.TensorProto_INT64, []int64{int64(len(values))}, raw)
}

func ptr[T any](x T) *T { return &x }

func (m model) proto() *onnx.ModelProto {
	opset := m.opset
	if opset == 0 {
		opset = 18
	}
	inputs := m.inputs
	if inputs == nil {
		inputs = []*onnx.ValueInfoProto{onnx.NewValueInfo("x", onnx.TensorProto_FLOAT, []int64{2, 3})}
	}
	out := &onnx.ValueInfoProto{Name: ptr(nonEmpty(m.output, "y")), Type: &onnx.TypeProto{Value: &onnx.TypeProto_TensorType{
		TensorType: &onnx.TypeProto_Tensor{ElemType: ptr(int32(onnx.TensorProto_FLOAT))}}}}
	imports := []*onnx.OperatorSetIdProto{{Domain: ptr(""), Version: &opset}, {Domain: ptr("lib"), Version: ptr(int64(1))}}
	return &onnx.ModelProto{IrVersion: ptr(int64(8)), OpsetImport: imports, Functions: m.funcs,
		Graph: &onnx.GraphProto{Name: ptr("g"), Node: m.nodes, Initializer: m.inits, Input: inputs, Output: []*onnx.ValueInfoProto{out}}}
}

// open writes the model to a folder and opens it.
func (m model) open(t testing.TB) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.Save(path, m.proto()); err != nil {
		t.Fatal(err)
	}
	return Open(path)
}

func (m model) mustImport(t *testing.T, o Options) *Imported {
	t.Helper()
	f, err := m.open(t)
	if err != nil {
		t.Fatal(err)
	}
	im, err := f.Import(o)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

var sixths = []float64{0, 1, 2, 3, 4, 5}

// An operator that is not imported stops with its name, node, opset and scope;
// other faults say what they are.
func TestImportErrors(t *testing.T) {
	symbolic := onnx.NewValueInfo("x", onnx.TensorProto_FLOAT, []int64{2, 3})
	symbolic.Type.GetTensorType().Shape.Dim[0] = &onnx.TensorShapeProto_Dimension{Value: &onnx.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}}
	huge := onnx.NewValueInfo("x", onnx.TensorProto_FLOAT, []int64{1 << 30, 1 << 30, 1 << 30})
	loop := &onnx.GraphProto{Name: ptr("body"), Node: []*onnx.NodeProto{node("Relu", []string{"x"}, []string{"z"})},
		Output: []*onnx.ValueInfoProto{{Name: ptr("z")}}}
	body := &onnx.AttributeProto{Name: ptr("then_branch"), Type: onnx.AttributeProto_GRAPH.Enum(), G: loop}
	other := &onnx.AttributeProto{Name: ptr("else_branch"), Type: onnx.AttributeProto_GRAPH.Enum(), G: loop}
	recursive := &onnx.FunctionProto{Name: ptr("f"), Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"b"},
		Node: []*onnx.NodeProto{{OpType: ptr("f"), Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"b"}}}, OpsetImport: []*onnx.OperatorSetIdProto{{Domain: ptr(""), Version: ptr(int64(18))}, {Domain: ptr("lib"), Version: ptr(int64(1))}}}
	call := node("f", []string{"x"}, []string{"y"})
	call.Domain = ptr("lib")
	var doubling []*onnx.FunctionProto // f0 calls f1 twice, which calls f2 twice, …
	for i := range 40 {
		next := ptr(fmt.Sprintf("f%d", i+1))
		doubling = append(doubling, &onnx.FunctionProto{Name: ptr(fmt.Sprintf("f%d", i)), Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"c"}, OpsetImport: recursive.OpsetImport,
			Node: []*onnx.NodeProto{{OpType: next, Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"b"}}, {OpType: next, Domain: ptr("lib"), Input: []string{"b"}, Output: []string{"c"}}}})
	}
	doubling = append(doubling, &onnx.FunctionProto{Name: ptr("f40"), Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"b"}, OpsetImport: recursive.OpsetImport,
		Node: []*onnx.NodeProto{{OpType: ptr("Neg"), Input: []string{"a"}, Output: []string{"b"}}}})
	many := node("f0", []string{"x"}, []string{"y"})
	many.Domain = ptr("lib")
	wide := float("w", []int64{2, 3}, 1, 2, 3, 4, 5, 6)
	wide.Dims = []int64{1 << 40, 1 << 40}
	outside := onnx.ExternalTensor("w", onnx.TensorProto_FLOAT, []int64{3}, "../../etc/passwd", 0, 12)
	absent := onnx.ExternalTensor("w", onnx.TensorProto_FLOAT, []int64{3}, "weights.bin", 0, 12)
	add := []*onnx.NodeProto{node("Add", []string{"x", "w"}, []string{"y"})}
	for _, c := range []struct {
		name string
		m    model
		o    Options
		want []string
	}{
		{"no rule", model{opset: 17, nodes: []*onnx.NodeProto{node("DeformConv", []string{"x", "x"}, []string{"y"})}}, Options{},
			[]string{"DeformConv (opset 17)", `node "/net/layer/DeformConvy"`, `scope "net/layer"`, "no rule"}},
		{"two without a rule", model{nodes: []*onnx.NodeProto{node("LSTM", []string{"x"}, []string{"z"}), node("TopK", []string{"z"}, []string{"y"})}}, Options{},
			[]string{"LSTM (opset 18)", "nor are these of the file: TopK"}},
		{"a loop", model{nodes: []*onnx.NodeProto{node("Loop", []string{"x", "x"}, []string{"y"})}}, Options{}, []string{"Loop (opset 18)", "loops are not imported"}},
		{"random", model{nodes: []*onnx.NodeProto{node("RandomNormalLike", []string{"x"}, []string{"y"})}}, Options{}, []string{"RandomNormalLike", "eval mode"}},
		{"control flow over data", model{nodes: []*onnx.NodeProto{node("If", []string{"x"}, []string{"y"}, body, other)}}, Options{}, []string{"If", "run time"}},
		{"another domain", model{nodes: []*onnx.NodeProto{{OpType: ptr("Thing"), Domain: ptr("lib"), Name: ptr("n"), Input: []string{"x"}, Output: []string{"y"}}}}, Options{}, []string{"lib.Thing", `domain "lib"`}},
		{"a recursive function", model{nodes: []*onnx.NodeProto{call}, funcs: []*onnx.FunctionProto{recursive}}, Options{}, []string{"64 deep"}},
		{"functions that double", model{nodes: []*onnx.NodeProto{many}, funcs: doubling}, Options{}, []string{"nodes, functions inlined"}},
		{"a cycle", model{nodes: []*onnx.NodeProto{node("Add", []string{"x", "z"}, []string{"y"}), node("Neg", []string{"y"}, []string{"z"})}}, Options{}, []string{"topological order"}},
		{"a name twice", model{nodes: []*onnx.NodeProto{node("Neg", []string{"x"}, []string{"y"}), node("Abs", []string{"x"}, []string{"y"})}}, Options{}, []string{`"y" is defined already`}},
		{"a symbolic dimension", model{nodes: []*onnx.NodeProto{node("Neg", []string{"x"}, []string{"y"})}, inputs: []*onnx.ValueInfoProto{symbolic}}, Options{}, []string{"batch", "-dim NAME=NUMBER"}},
		{"a dimension too many", model{nodes: []*onnx.NodeProto{node("Neg", []string{"x"}, []string{"y"})}, inputs: []*onnx.ValueInfoProto{symbolic}}, Options{Dims: map[string]int{"batch": 1, "width": 2}}, []string{"width=2", "batch"}},
		{"an input beyond all sizes", model{nodes: []*onnx.NodeProto{node("Neg", []string{"x"}, []string{"y"})}, inputs: []*onnx.ValueInfoProto{huge}}, Options{}, []string{`input "x"`, "2^40"}},
		{"a weight beyond all sizes", model{nodes: add, inits: []*onnx.TensorProto{wide}}, Options{}, []string{"overflows"}},
		{"external data outside", model{nodes: add, inits: []*onnx.TensorProto{outside}}, Options{}, []string{"leaves the model's folder"}},
		{"external data that is not there", model{nodes: add, inits: []*onnx.TensorProto{absent}}, Options{Param: func(string, bool) bool { return false }}, []string{"weights.bin"}},
		{"a shape claimed", model{nodes: []*onnx.NodeProto{node("Expand", []string{"x", "s"}, []string{"y"})}, inits: []*onnx.TensorProto{ints64("s", 1<<40, 2, 3)}}, Options{}, []string{"2^40"}},
		{"a fill claimed", model{nodes: []*onnx.NodeProto{node("ConstantOfShape", []string{"s"}, []string{"z"}), node("Add", []string{"x", "z"}, []string{"y"})}, inits: []*onnx.TensorProto{ints64("s", 1<<20, 1<<19)}}, Options{}, []string{"ConstantOfShape"}},
		{"a shape of data", model{nodes: []*onnx.NodeProto{node("Cast", []string{"x"}, []string{"s"}, onnx.IntAttr("to", 7)), node("Reshape", []string{"x", "s"}, []string{"y"})}}, Options{}, []string{"Reshape", "computed at run time"}},
		{"an old opset", model{opset: 6, nodes: []*onnx.NodeProto{node("Neg", []string{"x"}, []string{"y"})}}, Options{}, []string{"opset 6", "7 to 28"}},
		{"shapes that do not fit", model{nodes: []*onnx.NodeProto{node("MatMul", []string{"x", "x"}, []string{"y"})}}, Options{}, []string{"MatMul (opset 18)", "[2 3]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := c.m.open(t)
			if err == nil {
				_, err = f.Import(c.o)
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q, want %q in it", err, part)
				}
			}
		})
	}
}

// A function with an attribute of its own and one that the caller gives, called
// from another function.
func TestFunctions(t *testing.T) {
	imports := []*onnx.OperatorSetIdProto{{Domain: ptr(""), Version: ptr(int64(18))}, {Domain: ptr("lib"), Version: ptr(int64(1))}}
	slope := &onnx.AttributeProto{Name: ptr("alpha"), Type: onnx.AttributeProto_FLOAT.Enum(), RefAttrName: ptr("slope")}
	inner := &onnx.FunctionProto{Name: ptr("leaky"), Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"b"}, AttributeProto: []*onnx.AttributeProto{onnx.FloatAttr("slope", 0.5)}, OpsetImport: imports,
		Node: []*onnx.NodeProto{node("LeakyRelu", []string{"a"}, []string{"b"}, slope)}}
	outer := &onnx.FunctionProto{Name: ptr("twice"), Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"d"}, OpsetImport: imports, Node: []*onnx.NodeProto{
		{OpType: ptr("leaky"), Domain: ptr("lib"), Input: []string{"a"}, Output: []string{"b"}},
		{OpType: ptr("leaky"), Domain: ptr("lib"), Input: []string{"b"}, Output: []string{"d"}, Attribute: []*onnx.AttributeProto{onnx.FloatAttr("slope", 0.1)}}}}
	im := model{funcs: []*onnx.FunctionProto{inner, outer}, nodes: []*onnx.NodeProto{
		{OpType: ptr("twice"), Domain: ptr("lib"), Name: ptr("call"), Input: []string{"x"}, Output: []string{"y"}}}}.mustImport(t, Options{})
	got := run(t, im.Graph, map[string][]float64{"x": {-1, 0, 1, -2, 2, 4}})["y"]
	if want := []float64{-0.05, 0, 1, -0.1, 2, 4}; off(got, want, 0) > 1e-6 {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An If whose condition is a constant becomes the branch that it takes, which
// sees the values around it.
func TestBranch(t *testing.T) {
	branch := func(name, op string) *onnx.AttributeProto {
		return &onnx.AttributeProto{Name: &name, Type: onnx.AttributeProto_GRAPH.Enum(), G: &onnx.GraphProto{Name: &name,
			Node: []*onnx.NodeProto{node(op, []string{"x", "x"}, []string{name + "_out"})}, Output: []*onnx.ValueInfoProto{{Name: ptr(name + "_out")}}}}
	}
	cond := onnx.NewTensor("c", onnx.TensorProto_BOOL, nil, []byte{0})
	im := model{inits: []*onnx.TensorProto{cond}, nodes: []*onnx.NodeProto{node("If", []string{"c"}, []string{"y"}, branch("then_branch", "Add"), branch("else_branch", "Mul"))}}.mustImport(t, Options{})
	got := run(t, im.Graph, map[string][]float64{"x": sixths})["y"]
	if want := []float64{0, 1, 4, 9, 16, 25}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Weights: halves are widened; equal tensors that an exporter stored once are
// parameters of their own; an input without a value can be one; scalars,
// settings and integers are none.
func TestWeights(t *testing.T) {
	half := onnx.NewTensor("w", onnx.TensorProto_FLOAT16, []int64{3}, []byte{0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00}) // 1, −2, 2⁻²⁴
	im := model{
		inits: []*onnx.TensorProto{half, float("s", nil, 2), float("low", []int64{1}, -9), ints64("i", 3)},
		inputs: []*onnx.ValueInfoProto{onnx.NewValueInfo("x", onnx.TensorProto_FLOAT, []int64{2, 3}),
			onnx.NewValueInfo("head.bias", onnx.TensorProto_FLOAT, []int64{3})},
		nodes: []*onnx.NodeProto{
			node("Identity", []string{"w"}, []string{"copy.w"}),
			node("Mul", []string{"x", "w"}, []string{"a"}),
			node("Mul", []string{"a", "copy.w"}, []string{"b"}),
			node("Add", []string{"b", "head.bias"}, []string{"c"}),
			node("Clip", []string{"c", "low"}, []string{"d"}),
			node("Mul", []string{"d", "s"}, []string{"y"}),
		}}.mustImport(t, Options{InputParam: func(name string) bool { return strings.HasPrefix(name, "head.") }})
	var names []string
	for _, p := range im.Graph.Params() {
		names = append(names, p.Node.Name)
	}
	slices.Sort(names)
	if want := []string{"copy.w", "head.bias", "w"}; !slices.Equal(names, want) || len(im.Weights) != 2 {
		t.Errorf("parameters %v with %d values, want %v", names, len(im.Weights), want)
	}
	values := map[string][]float64{"x": sixths, "head.bias": {0, 1, 0}}
	for _, w := range im.Weights {
		list, err := w.Float32()
		if err != nil {
			t.Fatal(err)
		}
		if want := []float32{1, -2, 1.0 / (1 << 24)}; !slices.Equal(list, want) {
			t.Errorf("%s is %v, want %v", w.Name, list, want)
		}
		for _, x := range list {
			values[w.Name] = append(values[w.Name], float64(x))
		}
	}
	got := run(t, im.Graph, values)["y"]
	if want := []float64{0, 10, 0, 6, 34, 0}; off(got, want, 0) > 1e-6 {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What a file's dimensions are called, bound; and shape arithmetic folded to
// nothing but the node that uses it.
func TestShapeArithmetic(t *testing.T) {
	x := onnx.NewValueInfo("x", onnx.TensorProto_FLOAT, []int64{0, 4})
	x.Type.GetTensorType().Shape.Dim[0] = &onnx.TensorShapeProto_Dimension{}
	im := model{inputs: []*onnx.ValueInfoProto{x}, inits: []*onnx.TensorProto{ints64("zero", 0), ints64("minus", -1), ints64("two", 2)}, nodes: []*onnx.NodeProto{
		node("Shape", []string{"x"}, []string{"s"}),
		node("Gather", []string{"s", "zero"}, []string{"n"}),
		node("Mul", []string{"n", "two"}, []string{"m"}),
		node("Concat", []string{"m", "minus"}, []string{"t"}, onnx.IntAttr("axis", 0)),
		node("Reshape", []string{"x", "t"}, []string{"y"}),
	}}.mustImport(t, Options{Dims: map[string]int{"x.0": 3}})
	if y := im.Graph.Outputs[0].Value; !slices.Equal(y.Shape, []int{6, 2}) || len(im.Graph.Live()) != 3 || im.Folded != 4 || im.Nodes != 5 {
		t.Errorf("y is %v, %d nodes, %d of %d folded", y, len(im.Graph.Live()), im.Folded, im.Nodes)
	}
}

// Files that are cut off or garbled are refused, without a crash and without
// the memory that they claim.
func FuzzImport(f *testing.F) {
	dir := f.TempDir()
	for _, name := range unzip(f, "testdata/exports.zip", dir) {
		if name == "mlp/torchscript/model.onnx" || name == "mlp/dynamo/model.onnx" || name == "zoo/dynamo/model.onnx" {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			f.Add(data[:len(data)/2])
		}
	}
	for i, name := range unzip(f, "testdata/nodes.zip", dir) {
		if strings.HasSuffix(name, ".onnx") && i%20 == 0 {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnx.Unmarshal(data)
		if err != nil {
			return
		}
		file := &File{"fuzz.onnx", m}
		if file.check() != nil {
			return
		}
		im, err := file.Import(Options{Dims: map[string]int{"batch": 2}})
		if err != nil {
			im, err = file.Import(Options{})
		}
		if err != nil {
			return
		}
		for _, w := range im.Weights {
			if _, err := w.Float32(); err != nil {
				return
			}
		}
		if _, _, err := graph.Recognize(im.Graph); err != nil {
			t.Errorf("recognised: %v", err)
		}
	})
}
