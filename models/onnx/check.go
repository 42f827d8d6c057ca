package onnx

import (
	"errors"
	"fmt"
)

// Check holds a model to the structural rules of IR.md, without knowing what any operator means: IR version and opset
// imports; names present and used once; every value defined once (static single assignment), before its use, and in a
// scope that the user sees; attributes with the one field that their type names; tensors whose data, shape and type
// agree. Subgraphs and model-local functions are checked likewise. The error is the first violation found.
func Check(m *ModelProto) error {
	if m == nil {
		return errors.New("no model")
	}
	// Below version 3 a model cannot name its opsets; above the schema's newest its meaning is unknown.
	if v := m.GetIrVersion(); v < int64(Version_IR_VERSION_2017_11_3) || v > int64(Version_IR_VERSION) {
		return fmt.Errorf("ir_version is %d, want %d to %d", v, Version_IR_VERSION_2017_11_3, Version_IR_VERSION)
	}
	opsets, err := checkOpsets(m.OpsetImport)
	if err != nil {
		return err
	}
	if m.Graph == nil {
		return errors.New("model has no graph")
	}
	if m.Graph.GetName() == "" {
		return errors.New("graph has no name")
	}
	c := &checker{opsets: opsets}
	if err := c.graph(m.Graph, nil); err != nil {
		return fmt.Errorf("graph %q: %w", m.Graph.GetName(), err)
	}
	type id struct{ domain, name, overload string }
	seen := map[id]bool{}
	for _, f := range m.Functions {
		key := id{canonicalDomain(f.GetDomain()), f.GetName(), f.GetOverload()}
		if seen[key] {
			return fmt.Errorf("function %q of domain %q is defined twice", f.GetName(), f.GetDomain())
		}
		seen[key] = true
		if err := c.function(f); err != nil {
			return fmt.Errorf("function %q of domain %q: %w", f.GetName(), f.GetDomain(), err)
		}
	}
	return nil
}

// checker carries what the rules depend on besides the graph at hand.
type checker struct {
	opsets     map[string]bool // imported domains, canonical
	inFunction bool            // attributes may refer to the function's own
}

// scope is the values visible in a graph: its own, and those of the graphs around it.
type scope struct {
	values map[string]string // name → what defined it, for messages
	outer  *scope
}

// find says what defined name in this scope or one around it, "" if nothing has so far.
func (s *scope) find(name string) string {
	for ; s != nil; s = s.outer {
		if by, ok := s.values[name]; ok {
			return by
		}
	}
	return ""
}

// define enters a value; a name that is visible already may not be used again, not even in a subgraph (IR.md, "Names
// Within a Graph").
func (s *scope) define(name, by string) error {
	if first := s.find(name); first != "" {
		return fmt.Errorf("%s: value %q is defined already, by %s; every value has one definition", by, name, first)
	}
	s.values[name] = by
	return nil
}

// canonicalDomain maps the two spellings of the standard operators' domain to one.
func canonicalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func checkOpsets(imports []*OperatorSetIdProto) (map[string]bool, error) {
	opsets := map[string]bool{}
	for _, o := range imports {
		domain := canonicalDomain(o.GetDomain())
		if opsets[domain] {
			return nil, fmt.Errorf("opset_import: domain %q is imported twice", o.GetDomain())
		}
		if o.GetVersion() < 1 {
			return nil, fmt.Errorf("opset_import: domain %q has version %d, want 1 or more", o.GetDomain(), o.GetVersion())
		}
		opsets[domain] = true
	}
	if len(opsets) == 0 {
		return nil, errors.New("opset_import is empty, want at least one operator set")
	}
	return opsets, nil
}

// graph checks one graph within the scopes around it. Values enter the scope in running order, so that a node sees only
// what stands before it.
func (c *checker) graph(g *GraphProto, outer *scope) error {
	s := &scope{values: map[string]string{}, outer: outer}
	inputs := map[string]*ValueInfoProto{}
	for i, v := range g.Input {
		where := fmt.Sprintf("input %d", i)
		if v.GetName() == "" {
			return fmt.Errorf("%s has no name", where)
		}
		if err := s.define(v.GetName(), where); err != nil {
			return err
		}
		// The body graphs of control flow may leave their inputs' types to inference.
		if err := checkType(v, outer != nil); err != nil {
			return fmt.Errorf("input %q: %w", v.GetName(), err)
		}
		inputs[v.GetName()] = v
	}
	if err := c.initializers(g, inputs, s); err != nil {
		return err
	}
	if err := c.nodes(g.Node, s); err != nil {
		return err
	}
	for i, v := range g.Output {
		name := v.GetName()
		if name == "" {
			return fmt.Errorf("output %d has no name", i)
		}
		if _, own := s.values[name]; !own {
			if s.find(name) != "" {
				return fmt.Errorf("output %q is a value of the graph around this one; pass it through an Identity", name)
			}
			return fmt.Errorf("output %q is not produced by any node, input or initializer", name)
		}
		if err := checkType(v, outer != nil); err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
	}
	for _, v := range g.ValueInfo {
		if err := checkType(v, true); err != nil {
			return fmt.Errorf("value_info %q: %w", v.GetName(), err)
		}
	}
	return nil
}

