package importer

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// minOpset and maxOpset are the ai.onnx opsets whose operators the tables of
// this package know. Older ones broadcast by attributes.
const (
	minOpset = 7
	maxOpset = 28
)

// maxNodes bounds the nodes of a graph after functions are inlined: a function
// that calls another twice, which calls another twice, … is small on disk.
const maxNodes = 1 << 20

// File is an ONNX model as it lies on disk, checked.
type File struct {
	Path  string
	Model *onnx.ModelProto
}

// Open reads and checks a model. Weights in external data are read when they
// are asked for (Weight.Float32).
func Open(path string) (*File, error) {
	m, err := onnx.Load(path)
	if err != nil {
		return nil, err
	}
	f := &File{path, m}
	return f, f.check()
}

func (f *File) check() error {
	if err := onnx.Check(f.Model); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if v := f.Opset(); v < minOpset || v > maxOpset {
		return fmt.Errorf("%s: opset %d of ai.onnx, want %d to %d: export the model again with another opset_version", f.Path, v, minOpset, maxOpset)
	}
	return nil
}

// Opset is the version of the standard operators that the file uses.
func (f *File) Opset() int { return opsetOf(f.Model.OpsetImport) }

func opsetOf(list []*onnx.OperatorSetIdProto) int {
	for _, o := range list {
		if d := o.GetDomain(); d == "" || d == "ai.onnx" {
			return int(min(o.GetVersion(), 1<<20))
		}
	}
	return maxOpset // a model of functions alone
}

// Options say how a file is imported.
type Options struct {
	// Dims gives numbers to symbolic dimensions, by their names; a dimension
	// without a name is called input.axis, counted from 0: sample.2.
	Dims map[string]int
	// Param may overrule which float initializers are parameters; usual is what
	// parameter.go thinks. Nil: as usual.
	Param func(name string, usual bool) bool
	// InputParam tells which float inputs without a value are parameters all the
	// same: weights that an exporter left out. Nil: none.
	InputParam func(name string) bool
}

// Imported is a model in the IR.
type Imported struct {
	Graph   *graph.Graph // inputs, parameters and outputs under the file's names
	Weights []Weight     // values of the parameters, in the order of the graph's; those that were inputs have none
	Nodes   int          // nodes of the file, functions inlined
	Folded  int          // of these, computed at import
}

// Weight is a parameter's value in the file.
type Weight struct {
	Name   string
	Shape  []int
	tensor *onnx.TensorProto
	dir    string
}

// Float32 reads the values.
func (w Weight) Float32() ([]float32, error) {
	raw, err := onnx.TensorData(w.tensor, w.dir)
	if err != nil {
		return nil, err
	}
	dtype := onnx.DataType(w.tensor.GetDataType())
	if dtype == onnx.TensorProto_FLOAT {
		return floats(raw), nil
	}
	list := decode(raw, dtype)
	narrow := make([]float32, len(list))
	for i, x := range list {
		narrow[i] = float32(x)
	}
	return narrow, nil
}

// Import builds the forward graph of a file.
func (f *File) Import(o Options) (*Imported, error) {
	im := &importer{file: f, dir: filepath.Dir(f.Path), options: o, result: &Imported{}, functions: map[string]*onnx.FunctionProto{}}
	for _, fn := range f.Model.Functions {
		im.functions[functionKey(fn.GetDomain(), fn.GetName(), fn.GetOverload())] = fn
	}
	im.parameters = parameters(f.Model)
	var err error
	im.result.Graph, err = graph.Build(nonEmpty(f.Model.Graph.GetName(), "imported"), func(b *graph.Builder) {
		im.root = b
		im.main()
	})
	if err != nil {
		return nil, im.explain(err)
	}
	return im.result, nil
}

