package graph

import "immiscible/models/onnx"

// TrainingModel is NativeModel as a training session loads it: the first
// dimension of every input is left open, shapes that are written down say −1 for
// their first dimension and 1 for those that Expand leaves alone, an Expand whose
// readers broadcast is left out, and a Transpose that moves nothing is a Reshape, so that ONNX Runtime infers no size of a
// batch's values, nor of what is made of a weight.
//
// Its planner gives a value the buffer of an earlier one that has ended, if it
// knows that both have one shape, and keeps that buffer in between: in a training
// graph from the forward pass to the backward. [M] CPU provider, the default
// preset at batch 16 in portable operators, with ReshapeFusion off (see
// engine.SessionOptions.KeepOrder): 96.8 MB with sizes known and 69.2 without;
// under gradient checkpointing 83.3 and 32.7. Values then take what is alive at
// once, as Peak counts it, to 1 %. ONNX Runtime has a setting for it,
// enable_mem_reuse, which its C API does not reach.
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/onnxruntime/core/framework/allocation_planner.cc
// (FindReusableTensor)
func (g *Graph) TrainingModel(provider string) (*onnx.ModelProto, error) {
	native, err := Native(g, provider)
	if err != nil {
		return nil, err
	}
	open, err := openBatch(native)
	if err != nil {
		return nil, err
	}
	m := open.emitNative(provider)
	for _, in := range m.Graph.Input {
		if dims := in.GetType().GetTensorType().GetShape().GetDim(); len(dims) > 0 {
			dims[0].Value = nil
		}
	}
	return m, nil
}

// openBatch rewrites shapes that stand in constants. Values keep theirs.
func openBatch(g *Graph) (*Graph, error) {
	readers := g.readers()
	return rebuild(g, func(b *Builder, n *Node, inputs []*Value) []*Value {
		if n.Domain != "" || len(n.Outputs) == 0 || n.Outputs[0].Rank() == 0 {
			return b.copyNode(n, inputs)
		}
		shape := append([]int{}, n.Outputs[0].Shape...)
		switch n.Op {
		case "Reshape":
			shape[0] = -1
		case "Expand":
			if broadcast(n.Outputs[0], readers[n.Outputs[0]]) {
				return inputs[:1]
			}
			from := n.Inputs[0].Shape
			for i, d := range from {
				if at := len(shape) - len(from) + i; shape[at] == d {
					shape[at] = 1
				}
			}
		case "Transpose":
			if !still(n) {
				return b.copyNode(n, inputs)
			}
			shape[0] = -1
			return b.node("Reshape", []*Value{inputs[0], b.Ints(shape...)}, nil, shapes(n)...).Outputs
		default:
			return b.copyNode(n, inputs)
		}
		return b.copyNode(n, []*Value{inputs[0], b.Ints(shape...)})
	})
}

// still tells whether a Transpose moves no element in memory, as that of an
// attention with one head: ONNX Runtime copies there what a Reshape only names.
func still(n *Node) bool {
	last, perm := -1, n.IntList("perm")
	for _, from := range perm {
		if n.Inputs[0].Shape[from] == 1 {
			continue
		}
		if from < last {
			return false
		}
		last = from
	}
	return len(perm) > 0 // without the attribute, dimensions are reversed
}

// broadcast tells whether all that reads v broadcasts it to the shape that v has
// anyway: with another operand of that shape, which no Expand has made.
func broadcast(v *Value, readers []*Node) bool {
	for _, r := range readers {
		if r == nil || r.Op != "Add" && r.Op != "Sub" && r.Op != "Mul" && r.Op != "Div" {
			return false
		}
		other := r.Inputs[0]
		if other == v {
			other = r.Inputs[1]
		}
		if other == v || other.Node.Op == "Expand" || !sameShape(other.Shape, v.Shape) || !sameShape(r.Outputs[0].Shape, v.Shape) {
			return false
		}
	}
	return true
}
