package importer

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// Key is what a parameter of a file is in PyTorch's state dict.
type Key struct {
	Name       string
	Transposed bool // the file holds the transpose of the state dict's matrix
}

// Keys names the state-dict keys of a file's parameters. An exporter keeps a
// key, which has dots, as the initializer's name; where it transposed or
// reshaped the tensor it made up a name, and the key follows from the module
// that uses it (the TorchScript exporter writes modules into node names) or from
// what it says the tensor was computed from (the dynamo exporter). A parameter
// of which the file says neither is left out. Whether the keys are right is for
// the caller to see: a model with that state dict has them all, in these shapes.
func (f *File) Keys() map[string]Key {
	keys, readers := map[string]Key{}, map[string]reader{}
	for _, n := range f.Model.Graph.Node {
		for i, name := range n.Input {
			if _, ok := readers[name]; !ok && n.GetOpType() != "Identity" {
				readers[name] = reader{n, i}
			}
		}
	}
	folded := map[string]string{}
	for _, v := range f.Model.Graph.ValueInfo {
		for _, p := range v.MetadataProps {
			if p.GetKey() == foldedKey {
				folded[v.GetName()] = p.GetValue()
			}
		}
	}
	usual := parameters(f.Model)
	name := func(name string, rank int) {
		by := readers[name]
		transposed := rank == 2 && by.node.GetOpType() == "MatMul" && by.input == 1
		switch {
		case folded[name] != "":
			for _, part := range strings.Split(strings.Trim(folded[name], "[]"), ", ") {
				part = strings.Trim(part, "'\"")
				// Of a parameter and a buffer (position_ids) it is the parameter.
				if _, found := keys[name]; strings.Contains(part, ".") && !strings.HasPrefix(part, "...") &&
					(!found || strings.HasSuffix(part, ".weight") || strings.HasSuffix(part, ".bias")) {
					keys[name] = Key{part, transposed}
				}
			}
		case !strings.Contains(name, "::") && strings.Contains(name, "."):
			keys[name] = Key{Name: name}
		default:
			if leaf := by.leaf(); leaf != "" && scopeOf(by.node) != "" {
				keys[name] = Key{strings.ReplaceAll(scopeOf(by.node), "/", ".") + leaf, transposed}
			}
		}
	}
	for _, t := range f.Model.Graph.Initializer {
		if usual[t.GetName()] {
			name(t.GetName(), len(t.Dims))
		}
	}
	for _, copied := range f.copies() {
		name(copied.Output[0], len(f.initializer(copied.Input[0]).Dims))
	}
	// A name that is the key itself outranks what follows from a place; of two
	// that follow, neither is sure.
	claims := map[string]int{}
	for _, key := range keys {
		claims[key.Name]++
	}
	for name, key := range keys {
		if name != key.Name && claims[key.Name] > 1 {
			delete(keys, name)
		}
	}
	return keys
}

// reader is a node that reads a value, and at which input.
type reader struct {
	node  *onnx.NodeProto
	input int
}

// leaf is what a module calls a tensor of its own that this node reads.
func (r reader) leaf() string {
	if r.node == nil {
		return ""
	}
	switch r.node.GetOpType() {
	case "Mul":
		return ".weight"
	case "Add":
		return ".bias"
	case "MatMul", "Gemm", "Conv", "ConvTranspose", "InstanceNormalization", "LayerNormalization", "GroupNormalization":
		return [...]string{"", ".weight", ".bias", "", "", ""}[min(r.input, 5)]
	}
	return ""
}

// copies are the nodes that give a parameter a second name: see untied.
func (f *File) copies() []*onnx.NodeProto {
	var list []*onnx.NodeProto
	usual := parameters(f.Model)
	for _, n := range f.Model.Graph.Node {
		if n.GetOpType() == "Identity" && len(n.Input) == 1 && usual[n.Input[0]] && !strings.HasPrefix(n.Output[0], "/") {
			list = append(list, n)
		}
	}
	return list
}

func (f *File) initializer(name string) *onnx.TensorProto {
	for _, t := range f.Model.Graph.Initializer {
		if t.GetName() == name {
			return t
		}
	}
	return nil
}

