package onnx

import (
	"errors"
	"fmt"
)

// nodes checks a node list in order and enters its outputs into s.
func (c *checker) nodes(nodes []*NodeProto, s *scope) error {
	names := map[string]int{}
	for i, n := range nodes {
		where := fmt.Sprintf("node %d %q (%s)", i, n.GetName(), n.GetOpType())
		if n.GetName() != "" {
			// IR.md makes node names unique within a graph; ONNX Runtime refuses a model that repeats one.
			if first, ok := names[n.GetName()]; ok {
				return fmt.Errorf("%s: node %d has this name already", where, first)
			}
			names[n.GetName()] = i
		}
		if n.GetOpType() == "" {
			return fmt.Errorf("%s: no op_type", where)
		}
		if !c.opsets[canonicalDomain(n.GetDomain())] {
			return fmt.Errorf("%s: domain %q is not in opset_import", where, n.GetDomain())
		}
		if len(n.Input) == 0 && len(n.Output) == 0 {
			return fmt.Errorf("%s: neither inputs nor outputs", where)
		}
		for j, name := range n.Input {
			if name == "" || s.find(name) != "" { // an empty name leaves out an optional input
				continue
			}
			if later := producer(nodes[i:], name); later >= 0 {
				return fmt.Errorf("%s: input %d %q is produced by node %d, which does not run before it; nodes must be in topological order", where, j, name, i+later)
			}
			return fmt.Errorf("%s: input %d %q is not produced by any node, input or initializer", where, j, name)
		}
		if err := c.attributes(n.Attribute, s); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		for _, name := range n.Output {
			if name == "" { // leaves out an optional output
				continue
			}
			if err := s.define(name, where); err != nil {
				return err
			}
		}
	}
	return nil
}

// producer is the index of the node that has name among its outputs, −1 if none has.
func producer(nodes []*NodeProto, name string) int {
	for i, n := range nodes {
		for _, o := range n.GetOutput() {
			if o == name {
				return i
			}
		}
	}
	return -1
}

// attributes checks the attributes of one node, subgraphs within the node's scope included.
func (c *checker) attributes(attributes []*AttributeProto, s *scope) error {
	names := map[string]bool{}
	for _, a := range attributes {
		if a.GetName() == "" {
			return errors.New("an attribute has no name")
		}
		if names[a.GetName()] {
			return fmt.Errorf("attribute %q is set twice", a.GetName())
		}
		names[a.GetName()] = true
		if err := c.attribute(a, s); err != nil {
			return fmt.Errorf("attribute %q: %w", a.GetName(), err)
		}
	}
	return nil
}

// attribute checks that a holds a value in the field that its type names and in no other, then the value itself.
func (c *checker) attribute(a *AttributeProto, s *scope) error {
	fields := []struct {
		typ AttributeProto_AttributeType
		set bool
	}{
		{AttributeProto_FLOAT, a.F != nil}, {AttributeProto_INT, a.I != nil}, {AttributeProto_STRING, a.S != nil},
		{AttributeProto_TENSOR, a.T != nil}, {AttributeProto_GRAPH, a.G != nil},
		{AttributeProto_SPARSE_TENSOR, a.SparseTensor != nil}, {AttributeProto_TYPE_PROTO, a.Tp != nil},
		{AttributeProto_FLOATS, len(a.Floats) > 0}, {AttributeProto_INTS, len(a.Ints) > 0},
		{AttributeProto_STRINGS, len(a.Strings) > 0}, {AttributeProto_TENSORS, len(a.Tensors) > 0},
		{AttributeProto_GRAPHS, len(a.Graphs) > 0}, {AttributeProto_SPARSE_TENSORS, len(a.SparseTensors) > 0},
		{AttributeProto_TYPE_PROTOS, len(a.TypeProtos) > 0},
	}
	if _, known := AttributeProto_AttributeType_name[int32(a.GetType())]; !known || a.GetType() == AttributeProto_UNDEFINED {
		return fmt.Errorf("type %d is undefined or unknown", int32(a.GetType()))
	}
	if a.GetRefAttrName() != "" && !c.inFunction {
		return fmt.Errorf("refers to attribute %q of a function, but stands outside any", a.GetRefAttrName())
	}
	for _, f := range fields {
		switch {
		case f.set && a.GetRefAttrName() != "":
			return fmt.Errorf("has a %v value besides its reference to %q", f.typ, a.GetRefAttrName())
		case f.set && f.typ != a.GetType():
			return fmt.Errorf("has a %v value, want %v alone, as its type says", f.typ, a.GetType())
		case !f.set && f.typ == a.GetType() && a.GetRefAttrName() == "" && single(f.typ):
			return fmt.Errorf("has no %v value", f.typ)
		}
	}
	return c.attributeValue(a, s)
}

