package graph

import (
	"fmt"
	"slices"

	"immiscible/models/onnx"
)

// Opset and IR version of the graphs that this package emits: operators as
// opset 18 defines them, which every ONNX Runtime since 1.14 runs.
const (
	Opset     = 18
	IRVersion = 8
)

// Model is the lowered graph as ONNX. Node, tensor and initializer names are
// functions of scope paths and order alone, so that equal graphs are equal
// bytes.
//
// Nodes are listed in the order in which the outputs need them, output by
// output. ONNX Runtime starts its walk from the nodes listed last; outputs that
// are declared in forward-layer order therefore make the backward run last
// layer first, and free each layer's activations as it goes (on a chain of 32
// layers the peak is half of the reverse order's).
func (g *Graph) Model() (*onnx.ModelProto, error) {
	lowered, err := Lower(g)
	if err != nil {
		return nil, err
	}
	return lowered.emit(), nil
}

// NativeModel is Model for a provider of models/engine: operators with kernels of
// our own there stay as custom operators of Domain. For a provider without any,
// such as "", it is Model.
func (g *Graph) NativeModel(provider string) (*onnx.ModelProto, error) {
	native, err := Native(g, provider)
	if err != nil {
		return nil, err
	}
	return native.emitNative(provider), nil
}

// emitNative declares the version of the operators with kernels of our own where
// there may be some.
func (g *Graph) emitNative(provider string) *onnx.ModelProto {
	m := g.emit()
	if kernels[provider] != nil {
		m.OpsetImport = append(m.OpsetImport, &onnx.OperatorSetIdProto{Domain: ptr(Domain), Version: ptr(int64(1))})
	}
	return m
}

// emit lists a graph without composite operators as ONNX, or with those that
// the runtime has kernels for.
func (g *Graph) emit() *onnx.ModelProto {
	e := &emitter{names: map[*Value]string{}, used: map[string]int{}, proto: &onnx.GraphProto{Name: ptr(g.Name)}}
	for _, v := range g.Inputs {
		e.names[v] = v.Node.Name
		e.used[v.Node.Name]++
		e.proto.Input = append(e.proto.Input, info(v.Node.Name, v))
	}
	for _, o := range g.Outputs {
		e.used[o.Name]++
	}
	for _, o := range g.Outputs {
		if _, taken := e.names[o.Value]; !taken && o.Value.Node.Op != "Constant" {
			e.names[o.Value] = o.Name
		}
	}
	for _, o := range g.Outputs {
		e.visit(o.Value.Node)
		if e.names[o.Value] != o.Name { // an input, a constant, or a value with two names
			e.proto.Node = append(e.proto.Node, &onnx.NodeProto{
				OpType: ptr("Identity"), Name: ptr(e.unique("/" + o.Name + "/Identity")),
				Input: []string{e.names[o.Value]}, Output: []string{o.Name}})
		}
		e.proto.Output = append(e.proto.Output, info(o.Name, o.Value))
	}
	return &onnx.ModelProto{
		IrVersion:    ptr(int64(IRVersion)),
		ProducerName: ptr("immiscible"),
		OpsetImport: []*onnx.OperatorSetIdProto{
			{Domain: ptr(""), Version: ptr(int64(Opset))},
			{Domain: ptr("com.microsoft"), Version: ptr(int64(1))},
		},
		Graph: e.proto,
	}
}

type emitter struct {
	names map[*Value]string
	used  map[string]int
	done  map[*Node]bool
	proto *onnx.GraphProto
}

// visit lists a node after everything that it reads (iteratively: backward
// graphs are deeper than a comfortable call stack).
func (e *emitter) visit(root *Node) {
	if e.done == nil {
		e.done = map[*Node]bool{}
	}
	stack := []*Node{root}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		if e.done[n] {
			stack = stack[:len(stack)-1]
			continue
		}
		ready := true
		for _, in := range slices.Backward(n.Inputs) {
			if in != nil && !e.done[in.Node] {
				stack, ready = append(stack, in.Node), false
			}
		}
		if ready {
			e.done[n] = true
			e.emit(n)
			stack = stack[:len(stack)-1]
		}
	}
}

func (e *emitter) emit(n *Node) {
	switch n.Op {
	case "Input":
		return
	case "Constant":
		v := n.Outputs[0]
		name := e.unique(fmt.Sprintf("const_%d", len(e.proto.Initializer)))
		e.names[v] = name
		e.proto.Initializer = append(e.proto.Initializer,
			onnx.NewTensor(name, v.DType.ONNX(), dims(v.Shape), n.Data))
		return
	}
	path := "/" + n.Scope
	if n.Scope != "" {
		path += "/"
	}
	path += n.Op
	if n.Backward {
		path += ".grad"
	}
	path = e.unique(path)
	op := n.Op
	if op == "Elementwise" {
		op = elementwiseName(n)
	}
	p := &onnx.NodeProto{OpType: ptr(op), Name: ptr(path)}
	if n.Domain != "" {
		p.Domain = ptr(n.Domain)
	}
	for _, in := range n.Inputs {
		name := ""
		if in != nil {
			name = e.names[in]
		}
		p.Input = append(p.Input, name)
	}
	for i, o := range n.Outputs {
		if _, named := e.names[o]; !named {
			e.names[o] = fmt.Sprintf("%s_%d", path, i)
		}
		p.Output = append(p.Output, e.names[o])
	}
	for _, a := range n.Attrs {
		switch x := a.Value.(type) {
		case int64:
			p.Attribute = append(p.Attribute, onnx.IntAttr(a.Name, x))
		case float32:
			p.Attribute = append(p.Attribute, onnx.FloatAttr(a.Name, x))
		case []int64:
			p.Attribute = append(p.Attribute, onnx.IntsAttr(a.Name, x))
		case string:
			p.Attribute = append(p.Attribute, onnx.StringAttr(a.Name, x))
		}
	}
	e.proto.Node = append(e.proto.Node, p)
}

// unique appends a counter to a name that is taken.
func (e *emitter) unique(name string) string {
	k := e.used[name]
	e.used[name]++
	if k == 0 {
		return name
	}
	return e.unique(fmt.Sprintf("%s_%d", name, k))
}

func info(name string, v *Value) *onnx.ValueInfoProto {
	return onnx.NewValueInfo(name, v.DType.ONNX(), dims(v.Shape))
}

func dims(shape []int) []int64 {
	list := make([]int64, len(shape))
	for i, d := range shape {
		list[i] = int64(d)
	}
	return list
}

// ptr is how proto2 spells a field that is set.
func ptr[T any](x T) *T { return &x }