// initializers checks the graph's constants and enters them. One may give a graph input its default value. IR version 3
// said that each one must; models that do not are around, ONNX Runtime takes them, and nothing hangs on it.
func (c *checker) initializers(g *GraphProto, inputs map[string]*ValueInfoProto, s *scope) error {
	defined := map[string]bool{}
	enter := func(name string) error {
		if name == "" {
			return errors.New("an initializer has no name")
		}
		if defined[name] {
			return fmt.Errorf("initializer %q is listed twice", name)
		}
		defined[name] = true
		if inputs[name] != nil {
			return nil
		}
		return s.define(name, "initializer")
	}
	for _, t := range g.Initializer {
		if err := enter(t.GetName()); err != nil {
			return err
		}
		if err := checkTensor(t); err != nil {
			return fmt.Errorf("initializer: %w", err)
		}
		if err := sameAsInput(t, inputs[t.GetName()]); err != nil {
			return fmt.Errorf("initializer %q: %w", t.GetName(), err)
		}
	}
	for _, t := range g.SparseInitializer {
		name := t.GetValues().GetName()
		if err := enter(name); err != nil {
			return err
		}
		if err := checkSparse(t); err != nil {
			return fmt.Errorf("sparse initializer %q: %w", name, err)
		}
	}
	return nil
}

// sameAsInput compares an initializer with the input whose default it is: type, rank and every fixed dimension.
func sameAsInput(t *TensorProto, input *ValueInfoProto) error {
	typ := input.GetType().GetTensorType()
	if typ == nil {
		return nil
	}
	if typ.GetElemType() != t.GetDataType() {
		return fmt.Errorf("data type %v, want %v as the graph input of that name", DataType(t.GetDataType()), DataType(typ.GetElemType()))
	}
	if typ.Shape == nil {
		return nil
	}
	same := len(typ.Shape.Dim) == len(t.Dims)
	for i := 0; same && i < len(t.Dims); i++ {
		d, fixed := typ.Shape.Dim[i].GetValue().(*TensorShapeProto_Dimension_DimValue)
		same = !fixed || d.DimValue == t.Dims[i]
	}
	if !same {
		return fmt.Errorf("dims %v disagree with the graph input of that name", t.Dims)
	}
	return nil
}

// checkSparse holds a sparse tensor to the schema: a vector of n values and one index ([n]) or rank indices ([n, rank])
// for each. That the indices ascend within the shape is left to the one who expands it.
func checkSparse(t *SparseTensorProto) error {
	if err := checkTensor(t.GetValues()); err != nil {
		return fmt.Errorf("values: %w", err)
	}
	if err := checkTensor(t.GetIndices()); err != nil {
		return fmt.Errorf("indices: %w", err)
	}
	if _, err := elements(t.Dims); err != nil {
		return err
	}
	values, indices := t.GetValues().Dims, t.GetIndices().Dims
	if len(values) != 1 {
		return fmt.Errorf("values have dims %v, want a vector", values)
	}
	flat := len(indices) == 1 && indices[0] == values[0]
	full := len(indices) == 2 && indices[0] == values[0] && indices[1] == int64(len(t.Dims))
	if t.GetIndices().GetDataType() != int32(TensorProto_INT64) || !flat && !full {
		return fmt.Errorf("indices are %v %v, want INT64 [%d] or [%d %d]", DataType(t.GetIndices().GetDataType()), indices, values[0], values[0], len(t.Dims))
	}
	return nil
}

// checkType holds a value's type to the schema. An absent type is an error unless it may be left to inference.
func checkType(v *ValueInfoProto, mayBeAbsent bool) error {
	if v.GetType().GetValue() == nil {
		if mayBeAbsent {
			return nil
		}
		return errors.New("no type")
	}
	return typeRules(v.Type)
}

// typeRules checks a type and those inside it: known element types and dimensions that are not negative.
func typeRules(t *TypeProto) error {
	var elem int32
	var shape *TensorShapeProto
	switch t := t.GetValue().(type) {
	case *TypeProto_TensorType:
		elem, shape = t.TensorType.GetElemType(), t.TensorType.GetShape()
	case *TypeProto_SparseTensorType:
		elem, shape = t.SparseTensorType.GetElemType(), t.SparseTensorType.GetShape()
	case *TypeProto_SequenceType:
		return typeRules(t.SequenceType.GetElemType())
	case *TypeProto_OptionalType:
		return typeRules(t.OptionalType.GetElemType())
	case *TypeProto_MapType:
		return typeRules(t.MapType.GetValueType())
	case *TypeProto_OpaqueType:
		return nil
	default:
		return errors.New("a type without a kind")
	}
	if _, known := TensorProto_DataType_name[elem]; !known || elem == int32(TensorProto_UNDEFINED) {
		return fmt.Errorf("elem_type %d is undefined or unknown", elem)
	}
	for i, d := range shape.GetDim() {
		if d.GetDimValue() < 0 {
			return fmt.Errorf("dimension %d is %d, want 0 or more, or a name in dim_param", i, d.GetDimValue())
		}
	}
	return nil
}
