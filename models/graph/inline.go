package graph

// Inline copies the nodes of g that its outputs need into the builder's graph,
// under its scope, and returns the twins of g's outputs in their order. known
// holds values of the builder's graph that stand for values of g, inputs or
// inner ones; what only they needed is not copied. The other inputs are declared
// under their names, parameters as parameters.
func (b *Builder) Inline(g *Graph, known map[*Value]*Value) []*Value {
	live := map[*Node]bool{}
	for _, o := range g.Outputs {
		live[o.Value.Node] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if !live[n] || (len(n.Outputs) == 1 && known[n.Outputs[0]] != nil) {
			continue
		}
		for _, in := range n.Inputs {
			if in != nil && known[in] == nil {
				live[in.Node] = true
			}
		}
	}
	twin := map[*Value]*Value{}
	for _, n := range g.Nodes {
		c := &Builder{graph: b.graph, scope: join(b.scope, n.Scope), backward: n.Backward}
		var twins []*Value
		switch {
		case len(n.Outputs) == 1 && known[n.Outputs[0]] != nil:
			v := known[n.Outputs[0]]
			if !sameShape(v.Shape, n.Outputs[0].Shape) || v.DType != n.Outputs[0].DType {
				c.fail("Inline", "%v stands for %v, want one type and shape", v, n.Outputs[0])
			}
			twins = []*Value{v}
		case n.Op == "Input":
			v := c.input(join(b.scope, n.Name), n.Outputs[0].DType, n.Outputs[0].Shape)
			v.Node.Param, v.Node.Init = n.Param, n.Init
			twins = []*Value{v}
		case !live[n]:
			continue
		case n.Op == "Constant":
			twins = []*Value{c.constant(n.Outputs[0].DType, n.Data, n.Outputs[0].Shape)}
		default:
			inputs := make([]*Value, len(n.Inputs))
			for i, in := range n.Inputs {
				if in != nil {
					inputs[i] = twin[in]
				}
			}
			twins = c.copyNode(n, inputs)
		}
		for i, v := range twins {
			twin[n.Outputs[i]] = v
		}
	}
	outputs := make([]*Value, len(g.Outputs))
	for i, o := range g.Outputs {
		outputs[i] = twin[o.Value]
	}
	return outputs
}
