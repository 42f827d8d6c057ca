package onnx

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// node makes a node of the standard domain.
func node(name, op string, inputs, outputs []string, attributes ...*AttributeProto) *NodeProto {
	return &NodeProto{Name: proto.String(name), OpType: proto.String(op), Input: inputs, Output: outputs, Attribute: attributes}
}

// sample is a small lawful model that touches each rule: y = If(c, x·w, x+b), z = double(y).
func sample() *ModelProto {
	scalarW := NewTensor("w", TensorProto_FLOAT, []int64{2}, []byte{0, 0, 128, 63, 0, 0, 0, 64}) // 1, 2
	branch := func(name, op, operand string) *AttributeProto {
		return &AttributeProto{Name: proto.String(name + "_branch"), Type: AttributeProto_GRAPH.Enum(), G: &GraphProto{
			Name:   proto.String(name),
			Node:   []*NodeProto{node("", op, []string{"x", operand}, []string{name + "_out"})},
			Output: []*ValueInfoProto{NewValueInfo(name+"_out", TensorProto_FLOAT, []int64{2})},
		}}
	}
	return &ModelProto{
		IrVersion:    proto.Int64(10),
		ProducerName: proto.String("test"),
		OpsetImport: []*OperatorSetIdProto{
			{Domain: proto.String(""), Version: proto.Int64(18)},
			{Domain: proto.String("local"), Version: proto.Int64(1)},
		},
		Graph: &GraphProto{
			Name:  proto.String("main"),
			Input: []*ValueInfoProto{NewValueInfo("x", TensorProto_FLOAT, []int64{2}), NewValueInfo("c", TensorProto_BOOL, nil)},
			Initializer: []*TensorProto{
				scalarW,
				{Name: proto.String("b"), DataType: proto.Int32(int32(TensorProto_FLOAT)), Dims: []int64{2}, FloatData: []float32{3, 4}},
			},
			Node: []*NodeProto{
				node("choose", "If", []string{"c"}, []string{"y"}, branch("then", "Mul", "w"), branch("else", "Add", "b")),
				{Name: proto.String("twice"), OpType: proto.String("double"), Domain: proto.String("local"), Input: []string{"y"}, Output: []string{"z"}},
			},
			Output:    []*ValueInfoProto{NewValueInfo("z", TensorProto_FLOAT, []int64{2})},
			ValueInfo: []*ValueInfoProto{NewValueInfo("y", TensorProto_FLOAT, []int64{2})},
		},
		Functions: []*FunctionProto{{
			Name: proto.String("double"), Domain: proto.String("local"),
			OpsetImport: []*OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(18)}},
			Input:       []string{"a"}, Output: []string{"s"}, Attribute: []string{"unused"},
			Node: []*NodeProto{node("", "Add", []string{"a", "a"}, []string{"s"})},
		}},
	}
}

func TestCheckAcceptsLawfulModel(t *testing.T) {
	if err := Check(sample()); err != nil {
		t.Fatal(err)
	}
}

