package graph

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Graph is a list of nodes in topological order with named inputs and outputs.
type Graph struct {
	Name    string
	Nodes   []*Node  // creation order, which is a topological order
	Inputs  []*Value // in the order of declaration; parameters among them
	Outputs []Output // in the order of declaration

	// Recomputes says that nodes stand twice on purpose (see Remat): a session
	// must not merge equal ones.
	Recomputes bool

	constants map[string]*Value
	names     map[string]bool // inputs and outputs
}

// Output names a value that a run of the graph returns.
type Output struct {
	Name  string
	Value *Value
}

// Node is one application of an operator.
type Node struct {
	Op       string // ONNX name; "Input" and "Constant" have no inputs
	Domain   string // "" is ai.onnx; "com.microsoft" for ORT's contrib operators
	Inputs   []*Value
	Outputs  []*Value
	Attrs    []Attr
	Scope    string // scope path of the builder that made it
	Backward bool   // made by Grad: a derivative of the forward scope's node
	Name     string // of an Input
	Param    bool   // an Input that is a model parameter
	Init     Init   // of a parameter: how a fresh one is drawn
	Data     []byte // of a Constant: little-endian elements
	Site     string // file:line that created it

	index int // position in Graph.Nodes
}

// Attr is one attribute: the value is int64, float32, []int64 or string.
type Attr struct {
	Name  string
	Value any
}

// Value is one output of a node. Shape is static and must not be modified.
type Value struct {
	Node  *Node
	Index int // which output of Node
	DType DType
	Shape []int
}

// Builder appends nodes to a graph under a scope path.
type Builder struct {
	graph    *Graph
	scope    string
	backward bool
}

// Build runs f on a new graph. It is the one place that turns a builder's
// panic into an error.
func Build(name string, f func(b *Builder)) (g *Graph, err error) {
	g = &Graph{Name: name, constants: map[string]*Value{}, names: map[string]bool{}}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			g, err = nil, e
		default:
			panic(e)
		}
	}()
	f(&Builder{graph: g})
	return g, nil
}

// At is a builder for the same graph, one scope deeper. An empty name stays at
// the same scope.
func (b *Builder) At(name string) *Builder {
	c := *b
	c.scope = join(b.scope, name)
	return &c
}

// Scope is the builder's scope path.
func (b *Builder) Scope() string { return b.scope }

// Input declares a graph input. The name is taken as it is, whatever the scope.
func (b *Builder) Input(name string, dtype DType, shape ...int) *Value {
	return b.input(name, dtype, shape)
}

// Init says how a fresh parameter is drawn: uniformly in ±Uniform, or from a
// normal distribution with standard deviation Normal, around Mean.
type Init struct{ Mean, Uniform, Normal float64 }

// Param declares a float32 parameter: a graph input whose name is the scope
// path joined with name, the key of its tensor in the state dict.
func (b *Builder) Param(name string, init Init, shape ...int) *Value {
	v := b.input(join(b.scope, name), Float32, shape)
	v.Node.Param, v.Node.Init = true, init
	return v
}

// Params lists the parameters in the order of declaration.
func (g *Graph) Params() []*Value {
	var params []*Value
	for _, v := range g.Inputs {
		if v.Node.Param {
			params = append(params, v)
		}
	}
	return params
}

// Params lists the parameters declared so far.
func (b *Builder) Params() []*Value { return b.graph.Params() }

func (b *Builder) input(name string, dtype DType, shape []int) *Value {
	if b.graph.names[name] {
		b.fail("Input", "the name %q is taken", name)
	}
	for _, d := range shape {
		if d <= 0 {
			b.fail("Input", "%q has shape %v: every dimension must be at least 1", name, shape)
		}
	}
	b.graph.names[name] = true
	n := b.node("Input", nil, nil, out{dtype, shape})
	n.Name = name
	b.graph.Inputs = append(b.graph.Inputs, n.Outputs[0])
	return n.Outputs[0]
}

// Output declares v as the graph output of that name.
func (b *Builder) Output(name string, v *Value) {
	if b.graph.names[name] {
		b.fail("Output", "the name %q is taken", name)
	}
	b.graph.names[name] = true
	b.graph.Outputs = append(b.graph.Outputs, Output{name, v})
}

// out describes one output of a node to be made.
type out struct {
	dtype DType
	shape []int
}

// node appends a node. It does not check shapes: each operator's method has.
func (b *Builder) node(op string, inputs []*Value, attrs []Attr, outs ...out) *Node {
	n := &Node{Op: op, Inputs: inputs, Attrs: attrs, Scope: b.scope, Backward: b.backward,
		Site: site(), index: len(b.graph.Nodes)}
	for i, o := range outs {
		n.Outputs = append(n.Outputs, &Value{Node: n, Index: i, DType: o.dtype, Shape: slices.Clone(o.shape)})
	}
	b.graph.Nodes = append(b.graph.Nodes, n)
	return n
}

