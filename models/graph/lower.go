package graph

// Domain is the operator domain of composite operators: those that have no
// ONNX operator of their own and are lowered before a graph is emitted.
const Domain = "immiscible"

// composite appends a node that Lower replaces.
func (b *Builder) composite(op string, inputs []*Value, attrs []Attr, outs ...out) []*Value {
	n := b.node(op, inputs, attrs, outs...)
	n.Domain = Domain
	return n.Outputs
}

// Lower is the pass that replaces composite operators by portable ONNX nodes
// and drops the nodes that no output needs. Inputs all stay, in their order.
func Lower(g *Graph) (*Graph, error) {
	live := map[*Node]bool{}
	for _, o := range g.Outputs {
		live[o.Value.Node] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		if n := g.Nodes[i]; live[n] {
			for _, in := range n.Inputs {
				if in != nil {
					live[in.Node] = true
				}
			}
		}
	}
	return Build(g.Name, func(b *Builder) {
		twin := map[*Value]*Value{} // old → new
		for _, n := range g.Nodes {
			if !live[n] && n.Op != "Input" {
				continue
			}
			c := &Builder{graph: b.graph, scope: n.Scope, backward: n.Backward}
			inputs := make([]*Value, len(n.Inputs))
			for i, in := range n.Inputs {
				if in != nil {
					inputs[i] = twin[in]
				}
			}
			for i, v := range c.copyNode(n, inputs) {
				twin[n.Outputs[i]] = v
			}
		}
		for _, o := range g.Outputs {
			b.Output(o.Name, twin[o.Value])
		}
	})
}

func (b *Builder) copyNode(n *Node, inputs []*Value) []*Value {
	switch {
	case n.Op == "Input":
		v := b.input(n.Name, n.Outputs[0].DType, n.Outputs[0].Shape)
		v.Node.Param, v.Node.Init = n.Param, n.Init
		return []*Value{v}
	case n.Op == "Constant":
		return []*Value{b.constant(n.Outputs[0].DType, n.Data, n.Outputs[0].Shape)}
	case n.Domain == Domain:
		lowered := lowerings[n.Op](b, n, inputs)
		for i, v := range lowered {
			if !sameShape(v.Shape, n.Outputs[i].Shape) {
				b.fail(n.Op, "its lowering gives %v for output %d, want %v", v.Shape, i, n.Outputs[i].Shape)
			}
		}
		return lowered
	}
	outs := make([]out, len(n.Outputs))
	for i, o := range n.Outputs {
		outs[i] = out{o.DType, o.Shape}
	}
	c := b.node(n.Op, inputs, n.Attrs, outs...)
	c.Domain, c.Site = n.Domain, n.Site
	return c.Outputs
}