// WithWeights is a copy of the model with other values in its parameters: same
// names, same types, same layout. values gives a tensor's elements by name, and
// false for those that stay. A tensor that stood for several parameters becomes
// one for each of them that values has. External data become the message's own:
// onnx.SaveExternal puts them into a file again.
func (f *File) WithWeights(values func(name string) ([]float32, bool)) (*onnx.ModelProto, error) {
	data, err := onnx.Marshal(f.Model)
	if err != nil {
		return nil, err
	}
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(f.Path)
	fill := func(t *onnx.TensorProto, list []float32) (*onnx.TensorProto, error) {
		raw, err := encodeFloats(list, onnx.DataType(t.GetDataType()))
		if err == nil && !sizeFits(t, len(list)) {
			err = fmt.Errorf("%d values for dims %v", len(list), t.Dims)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: initializer %q: %w", f.Path, t.GetName(), err)
		}
		made := onnx.NewTensor(t.GetName(), onnx.DataType(t.GetDataType()), t.Dims, raw)
		made.DocString, made.MetadataProps = t.DocString, t.MetadataProps
		return made, nil
	}
	untied := map[string]*onnx.TensorProto{}
	for _, n := range f.copies() {
		if list, ok := values(n.Output[0]); ok {
			if untied[n.Output[0]], err = fill(f.initializer(n.Input[0]), list); err != nil {
				return nil, err
			}
			untied[n.Output[0]].Name = &n.Output[0]
		}
	}
	for i, t := range m.Graph.Initializer {
		if list, ok := values(t.GetName()); ok {
			if m.Graph.Initializer[i], err = fill(t, list); err != nil {
				return nil, err
			}
		} else if t.GetDataLocation() == onnx.TensorProto_EXTERNAL {
			raw, err := onnx.TensorData(t, dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
			m.Graph.Initializer[i] = onnx.NewTensor(t.GetName(), onnx.DataType(t.GetDataType()), t.Dims, raw)
		}
	}
	var nodes []*onnx.NodeProto
	for _, n := range m.Graph.Node {
		if n.GetOpType() == "Identity" && untied[n.Output[0]] != nil {
			m.Graph.Initializer = append(m.Graph.Initializer, untied[n.Output[0]])
			continue
		}
		nodes = append(nodes, n)
	}
	m.Graph.Node = nodes
	return m, nil
}

func sizeFits(t *onnx.TensorProto, n int) bool {
	shape, err := shapeOf(t.Dims)
	return err == nil && numel(shape) == n
}

// encodeFloats rounds to a file's type, to nearest, ties to even.
func encodeFloats(list []float32, dtype onnx.DataType) ([]byte, error) {
	le, raw := binary.LittleEndian, make([]byte, 0, 4*len(list))
	for _, x := range list {
		switch dtype {
		case onnx.TensorProto_FLOAT:
			raw = le.AppendUint32(raw, math.Float32bits(x))
		case onnx.TensorProto_DOUBLE:
			raw = le.AppendUint64(raw, math.Float64bits(float64(x)))
		case onnx.TensorProto_BFLOAT16:
			bits := math.Float32bits(x)
			raw = le.AppendUint16(raw, uint16((bits+0x7fff+bits>>16&1)>>16))
		case onnx.TensorProto_FLOAT16:
			raw = le.AppendUint16(raw, halfBits(x))
		default:
			return nil, fmt.Errorf("type %v, want a float", dtype)
		}
	}
	return raw, nil
}

// halfBits rounds to binary16; what is beyond 65504 becomes infinite.
func halfBits(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	magnitude := math.Abs(float64(x))
	switch {
	case x != x:
		return sign | 0x7e00
	case magnitude >= 65520:
		return sign | 0x7c00
	case magnitude < 1.0/(1<<14): // subnormal: multiples of 2⁻²⁴
		return sign | uint16(math.RoundToEven(magnitude*(1<<24)))
	}
	rounded := bits&0x7fffffff + 0xfff + bits>>13&1
	return sign | uint16(rounded>>13-(127-15)<<10)
}

// Weights lists the file's usual parameters, the second names of one tensor
// among them, in the order of the file.
func (f *File) Weights() []Weight {
	usual, dir := parameters(f.Model), filepath.Dir(f.Path)
	var list []Weight
	add := func(name string, t *onnx.TensorProto) {
		if shape, err := shapeOf(t.Dims); err == nil {
			list = append(list, Weight{name, shape, t, dir})
		}
	}
	for _, t := range f.Model.Graph.Initializer {
		if d, ok := dtypes[onnx.DataType(t.GetDataType())]; ok && d == graph.Float32 && usual[t.GetName()] {
			add(t.GetName(), t)
		}
	}
	for _, n := range f.copies() {
		add(n.Output[0], f.initializer(n.Input[0]))
	}
	return list
}