// explain adds the file's node to an error of the builder's.
func (im *importer) explain(err error) error {
	var g *graph.Error
	if !errors.As(err, &g) {
		return fmt.Errorf("%s: %w", im.file.Path, err)
	}
	if im.node == nil {
		return fmt.Errorf("%s: %s", im.file.Path, g.Detail)
	}
	op := im.node.GetOpType()
	if d := im.node.GetDomain(); d != "" && d != "ai.onnx" {
		op = d + "." + op
	}
	detail := g.Detail
	if g.Op != im.node.GetOpType() {
		detail = g.Op + ": " + detail
	}
	return fmt.Errorf("%s: %s (opset %d) at node %q, scope %q: %s", im.file.Path, op, im.opset, im.node.GetName(), scopeOf(im.node), detail)
}

type importer struct {
	file       *File
	dir        string
	options    Options
	result     *Imported
	root       *graph.Builder
	functions  map[string]*onnx.FunctionProto
	parameters map[string]bool // initializers that are parameters as a rule

	opset int             // of the graph or function that is visited
	node  *onnx.NodeProto // that is visited
	depth int             // of functions
}

// entry is what a name of the file stands for: a value of the graph, a tensor
// that is known, or an initializer that nobody has asked for yet.
type entry struct {
	value *graph.Value
	known *tensor
	init  *onnx.TensorProto
	param bool // of an init
}

// names are the values that a graph's nodes see; outer ones behind them.
type names struct {
	own   map[string]*entry
	outer *names
}

func (s *names) find(name string) *entry {
	for ; s != nil; s = s.outer {
		if e, ok := s.own[name]; ok {
			return e
		}
	}
	return nil
}

func (im *importer) fail(format string, args ...any) {
	op := "import"
	if im.node != nil {
		op = im.node.GetOpType()
	}
	im.root.Fail(op, format, args...)
}

// main visits the file's graph.
func (im *importer) main() {
	g := im.file.Model.Graph
	im.opset = im.file.Opset()
	scope := &names{own: map[string]*entry{}}
	for _, t := range g.Initializer {
		scope.own[t.GetName()] = &entry{init: t, param: im.isParam(t)}
	}
	if len(g.SparseInitializer) > 0 {
		im.fail("initializer %q is sparse: want dense ones", g.SparseInitializer[0].GetValues().GetName())
	}
	im.inputs(g, scope)
	im.nodes(g.Node, scope)
	im.node = nil
	for _, o := range g.Output {
		e := scope.find(o.GetName())
		if e == nil {
			im.fail("output %q is not produced", o.GetName())
		}
		v := im.value(e)
		if v.Node.Op == "Input" && v.Node.Name == o.GetName() {
			im.fail("output %q is an input", o.GetName())
		}
		im.root.Output(o.GetName(), v)
	}
	if len(g.Output) == 0 {
		im.fail("the graph has no output")
	}
}

// isParam tells whether an initializer is a parameter: a float that is one as a
// rule, or that the caller says is.
func (im *importer) isParam(t *onnx.TensorProto) bool {
	if d, ok := dtypes[onnx.DataType(t.GetDataType())]; !ok || d != graph.Float32 || slices.Contains(t.Dims, 0) {
		return false
	}
	usual := im.parameters[t.GetName()]
	if im.options.Param != nil {
		return im.options.Param(t.GetName(), usual)
	}
	return usual
}

