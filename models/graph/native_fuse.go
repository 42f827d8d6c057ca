package graph

import "slices"

// The passes of this file change a graph of Native's own in place: one node
// takes in the work of its neighbour, and gives the neighbour's value.

// addendInput is where an operator takes an addend: a value that is added to
// its first output on its way out.
var addendInput = map[string]int{"Conv": 3, "ConvInputGrad": 2, "GroupNormalizationGrad": 6}

// fuseAddends makes the other operand of an Add the addend of the node whose
// result it is added to, where nothing else reads that result: a residual, a time
// embedding, a second gradient of one value.
func fuseAddends(g *Graph) {
	readers := g.readers()
	gone := map[*Node]bool{}
	for _, add := range g.Nodes {
		if add.Op != "Add" {
			continue
		}
		x, y := add.Inputs[0], add.Inputs[1]
		if x.Node.index < y.Node.index {
			x, y = y, x // the later one first
		}
		if !takesAddend(x, y, add, readers) {
			if x, y = y, x; !takesAddend(x, y, add, readers) {
				continue
			}
		}
		// The node moves to the place of the Add, where both operands are known.
		n := x.Node
		inputs := make([]*Value, addendInput[n.Op], addendInput[n.Op]+1)
		copy(inputs, n.Inputs)
		sum := add.Outputs[0]
		*add = Node{Op: n.Op, Domain: n.Domain, Inputs: append(inputs, y), Attrs: n.Attrs, Scope: n.Scope, Backward: n.Backward, Site: n.Site, index: add.index}
		add.give(append([]*Value{sum}, n.Outputs[1:]...)...)
		gone[n] = true
	}
	g.remove(gone)
}

// takesAddend tells whether the node of x can add y to it and stand where add
// stands.
func takesAddend(x, y *Value, add *Node, readers map[*Value][]*Node) bool {
	n := x.Node
	at, ok := addendInput[n.Op]
	if !ok || n.Domain != Domain || len(n.Inputs) > at || x.Index != 0 || len(readers[x]) != 1 || !sameShape(x.Shape, add.Outputs[0].Shape) {
		return false
	}
	if !sameShape(x.Shape, y.Shape) && (n.Op == "GroupNormalizationGrad" || y.Rank() != x.Rank()) {
		return false
	}
	for _, other := range n.Outputs[1:] {
		for _, r := range readers[other] {
			if r != nil && r.index < add.index {
				return false
			}
		}
	}
	return true
}

// fuseDropout makes one node of Where(mask, x, 0) and a multiplication by a
// constant, before it (forward) or after it (backward).
func fuseDropout(g *Graph) {
	readers := g.readers()
	gone := map[*Node]bool{}
	for _, n := range g.Nodes {
		if n.Op != "Where" || n.Outputs[0].DType != Float32 || !sameShape(n.Inputs[0].Shape, n.Inputs[1].Shape) {
			continue
		}
		if zero, ok := scalar(n.Inputs[2]); !ok || zero != 0 {
			continue
		}
		x, y := n.Inputs[1], n.Outputs[0]
		scale := float32(1)
		if c, ok := factor(x.Node); ok && len(readers[x]) == 1 {
			x, scale = x.Node.Inputs[0], c
			gone[n.Inputs[1].Node] = true
		} else if after := readers[y]; len(after) == 1 && after[0] != nil {
			if c, ok := factor(after[0]); ok {
				y, scale = after[0].Outputs[0], c
				gone[after[0]] = true
			}
		}
		*n = Node{Op: "Dropout", Domain: Domain, Inputs: []*Value{x, n.Inputs[0]}, Attrs: []Attr{{"scale", scale}},
			Scope: n.Scope, Backward: n.Backward, Site: n.Site, index: n.index}
		n.give(y)
	}
	g.remove(gone)
}

// factor is the constant that a node multiplies its first input by.
func factor(n *Node) (float32, bool) {
	if n.Op != "Mul" {
		return 0, false
	}
	return scalar(n.Inputs[1])
}

// scalar is the content of a float32 constant of shape [].
func scalar(v *Value) (float32, bool) {
	if data, ok := v.Float32s(); ok && v.Rank() == 0 {
		return data[0], true
	}
	return 0, false
}

// give makes values the further outputs of n.
func (n *Node) give(values ...*Value) {
	for _, v := range values {
		v.Node, v.Index = n, len(n.Outputs)
		n.Outputs = append(n.Outputs, v)
	}
}

// remove drops nodes that have become parts of others.
func (g *Graph) remove(gone map[*Node]bool) {
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool { return gone[n] })
	for i, n := range g.Nodes {
		n.index = i
	}
}
