package graph

import "immiscible/models/onnx"

// TrainingModel is Model, or NativeModel, as a training session loads it: the
// first dimension of every input that is no parameter is left open, and shapes
// that are written down say −1 for their first dimension and 1 for those that
// Expand leaves alone, so that ONNX Runtime infers no size of what a batch's
// values are.
//
// Its planner gives a value the buffer of an earlier one that has ended, if it
// knows that both have one shape, and keeps that buffer in between: in a training
// graph from the forward pass to the backward. [M] CPU provider, the default
// preset at batch 16 in portable operators, with ReshapeFusion off (see
// engine.SessionOptions.KeepOrder): 96.8 MB with sizes known and 71.1 without;
// under gradient checkpointing 83.3 and 39.0. ONNX Runtime has a
// setting for it, enable_mem_reuse, which its C API does not reach.
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/onnxruntime/core/framework/allocation_planner.cc
// (FindReusableTensor)
func (g *Graph) TrainingModel(native bool) (*onnx.ModelProto, error) {
	lower := Lower
	if native {
		lower = Native
	}
	lowered, err := lower(g)
	if err != nil {
		return nil, err
	}
	open, err := openBatch(lowered)
	if err != nil {
		return nil, err
	}
	m := open.emit()
	if native {
		m.OpsetImport = append(m.OpsetImport, nativeOpset())
	}
	for i, v := range open.Inputs {
		if dims := m.Graph.Input[i].GetType().GetTensorType().GetShape().GetDim(); !v.Node.Param && len(dims) > 0 {
			dims[0].Value = nil
		}
	}
	return m, nil
}

// openBatch rewrites shapes that stand in constants. Values keep theirs.
func openBatch(g *Graph) (*Graph, error) {
	return rebuild(g, func(b *Builder, n *Node, inputs []*Value) []*Value {
		if n.Domain != "" || len(n.Outputs) == 0 || n.Outputs[0].Rank() == 0 {
			return b.copyNode(n, inputs)
		}
		shape := append([]int{}, n.Outputs[0].Shape...)
		switch n.Op {
		case "Reshape":
			shape[0] = -1
		case "Expand":
			from := n.Inputs[0].Shape
			for i, d := range from {
				if at := len(shape) - len(from) + i; shape[at] == d {
					shape[at] = 1
				}
			}
		default:
			return b.copyNode(n, inputs)
		}
		return b.copyNode(n, []*Value{inputs[0], b.Ints(shape...)})
	})
}
