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
	return rebuild(g, func(b *Builder, n *Node, inputs []*Value) []*Value {
		if n.Domain == Domain {
			return b.lower(n, inputs)
		}
		return b.copyNode(n, inputs)
	})
}

// rebuild makes a new graph of the nodes that g's outputs need: each makes a
// node's twin from the inputs' twins.
func rebuild(g *Graph, each func(b *Builder, n *Node, inputs []*Value) []*Value) (*Graph, error) {
	return rebuildWith(g, func(b *Builder, n *Node, twin map[*Value]*Value) []*Value { return each(b, n, twins(n, twin)) })
}

// twins are the new graph's values for a node's inputs.
func twins(n *Node, twin map[*Value]*Value) []*Value {
	inputs := make([]*Value, len(n.Inputs))
	for i, in := range n.Inputs {
		if in != nil {
			inputs[i] = twin[in]
		}
	}
	return inputs
}

// rebuildWith is rebuild for passes that read other values than a node's own.
func rebuildWith(g *Graph, each func(b *Builder, n *Node, twin map[*Value]*Value) []*Value) (*Graph, error) {
	live := g.live()
	return Build(g.Name, func(b *Builder) {
		twin := map[*Value]*Value{} // old → new
		for _, n := range g.Nodes {
			c := &Builder{graph: b.graph, scope: n.Scope, backward: n.Backward}
			var made []*Value
			switch {
			case n.Op == "Input":
				v := c.input(n.Name, n.Outputs[0].DType, n.Outputs[0].Shape)
				v.Node.Param, v.Node.Init = n.Param, n.Init
				made = []*Value{v}
			case !live[n]:
				continue
			case n.Op == "Constant":
				made = []*Value{c.constant(n.Outputs[0].DType, n.Data, n.Outputs[0].Shape)}
			default:
				made = each(c, n, twin)
			}
			for i, v := range made {
				twin[n.Outputs[i]] = v
			}
		}
		for _, o := range g.Outputs {
			b.Output(o.Name, twin[o.Value])
		}
	})
}

// live marks the nodes that the outputs need.
func (g *Graph) live() map[*Node]bool {
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
	return live
}

// lower makes the portable nodes of a composite one.
func (b *Builder) lower(n *Node, inputs []*Value) []*Value {
	lowering, ok := lowerings[n.Op]
	if !ok {
		panic(&Error{Op: n.Op, Scope: n.Scope, Detail: "no lowering is known for this operator", Site: n.Site})
	}
	lowered := lowering(b, n, inputs)
	if len(lowered) != len(n.Outputs) {
		b.fail(n.Op, "its lowering gives %d values for %d outputs", len(lowered), len(n.Outputs))
	}
	for i, v := range lowered {
		if want := n.Outputs[i]; !sameShape(v.Shape, want.Shape) || v.DType != want.DType {
			b.fail(n.Op, "its lowering gives %v%v for output %d, want %v%v", v.DType, v.Shape, i, want.DType, want.Shape)
		}
	}
	return lowered
}

// copyNode makes the same node on other inputs.
func (b *Builder) copyNode(n *Node, inputs []*Value) []*Value {
	outs := make([]out, len(n.Outputs))
	for i, o := range n.Outputs {
		outs[i] = out{o.DType, o.Shape}
	}
	c := b.node(n.Op, inputs, n.Attrs, outs...)
	c.Domain, c.Site = n.Domain, n.Site
	return c.Outputs
}
