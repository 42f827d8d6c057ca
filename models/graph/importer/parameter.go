package importer

import (
	"encoding/binary"
	"math"
	"strings"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// fixed lists, by operator, the inputs that are no weights whatever their type:
// settings, and the running statistics of BatchNormalization.
var fixed = map[string][]int{
	"Resize": {1, 2, 3}, "Upsample": {1}, "Clip": {1, 2}, "Dropout": {1, 2}, "Pad": {2, 3}, "OneHot": {1, 2},
	"BatchNormalization": {3, 4}, "Range": {0, 1, 2}, "RandomUniformLike": {0}, "CenterCropPad": {1},
}

// The dynamo exporter notes, beside an initializer's value_info, what it was.
const (
	kindKey   = "pkg.torch.export.graph_signature.InputSpec.kind"
	foldedKey = "pkg.onnxscript.optimizer.folded_from"
)

// parameters tells which initializers PyTorch would call parameters. Those that
// are no settings and have a dimension at least are, where the file says no
// more. The dynamo exporter says more: it stores constants (masks, tables of
// frequencies, ones and zeros) as initializers too, and notes which were
// parameters, or were computed from tensors of the state dict, whose names have
// dots (a transposed weight).
func parameters(m *onnx.ModelProto) map[string]bool {
	notes := map[string]map[string]string{}
	told := false
	for _, v := range m.Graph.ValueInfo {
		note := map[string]string{}
		for _, p := range v.MetadataProps {
			note[p.GetKey()] = p.GetValue()
		}
		notes[v.GetName()] = note
		told = told || note[kindKey] != ""
	}
	setting := map[string]bool{}
	for _, n := range m.Graph.Node {
		for _, i := range fixed[n.GetOpType()] {
			if i < len(n.Input) {
				setting[n.Input[i]] = true
			}
		}
	}
	list := map[string]bool{}
	for _, t := range m.Graph.Initializer {
		name := t.GetName()
		note := notes[name]
		switch folded := note[foldedKey]; {
		case setting[name]:
		case told && note[kindKey] != "":
			list[name] = note[kindKey] == "PARAMETER"
		case told && folded != "":
			list[name] = strings.Contains(strings.ReplaceAll(folded, "...", ""), ".")
		case told:
			list[name] = strings.Contains(name, ".") && len(t.Dims) > 0
		default:
			// A number is one where it has a key of the state dict.
			list[name] = len(t.Dims) > 0 || strings.Contains(name, ".") && !strings.Contains(name, "::")
		}
	}
	return list
}

// untied gives the output of an Identity of a parameter a parameter of its own:
// the TorchScript exporter stores equal tensors once (all norms' ones, in a
// fresh model) and copies them under the other names, which PyTorch trains
// apart.
func (im *importer) untied(n *onnx.NodeProto, e *entry) *entry {
	name := n.Output[0]
	if e.init == nil || !e.param || strings.HasPrefix(name, "/") {
		return e
	}
	if im.options.Param != nil && !im.options.Param(name, true) {
		return e
	}
	for _, o := range im.file.Model.Graph.Output {
		if o.GetName() == name {
			return e
		}
	}
	copied := &onnx.TensorProto{Name: &name, DataType: e.init.DataType, Dims: e.init.Dims, RawData: e.init.RawData,
		FloatData: e.init.FloatData, Int32Data: e.init.Int32Data, DoubleData: e.init.DoubleData,
		DataLocation: e.init.DataLocation, ExternalData: e.init.ExternalData}
	return &entry{init: copied, param: true}
}

func floats(raw []byte) []float32 {
	list := make([]float32, len(raw)/4)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return list
}

// scopeOf is a node's place in the model: the modules that the exporter wrote
// into its name or its metadata.
func scopeOf(n *onnx.NodeProto) string {
	for _, p := range n.MetadataProps {
		if p.GetKey() != "pkg.torch.onnx.name_scopes" {
			continue
		}
		// ['', 'layers.0', 'layers.0.attention', 'linear']: the last is the call.
		parts := strings.Split(strings.Trim(p.GetValue(), "[]"), ", ")
		if len(parts) >= 2 {
			return strings.Trim(parts[len(parts)-2], "'\"")
		}
	}
	name := strings.Trim(n.GetName(), "/")
	if i := strings.LastIndex(name, "/"); i >= 0 {
		return name[:i]
	}
	return ""
}

// typed is the entry's element type.
func (im *importer) typed(e *entry) graph.DType {
	switch {
	case e.value != nil:
		return e.value.DType
	case e.known != nil:
		return e.known.dtype
	}
	d, err := dtypeOf(onnx.DataType(e.init.GetDataType()))
	if err != nil {
		im.fail("initializer %q: %v", e.init.GetName(), err)
	}
	return d
}