// one appends a node with a single output.
func (b *Builder) one(op string, inputs []*Value, attrs []Attr, dtype DType, shape []int) *Value {
	return b.node(op, inputs, attrs, out{dtype, shape}).Outputs[0]
}

// Const is a constant of float32 elements; equal constants are one value.
func (b *Builder) Const(data []float32, shape ...int) *Value {
	raw := make([]byte, 0, 4*len(data))
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return b.constant(Float32, raw, shape)
}

// Scalar is a float32 constant of shape [].
func (b *Builder) Scalar(x float64) *Value { return b.Const([]float32{float32(x)}) }

// Full is a float32 constant of the given shape with equal elements.
func (b *Builder) Full(x float64, shape ...int) *Value {
	data := make([]float32, numel(shape))
	for i := range data {
		data[i] = float32(x)
	}
	return b.Const(data, shape...)
}

// Ints is an int64 constant of shape [len(data)].
func (b *Builder) Ints(data ...int) *Value {
	raw := make([]byte, 0, 8*len(data))
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return b.constant(Int64, raw, []int{len(data)})
}

func (b *Builder) constant(dtype DType, raw []byte, shape []int) *Value {
	if len(raw) != numel(shape)*dtype.Size() {
		b.fail("Constant", "%d bytes for shape %v of %v", len(raw), shape, dtype)
	}
	key := fmt.Sprint(dtype, shape, ":") + string(raw)
	if v, ok := b.graph.constants[key]; ok {
		return v
	}
	n := b.node("Constant", nil, nil, out{dtype, shape})
	n.Data = raw
	b.graph.constants[key] = n.Outputs[0]
	return n.Outputs[0]
}

// Ints is the content of an int64 constant.
func (v *Value) Ints() ([]int, bool) {
	if v.Node.Op != "Constant" || v.DType != Int64 {
		return nil, false
	}
	ints := make([]int, len(v.Node.Data)/8)
	for i := range ints {
		ints[i] = int(binary.LittleEndian.Uint64(v.Node.Data[8*i:]))
	}
	return ints, true
}

// Float32s is the content of a float32 constant.
func (v *Value) Float32s() ([]float32, bool) {
	if v.Node.Op != "Constant" || v.DType != Float32 {
		return nil, false
	}
	data := make([]float32, len(v.Node.Data)/4)
	for i := range data {
		data[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.Node.Data[4*i:]))
	}
	return data, true
}

// Floats is the content of a constant of any float type.
func (v *Value) Floats() ([]float32, bool) {
	if v.Node.Op != "Constant" || v.DType != Float16 && v.DType != BFloat16 {
		return v.Float32s()
	}
	data := make([]float32, len(v.Node.Data)/2)
	for i := range data {
		data[i] = halfValue(binary.LittleEndian.Uint16(v.Node.Data[2*i:]), v.DType)
	}
	return data, true
}

// Name is the graph input's name, or a description of the node for messages.
func (v *Value) String() string {
	if v.Node.Op == "Input" {
		return fmt.Sprintf("%s %v%v", v.Node.Name, v.DType, v.Shape)
	}
	return fmt.Sprintf("%s %v%v", join(v.Node.Scope, v.Node.Op), v.DType, v.Shape)
}

// Int is the integer attribute of that name, or def.
func (n *Node) Int(name string, def int) int {
	for _, a := range n.Attrs {
		if a.Name == name {
			return int(a.Value.(int64))
		}
	}
	return def
}

// Float is the float attribute of that name, or def.
func (n *Node) Float(name string, def float64) float64 {
	for _, a := range n.Attrs {
		if a.Name == name {
			return float64(a.Value.(float32))
		}
	}
	return def
}

// IntList is the integer-list attribute of that name, or nil.
func (n *Node) IntList(name string) []int {
	for _, a := range n.Attrs {
		if a.Name == name {
			list := a.Value.([]int64)
			ints := make([]int, len(list))
			for i, x := range list {
				ints[i] = int(x)
			}
			return ints
		}
	}
	return nil
}

func intAttr(name string, x int) Attr       { return Attr{name, int64(x)} }
func floatAttr(name string, x float64) Attr { return Attr{name, float32(x)} }
func intsAttr(name string, xs []int) Attr {
	list := make([]int64, len(xs))
	for i, x := range xs {
		list[i] = int64(x)
	}
	return Attr{name, list}
}

func join(scope, name string) string {
	switch {
	case scope == "":
		return name
	case name == "":
		return scope
	}
	return scope + "." + name
}