// inputs declares the graph inputs that are no initializers, with their
// symbolic dimensions bound.
func (im *importer) inputs(g *onnx.GraphProto, scope *names) {
	used, open := map[string]bool{}, []string{}
	type declared struct {
		name  string
		dtype graph.DType
		shape []int
	}
	var list []declared
	for _, v := range g.Input {
		if scope.own[v.GetName()] != nil {
			continue // its default value counts
		}
		t := v.GetType().GetTensorType()
		if t == nil {
			im.fail("input %q is no tensor: sequences, maps and optionals are not imported", v.GetName())
		}
		dtype, err := dtypeOf(onnx.DataType(t.GetElemType()))
		if err != nil {
			im.fail("input %q: %v", v.GetName(), err)
		}
		if t.Shape == nil {
			im.fail("input %q has no shape: its rank must be known", v.GetName())
		}
		dims := make([]int64, len(t.Shape.Dim))
		for i, d := range t.Shape.Dim {
			name := dimName(v, i)
			if dims[i] = d.GetDimValue(); dims[i] > 0 {
				continue
			}
			n, ok := im.options.Dims[name]
			used[name] = true
			if !ok && !slices.Contains(open, name) {
				open = append(open, name)
			}
			dims[i] = max(int64(n), 1)
		}
		shape, err := shapeOf(dims)
		if err != nil {
			im.fail("input %q: %v", v.GetName(), err)
		}
		list = append(list, declared{v.GetName(), dtype, shape})
	}
	if len(open) > 0 {
		im.fail("dimensions %s are symbolic: bind each with -dim NAME=NUMBER", strings.Join(open, ", "))
	}
	for _, name := range sortedKeys(im.options.Dims) {
		if !used[name] {
			im.fail("-dim %s=%d: no input has such a dimension; the symbolic ones are: %s", name, im.options.Dims[name], nonEmpty(strings.Join(sortedKeys(used), ", "), "none"))
		}
		if im.options.Dims[name] < 1 {
			im.fail("-dim %s=%d: want at least 1", name, im.options.Dims[name])
		}
	}
	for _, d := range list {
		if d.dtype == graph.Float32 && im.options.InputParam != nil && im.options.InputParam(d.name) {
			scope.own[d.name] = &entry{value: im.root.Param(d.name, graph.Init{}, d.shape...)}
			continue
		}
		scope.own[d.name] = &entry{value: im.root.Input(d.name, d.dtype, d.shape...)}
	}
}

// dimName is what dimension i of an input is called.
func dimName(v *onnx.ValueInfoProto, i int) string {
	return nonEmpty(v.GetType().GetTensorType().GetShape().GetDim()[i].GetDimParam(), fmt.Sprintf("%s.%d", v.GetName(), i))
}

// Symbolic lists the dimensions that Options.Dims must give numbers to: the name
// of each, the rank of the first input that has it, and which of its axes it is.
func (f *File) Symbolic() []Dimension {
	var list []Dimension
	held := map[string]bool{}
	for _, t := range f.Model.Graph.Initializer {
		held[t.GetName()] = true
	}
	for _, v := range f.Model.Graph.Input {
		dims := v.GetType().GetTensorType().GetShape().GetDim()
		for i, d := range dims {
			name := dimName(v, i)
			if d.GetDimValue() == 0 && !held[v.GetName()] && !slices.ContainsFunc(list, func(d Dimension) bool { return d.Name == name }) {
				list = append(list, Dimension{name, len(dims), i})
			}
		}
	}
	return list
}

// Dimension is a symbolic dimension of a file.
type Dimension struct {
	Name       string
	Rank, Axis int
}

// value is an entry as a value of the graph. Parameters are declared when they
// are first used, so that their order is that of the layers.
func (im *importer) value(e *entry) *graph.Value {
	if e.value != nil {
		return e.value
	}
	if e.init != nil && e.param {
		shape, err := shapeOf(e.init.Dims)
		if err != nil {
			im.fail("initializer %q: %v", e.init.GetName(), err)
		}
		e.value = im.root.Param(e.init.GetName(), graph.Init{}, shape...)
		im.result.Weights = append(im.result.Weights, Weight{e.init.GetName(), shape, e.init, im.dir})
		return e.value
	}
	e.value = im.known(e).emit(im.root)
	return e.value
}

// known is an entry's tensor, or nil where it is computed at run time.
func (im *importer) known(e *entry) *tensor {
	if e.known == nil && e.init != nil && !e.param {
		t, err := readTensor(e.init, im.dir)
		if err != nil {
			im.fail("%v", err)
		}
		e.known = t
	}
	return e.known
}

// shape is an entry's shape, without reading it.
func (im *importer) shape(e *entry) []int {
	switch {
	case e.value != nil:
		return e.value.Shape
	case e.known != nil:
		return e.known.shape
	}
	shape, err := shapeOf(e.init.Dims)
	if err != nil {
		im.fail("initializer %q: %v", e.init.GetName(), err)
	}
	return shape
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func nonEmpty(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
