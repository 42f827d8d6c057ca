package graph

import "slices"

// The passes of this file change a graph of Native's own in place: one node
// takes in the work of its neighbour, and gives the neighbour's value.

// fuseAddends makes the other operand of an Add the addend of the node whose
// result it is added to, where nothing else reads that result: a residual, a time
// embedding, a second gradient of one value. at says which operators take one, and
// as which input.
func fuseAddends(g *Graph, at map[string]int) {
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
		if !takesAddend(x, y, add, at, readers) {
			if x, y = y, x; !takesAddend(x, y, add, at, readers) {
				continue
			}
		}
		// The node moves to the place of the Add, where both operands are known.
		n := x.Node
		inputs := make([]*Value, at[n.Op], at[n.Op]+1)
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
func takesAddend(x, y *Value, add *Node, index map[string]int, readers map[*Value][]*Node) bool {
	n := x.Node
	at, ok := index[n.Op]
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
