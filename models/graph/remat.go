package graph

// Remat is gradient checkpointing as a pass (Chen et al. 2016, arXiv 1604.06174):
// of a segment of the forward, only what other forward nodes read is kept. What
// the segment's backward reads besides is computed again, from the segment's
// inputs, when the backward gets there. Gradients keep their bits: the same
// operators run on the same numbers.
//
// segment names the segment of a forward node's scope, "" for none. A node
// outside any whose readers in the forward all lie in one segment joins it.
//
// ONNX Runtime merges the second computation back into the first unless the
// session disables common subexpression elimination, and delays it until the
// backward because only backward nodes read it (see Model).
func Remat(g *Graph, segment func(scope string) string) (*Graph, error) {
	segments, kept := g.segments(segment)
	again := map[*Value]*Value{} // old → recomputed
	r, err := rebuildWith(g, func(b *Builder, n *Node, twin map[*Value]*Value) []*Value {
		if !n.Backward {
			return b.copyNode(n, twins(n, twin))
		}
		var recompute func(v *Value) *Value
		recompute = func(v *Value) *Value {
			if v == nil {
				return nil
			}
			if segments[v.Node] == "" || kept[v] {
				return twin[v]
			}
			if again[v] == nil {
				inputs := make([]*Value, len(v.Node.Inputs))
				for i, in := range v.Node.Inputs {
					inputs[i] = recompute(in)
				}
				c := &Builder{graph: b.graph, scope: v.Node.Scope, backward: true}
				for i, o := range c.copyNode(v.Node, inputs) {
					again[v.Node.Outputs[i]] = o
				}
			}
			return again[v]
		}
		inputs := make([]*Value, len(n.Inputs))
		for i, in := range n.Inputs {
			inputs[i] = recompute(in)
		}
		return b.copyNode(n, inputs)
	})
	if err != nil {
		return nil, err
	}
	r.Recomputes = true
	return r, nil
}

// segments assigns forward nodes to segments, and tells which of their values
// are kept: those that forward nodes elsewhere, or outputs, read.
func (g *Graph) segments(segment func(scope string) string) (of map[*Node]string, kept map[*Value]bool) {
	of, kept = map[*Node]string{}, map[*Value]bool{}
	live := g.live()
	readers := map[*Node][]*Node{} // in the forward
	for _, n := range g.Nodes {
		if n.Backward || !live[n] {
			continue
		}
		for _, in := range n.Inputs {
			if in != nil {
				readers[in.Node] = append(readers[in.Node], n)
			}
		}
	}
	returned := map[*Node]bool{}
	for _, o := range g.Outputs {
		kept[o.Value], returned[o.Value.Node] = true, true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if n.Backward || n.Op == "Input" || n.Op == "Constant" {
			continue
		}
		of[n] = segment(n.Scope)
		if of[n] == "" && len(readers[n]) > 0 && !returned[n] {
			of[n] = of[readers[n][0]]
			for _, r := range readers[n] {
				if of[r] != of[n] {
					of[n] = ""
				}
			}
		}
	}
	for _, n := range g.Nodes {
		if n.Backward || !live[n] {
			continue
		}
		for _, in := range n.Inputs {
			if in != nil && of[in.Node] != of[n] {
				kept[in] = true
			}
		}
	}
	return of, kept
}
