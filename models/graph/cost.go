package graph

import (
	"cmp"
	"slices"
)

// FLOPs counts the floating-point operations of the products in a lowered
// graph: convolutions and matrix products, a multiply-add as two. Elementwise
// work, a few per cent, is left out.
func (g *Graph) FLOPs() int64 {
	var total int64
	for _, n := range g.Nodes {
		var inner int // multiply-adds for one output element
		switch n.Op {
		case "Conv":
			inner = numel(n.Inputs[1].Shape[1:])
		case "ConvTranspose": // every element of the image meets every tap
			total += 2 * int64(n.Inputs[0].Numel()) * int64(numel(n.Inputs[1].Shape[1:]))
			continue
		case "MatMul", "FusedMatMul":
			_, inner = matrix(n.Inputs[0], n.Int("transA", 0) == 1)
		case "Gemm":
			inner = n.Inputs[0].Dim(1)
		default:
			continue
		}
		total += 2 * int64(n.Outputs[0].Numel()) * int64(inner)
	}
	return total
}

// PeakBytes estimates the memory of intermediate values: the largest sum of
// values that are alive at once when nodes run in the order in which Model
// lists them for the last output first, as ONNX Runtime does. Inputs,
// constants and outputs are not counted; views count as copies.
func (g *Graph) PeakBytes() int64 {
	bytes, _ := g.Peak()
	return bytes
}

// Peak is PeakBytes and the values that are alive then, the largest first.
func (g *Graph) Peak() (bytes int64, alive []*Value) {
	order := g.runOrder()
	last := map[*Value]int{}
	for i, n := range order {
		for _, in := range n.Inputs {
			if in != nil {
				last[in] = i
			}
		}
	}
	bound := map[*Value]bool{}
	for _, o := range g.Outputs {
		bound[o.Value] = true
	}
	ends := make([]int64, len(order)+1)
	var now, peak int64
	at := 0
	for i, n := range order {
		for _, v := range n.Outputs {
			until, used := last[v]
			if n.Op == "Input" || n.Op == "Constant" || bound[v] || !used {
				continue
			}
			now += v.Bytes()
			ends[until] += v.Bytes()
		}
		if now > peak {
			peak, at = now, i
		}
		now -= ends[i]
	}
	for _, n := range order[:min(at+1, len(order))] {
		for _, v := range n.Outputs {
			if until, used := last[v]; used && until >= at && n.Op != "Input" && n.Op != "Constant" && !bound[v] {
				alive = append(alive, v)
			}
		}
	}
	slices.SortStableFunc(alive, func(a, b *Value) int { return cmp.Compare(b.Bytes(), a.Bytes()) })
	return peak, alive
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