// single says whether a type's field holds one value; lists may be empty. Writers that follow proto3 leave out zeros, so
// that an absent number or string stands for zero.
func single(t AttributeProto_AttributeType) bool {
	switch t {
	case AttributeProto_TENSOR, AttributeProto_GRAPH, AttributeProto_SPARSE_TENSOR, AttributeProto_TYPE_PROTO:
		return true
	}
	return false
}

// attributeValue checks the tensors, types and graphs that an attribute holds.
func (c *checker) attributeValue(a *AttributeProto, s *scope) error {
	tensors, sparse, types, graphs := a.Tensors, a.SparseTensors, a.TypeProtos, a.Graphs
	if a.T != nil {
		tensors = []*TensorProto{a.T}
	}
	if a.SparseTensor != nil {
		sparse = []*SparseTensorProto{a.SparseTensor}
	}
	if a.Tp != nil {
		types = []*TypeProto{a.Tp}
	}
	if a.G != nil {
		graphs = []*GraphProto{a.G}
	}
	for _, t := range tensors {
		if err := checkTensor(t); err != nil {
			return err
		}
	}
	for _, t := range sparse {
		if err := checkSparse(t); err != nil {
			return err
		}
	}
	for _, t := range types {
		if err := typeRules(t); err != nil {
			return err
		}
	}
	for _, g := range graphs {
		if err := c.graph(g, s); err != nil {
			return fmt.Errorf("graph %q: %w", g.GetName(), err)
		}
	}
	return nil
}

// function checks a model-local function: its own opset imports, its formal names, and its body, which sees nothing of
// the graphs that call it.
func (c *checker) function(f *FunctionProto) error {
	if f.GetName() == "" {
		return errors.New("no name")
	}
	if !c.opsets[canonicalDomain(f.GetDomain())] {
		return errors.New("the domain is not in the model's opset_import")
	}
	opsets, err := checkOpsets(f.OpsetImport)
	if err != nil {
		return err
	}
	s := &scope{values: map[string]string{}}
	for i, name := range f.Input {
		if name == "" {
			return fmt.Errorf("input %d has no name", i)
		}
		if err := s.define(name, fmt.Sprintf("input %d", i)); err != nil {
			return err
		}
	}
	attributes := map[string]bool{}
	declare := func(name string) error {
		if name == "" || attributes[name] {
			return fmt.Errorf("attribute %q is declared twice or has no name", name)
		}
		attributes[name] = true
		return nil
	}
	for _, name := range f.Attribute {
		if err := declare(name); err != nil {
			return err
		}
	}
	for _, a := range f.AttributeProto {
		if err := declare(a.GetName()); err != nil {
			return err
		}
	}
	body := &checker{opsets: opsets, inFunction: true}
	if err := body.attributes(f.AttributeProto, s); err != nil {
		return err
	}
	if err := body.nodes(f.Node, s); err != nil {
		return err
	}
	for i, name := range f.Output {
		if s.values[name] == "" {
			return fmt.Errorf("output %d %q is not produced by any node or input", i, name)
		}
	}
	return nil
}