// TestCheckRefuses breaks one rule a row; the message must name the place and the fault.
func TestCheckRefuses(t *testing.T) {
	then := func(m *ModelProto) *GraphProto { return m.Graph.Node[0].Attribute[0].G }
	attr := func(m *ModelProto, a *AttributeProto) {
		m.Graph.Node[1].Attribute = []*AttributeProto{a}
	}
	rows := []struct {
		name   string
		damage func(m *ModelProto)
		want   string
	}{
		{"no ir_version", func(m *ModelProto) { m.IrVersion = nil }, "ir_version is 0, want 3 to 14"},
		{"future ir_version", func(m *ModelProto) { m.IrVersion = proto.Int64(99) }, "ir_version is 99"},
		{"no opset", func(m *ModelProto) { m.OpsetImport = nil }, "opset_import is empty"},
		{"opset twice", func(m *ModelProto) { m.OpsetImport[1].Domain = proto.String("ai.onnx") }, `domain "ai.onnx" is imported twice`},
		{"opset zero", func(m *ModelProto) { m.OpsetImport[0].Version = nil }, "has version 0"},
		{"no graph", func(m *ModelProto) { m.Graph = nil }, "model has no graph"},
		{"unnamed graph", func(m *ModelProto) { m.Graph.Name = nil }, "graph has no name"},
		{"unnamed input", func(m *ModelProto) { m.Graph.Input[0].Name = nil }, `graph "main": input 0 has no name`},
		{"input twice", func(m *ModelProto) { m.Graph.Input[1].Name = proto.String("x") }, `input 1: value "x" is defined already, by input 0`},
		{"untyped input", func(m *ModelProto) { m.Graph.Input[0].Type = nil }, `input "x": no type`},
		{"unknown input type", func(m *ModelProto) { m.Graph.Input[0].Type.GetTensorType().ElemType = proto.Int32(77) }, "elem_type 77 is undefined or unknown"},
		{"undefined input type", func(m *ModelProto) { m.Graph.Input[0].Type.GetTensorType().ElemType = nil }, "elem_type 0 is undefined or unknown"},
		{"negative dimension", func(m *ModelProto) { m.Graph.Input[0] = NewValueInfo("x", TensorProto_FLOAT, []int64{2, -1}) }, "dimension 1 is -1"},
		{"sequence of nothing", func(m *ModelProto) {
			m.Graph.ValueInfo[0].Type = &TypeProto{Value: &TypeProto_SequenceType{SequenceType: &TypeProto_Sequence{}}}
		}, `value_info "y": a type without a kind`},
		{"dangling input", func(m *ModelProto) { m.Graph.Node[1].Input[0] = "nowhere" }, `node 1 "twice" (double): input 0 "nowhere" is not produced by any node, input or initializer`},
		{"order", func(m *ModelProto) { m.Graph.Node[0], m.Graph.Node[1] = m.Graph.Node[1], m.Graph.Node[0] }, `input 0 "y" is produced by node 1, which does not run before it`},
		{"cycle of one", func(m *ModelProto) { m.Graph.Node[1].Input[0] = "z" }, `input 0 "z" is produced by node 1`},
		{"output twice", func(m *ModelProto) { m.Graph.Node[1].Output[0] = "y" }, `value "y" is defined already, by node 0 "choose" (If)`},
		{"output over input", func(m *ModelProto) { m.Graph.Node[1].Output[0] = "x" }, `value "x" is defined already, by input 0`},
		{"output over initializer", func(m *ModelProto) { m.Graph.Node[1].Output[0] = "w" }, `value "w" is defined already, by initializer`},
		{"output twice in a node", func(m *ModelProto) { m.Graph.Node[1].Output = []string{"z", "z"} }, `value "z" is defined already`},
		{"node name twice", func(m *ModelProto) { m.Graph.Node[1].Name = proto.String("choose") }, "node 0 has this name already"},
		{"no op_type", func(m *ModelProto) { m.Graph.Node[0].OpType = nil }, "no op_type"},
		{"unknown domain", func(m *ModelProto) { m.Graph.Node[0].Domain = proto.String("com.example") }, `domain "com.example" is not in opset_import`},
		{"empty node", func(m *ModelProto) { m.Graph.Node = append(m.Graph.Node, node("e", "Add", nil, nil)) }, "neither inputs nor outputs"},
		{"missing graph output", func(m *ModelProto) { m.Graph.Output[0].Name = proto.String("q") }, `output "q" is not produced`},
		{"unnamed graph output", func(m *ModelProto) { m.Graph.Output[0].Name = nil }, "output 0 has no name"},
		{"untyped output", func(m *ModelProto) { m.Graph.Output[0].Type = nil }, `output "z": no type`},

		{"unnamed initializer", func(m *ModelProto) { m.Graph.Initializer[0].Name = nil }, "an initializer has no name"},
		{"initializer twice", func(m *ModelProto) { m.Graph.Initializer[1].Name = proto.String("w") }, `initializer "w" is listed twice`},
		{"initializer short", func(m *ModelProto) { m.Graph.Initializer[0].Dims = []int64{3} }, `tensor "w": raw_data has 8 bytes, want 12 for dims [3] of FLOAT`},
		{"initializer typed short", func(m *ModelProto) { m.Graph.Initializer[1].Dims = []int64{2, 2} }, `tensor "b": float_data has 2 entries, want 4`},
		{"initializer without data", func(m *ModelProto) { m.Graph.Initializer[0].RawData = nil }, "no data for 2 elements of FLOAT"},
		{"initializer with two data", func(m *ModelProto) { m.Graph.Initializer[0].FloatData = []float32{1, 2} }, "data stands in 2 fields"},
		{"initializer in the wrong field", func(m *ModelProto) { m.Graph.Initializer[1].DataType = proto.Int32(int32(TensorProto_INT64)) }, "stands in float_data, want int64_data"},
		{"initializer untyped", func(m *ModelProto) { m.Graph.Initializer[0].DataType = nil }, "data_type 0 is undefined or unknown"},
		{"initializer negative dim", func(m *ModelProto) { m.Graph.Initializer[0].Dims = []int64{-2} }, "dimension 0 is -2"},
		{"initializer overflow", func(m *ModelProto) { m.Graph.Initializer[0].Dims = []int64{1 << 32, 1 << 32} }, "overflows int64"},
		{"initializer byte overflow", func(m *ModelProto) { m.Graph.Initializer[0].Dims = []int64{1 << 62} }, "size in bytes overflows"},
		{"initializer in segments", func(m *ModelProto) { m.Graph.Initializer[0].Segment = &TensorProto_Segment{} }, "segments"},
		{"initializer unlike its input", func(m *ModelProto) {
			m.Graph.Input = append(m.Graph.Input, NewValueInfo("w", TensorProto_FLOAT, []int64{5}))
		}, `initializer "w": dims [2] disagree with the graph input`},
		{"initializer of another type than its input", func(m *ModelProto) {
			m.Graph.Input = append(m.Graph.Input, NewValueInfo("w", TensorProto_INT64, []int64{2}))
		}, `data type FLOAT, want INT64`},
		{"sparse values", func(m *ModelProto) {
			m.Graph.SparseInitializer = []*SparseTensorProto{{Values: NewTensor("s", TensorProto_FLOAT, nil, make([]byte, 4)), Indices: NewTensor("", TensorProto_INT64, []int64{1}, make([]byte, 8)), Dims: []int64{9}}}
		}, `sparse initializer "s": values have dims [], want a vector`},
		{"sparse indices", func(m *ModelProto) {
			m.Graph.SparseInitializer = []*SparseTensorProto{{Values: NewTensor("s", TensorProto_FLOAT, []int64{1}, make([]byte, 4)), Indices: NewTensor("", TensorProto_INT64, []int64{2}, make([]byte, 16)), Dims: []int64{9}}}
		}, "indices are INT64 [2], want INT64 [1] or [1 1]"},

		{"unnamed attribute", func(m *ModelProto) { attr(m, IntAttr("", 1)) }, "an attribute has no name"},
		{"attribute twice", func(m *ModelProto) {
			m.Graph.Node[1].Attribute = []*AttributeProto{IntAttr("k", 1), IntAttr("k", 2)}
		}, `attribute "k" is set twice`},
		{"untyped attribute", func(m *ModelProto) { attr(m, &AttributeProto{Name: proto.String("k"), I: proto.Int64(1)}) }, "type 0 is undefined or unknown"},
		{"attribute in the wrong field", func(m *ModelProto) {
			attr(m, &AttributeProto{Name: proto.String("k"), Type: AttributeProto_INT.Enum(), F: proto.Float32(1)})
		}, `attribute "k": has a FLOAT value, want INT alone`},
		{"attribute without value", func(m *ModelProto) {
			attr(m, &AttributeProto{Name: proto.String("k"), Type: AttributeProto_TENSOR.Enum()})
		}, "has no TENSOR value"},
		{"attribute reference outside a function", func(m *ModelProto) {
			attr(m, &AttributeProto{Name: proto.String("k"), Type: AttributeProto_INT.Enum(), RefAttrName: proto.String("unused")})
		}, "stands outside any"},
		{"attribute reference with a value", func(m *ModelProto) {
			m.Functions[0].Node[0].Attribute = []*AttributeProto{{Name: proto.String("k"), Type: AttributeProto_INT.Enum(), I: proto.Int64(1), RefAttrName: proto.String("unused")}}
		}, "besides its reference"},
		{"attribute tensor", func(m *ModelProto) {
			attr(m, TensorAttr("value", NewTensor("t", TensorProto_FLOAT, []int64{2}, make([]byte, 4))))
		}, `attribute "value": tensor "t": raw_data has 4 bytes, want 8`},

		{"subgraph dangling", func(m *ModelProto) { then(m).Node[0].Input[1] = "nowhere" }, `attribute "then_branch": graph "then": node 0 "" (Mul): input 1 "nowhere"`},
		{"subgraph sees a later value", func(m *ModelProto) { then(m).Node[0].Input[1] = "z" }, `input 1 "z" is not produced`},
		{"subgraph shadows", func(m *ModelProto) { then(m).Node[0].Output[0] = "x"; then(m).Output[0].Name = proto.String("x") }, `value "x" is defined already, by input 0`},
		{"subgraph returns an outer value", func(m *ModelProto) { then(m).Output[0].Name = proto.String("x") }, `output "x" is a value of the graph around this one`},
		{"branch values stay inside", func(m *ModelProto) { m.Graph.Node[1].Input[0] = "then_out" }, `input 0 "then_out" is not produced`},

		{"function twice", func(m *ModelProto) { m.Functions = append(m.Functions, m.Functions[0]) }, `function "double" of domain "local" is defined twice`},
		{"function unnamed", func(m *ModelProto) { m.Functions[0].Name = nil }, "no name"},
		{"function without opset", func(m *ModelProto) { m.Functions[0].OpsetImport = nil }, "opset_import is empty"},
		{"function domain", func(m *ModelProto) { m.Functions[0].Domain = proto.String("elsewhere") }, "not in the model's opset_import"},
		{"function input twice", func(m *ModelProto) { m.Functions[0].Input = []string{"a", "a"} }, `value "a" is defined already`},
		{"function attribute twice", func(m *ModelProto) { m.Functions[0].Attribute = []string{"p", "p"} }, `attribute "p" is declared twice`},
		{"function sees the caller", func(m *ModelProto) { m.Functions[0].Node[0].Input[1] = "w" }, `input 1 "w" is not produced`},
		{"function output", func(m *ModelProto) { m.Functions[0].Output[0] = "q" }, `output 0 "q" is not produced`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := sample()
			row.damage(m)
			err := Check(m)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("got  %v\nwant %s", err, row.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
	if Check(nil) == nil {
		t.Error("nil model accepted")
	}
}

// TestCheckAcceptsOddities holds what looks wrong and is not: each is found in exported models.
func TestCheckAcceptsOddities(t *testing.T) {
	rows := map[string]func(m *ModelProto){
		"initializer with input": func(m *ModelProto) {
			m.Graph.Input = append(m.Graph.Input, NewValueInfo("b", TensorProto_FLOAT, []int64{2}))
		},
		"graph output twice":      func(m *ModelProto) { m.Graph.Output = append(m.Graph.Output, m.Graph.Output[0]) },
		"unnamed nodes":           func(m *ModelProto) { m.Graph.Node[0].Name, m.Graph.Node[1].Name = nil, nil },
		"optional input left out": func(m *ModelProto) { m.Functions[0].Node[0] = node("", "Clip", []string{"a", "", "a"}, []string{"s"}) },
		"empty list attribute":    func(m *ModelProto) { m.Graph.Node[1].Attribute = []*AttributeProto{IntsAttr("axes", nil)} },
		"zero-sized initializer": func(m *ModelProto) {
			m.Graph.Initializer[0] = NewTensor("w", TensorProto_FLOAT, []int64{3, 0}, nil)
		},
		"branches share a value name": func(m *ModelProto) {
			for _, a := range m.Graph.Node[0].Attribute {
				a.G.Node[0].Output[0] = "r"
				a.G.Output[0].Name = proto.String("r")
			}
		},
		"subgraph output without type": func(m *ModelProto) { m.Graph.Node[0].Attribute[0].G.Output[0].Type = nil },
		"input is an output": func(m *ModelProto) {
			m.Graph.Output = append(m.Graph.Output, NewValueInfo("x", TensorProto_FLOAT, []int64{2}))
		},
		"attribute zero by absence": func(m *ModelProto) {
			m.Graph.Node[1].Attribute = []*AttributeProto{{Name: proto.String("k"), Type: AttributeProto_INT.Enum()}}
		},
		"external initializer": func(m *ModelProto) {
			m.Graph.Initializer[0] = ExternalTensor("w", TensorProto_FLOAT, []int64{2}, "weights/model.safetensors", 4096, 8)
		},
		"string initializer": func(m *ModelProto) {
			m.Graph.Initializer = append(m.Graph.Initializer, &TensorProto{Name: proto.String("t"), DataType: proto.Int32(int32(TensorProto_STRING)), Dims: []int64{1}, StringData: [][]byte{[]byte("a")}})
		},
		"reference attribute": func(m *ModelProto) {
			m.Functions[0].Node[0].Attribute = []*AttributeProto{{Name: proto.String("k"), Type: AttributeProto_INT.Enum(), RefAttrName: proto.String("unused")}}
		},
		"sparse initializer and attribute": func(m *ModelProto) {
			sparse := &SparseTensorProto{Values: NewTensor("s", TensorProto_FLOAT, []int64{1}, make([]byte, 4)), Indices: NewTensor("", TensorProto_INT64, []int64{1, 2}, make([]byte, 16)), Dims: []int64{3, 3}}
			m.Graph.SparseInitializer = []*SparseTensorProto{sparse}
			m.Graph.Node[1].Attribute = []*AttributeProto{{Name: proto.String("k"), Type: AttributeProto_SPARSE_TENSOR.Enum(), SparseTensor: sparse}}
		},
		"types beside tensors": func(m *ModelProto) {
			tensor := NewValueInfo("", TensorProto_FLOAT, nil).Type
			sequence := &TypeProto{Value: &TypeProto_SequenceType{SequenceType: &TypeProto_Sequence{ElemType: tensor}}}
			m.Graph.ValueInfo[0].Type = &TypeProto{Value: &TypeProto_OptionalType{OptionalType: &TypeProto_Optional{ElemType: sequence}}}
			m.Graph.Node[1].Attribute = []*AttributeProto{{Name: proto.String("k"), Type: AttributeProto_TYPE_PROTO.Enum(), Tp: tensor}}
		},
	}
	for name, change := range rows {
		m := sample()
		change(m)
		if err := Check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
