package graph

import (
	"cmp"
	"slices"
)

// FLOPs counts the floating-point operations of the products in a graph that a
// provider runs: convolutions, matrix products and attention, a multiply-add as
// two. Elementwise work, a few per cent, is left out.
func (g *Graph) FLOPs() int64 {
	var total int64
	for _, n := range g.Nodes {
		total += n.flops()
	}
	return total
}

func (n *Node) flops() int64 {
	of := func(v *Value, each int) int64 { return 2 * int64(v.Numel()) * int64(each) }
	switch n.Op {
	case "Conv":
		return of(n.Outputs[0], numel(n.Inputs[1].Shape[1:]))
	case "ConvTranspose", "ConvInputGrad": // every element of the image meets every tap
		return of(n.Inputs[0], numel(n.Inputs[1].Shape[1:]))
	case "ConvWeightGrad":
		return of(n.Inputs[1], numel(n.Outputs[0].Shape[1:]))
	case "MatMul", "FusedMatMul":
		_, inner := matrix(n.Inputs[0], n.Int("transA", 0) == 1)
		return of(n.Outputs[0], inner)
	case "Gemm":
		return of(n.Outputs[0], n.Inputs[0].Dim(1))
	case "Attention": // q·kᵀ and P·v
		return 2 * of(n.Inputs[0], n.Inputs[1].Dim(0)/n.Int("batch", 1))
	case "AttentionGrad": // q·kᵀ again, dP, dv, dq, dk
		return 5 * of(n.Inputs[0], n.Inputs[2].Dim(0)/n.Int("batch", 1))
	}
	return 0
}

// PeakBytes estimates the memory of intermediate values: the largest sum of
// values that are alive at once when nodes run in the order in which Model
// lists them for the last output first, as ONNX Runtime does. Inputs,
// constants and outputs are not counted, and no reshape makes a copy.
func (g *Graph) PeakBytes() int64 {
	bytes, _ := g.Peak()
	return bytes
}

// Peak is PeakBytes and the values that are alive then, the largest first.
func (g *Graph) Peak() (bytes int64, alive []*Value) {
	order, until := g.lives()
	ends := make([]int64, len(order))
	var now, peak int64
	at := 0
	for i, n := range order {
		for _, v := range n.Outputs {
			if end, ok := until(v); ok {
				now += v.Bytes()
				ends[end] += v.Bytes()
			}
		}
		if now > peak {
			peak, at = now, i
		}
		now -= ends[i]
	}
	for _, n := range order[:min(at+1, len(order))] {
		for _, v := range n.Outputs {
			if end, ok := until(v); ok && end >= at {
				alive = append(alive, v)
			}
		}
	}
	slices.SortStableFunc(alive, func(a, b *Value) int { return cmp.Compare(b.Bytes(), a.Bytes()) })
	return peak, alive
}

// lives is the order in which nodes run, and tells to which of them a value that
// takes memory is alive.
func (g *Graph) lives() (order []*Node, until func(v *Value) (end int, ok bool)) {
	order = g.runOrder()
	bound := map[*Value]bool{}
	for _, o := range g.Outputs {
		bound[o.Value] = true
	}
	buffer := map[*Value]*Value{} // of a reshape's result: the value that it is a view of
	last := map[*Value]int{}      // reader
	for i, n := range order {
		for _, in := range n.Inputs {
			if whole := buffer[in]; whole != nil {
				in = whole
			}
			last[in] = i
		}
		if v := n.Outputs; (n.Op == "Reshape" || n.Op == "Transpose" && still(n)) && !bound[v[0]] {
			buffer[v[0]] = cmp.Or(buffer[n.Inputs[0]], n.Inputs[0])
		}
	}
	return order, func(v *Value) (int, bool) {
		end, used := last[v]
		return end, used && buffer[v] == nil && !bound[v] && v.Node.Op != "Input" && v.Node.Op != "Constant"
	}
}

// Bytes is the size of the value's elements together.
func (v *Value) Bytes() int64 { return int64(v.Numel()) * int64(v.DType.Size()) }

// runOrder lists the nodes as ONNX Runtime runs them: depth first from the last
// declared output to the first.
func (g *Graph) runOrder() []*Node {
	var order []*Node
	done := map[*Node]bool{}
	for i := len(g.Outputs) - 1; i >= 0; i-- {
		stack := []*Node{g.Outputs[i].Value.Node}
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			ready := true
			for _, in := range n.Inputs {
				if in != nil && !done[in.Node] {
					stack, ready = append(stack, in.Node), false
				}
			}
			if ready {
				stack = stack[:len(stack)-1]
				if !done[n] {
					done[n] = true
					order = append(order, n)
				}
			}
		}
	}
	return order
}
