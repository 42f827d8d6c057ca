package graph

// Grad returns the gradients of a scalar loss with respect to each value of
// wrt, in the same order and of the same shapes: reverse-mode differentiation.
// A value that the loss does not depend on has a gradient of zeros.
//
// The walker owns what is the same for every operator: which nodes lie between
// wrt and the loss, the order of the walk, the addition of gradients where a
// value is used more than once, the summing of broadcast gradients, and the
// checks of a rule's result. Backward nodes carry the scope of the forward node
// that they differentiate.
func (b *Builder) Grad(loss *Value, wrt []*Value) []*Value {
	if loss.Numel() != 1 || loss.DType != Float32 {
		b.fail("Grad", "the loss is %v, want a float32 scalar", loss)
	}
	depends := map[*Node]bool{} // nodes whose outputs depend on wrt
	between := map[*Node]bool{} // of these, nodes with an input that does
	for _, v := range wrt {
		if v.DType != Float32 && v.DType != Float16 {
			b.fail("Grad", "%v has no gradient: want a float", v)
		}
		depends[v.Node] = true
	}
	nodes := b.graph.Nodes
	for _, n := range nodes {
		for _, in := range n.Inputs {
			if in != nil && depends[in.Node] {
				depends[n], between[n] = true, true
			}
		}
	}

	grads := map[*Value]*Value{loss: b.Full(1, loss.Shape...)}
	for i := loss.Node.index; i >= 0; i-- {
		n := nodes[i]
		if !between[n] {
			continue
		}
		dy := make([]*Value, len(n.Outputs))
		reached := false
		for j, y := range n.Outputs {
			dy[j] = grads[y]
			reached = reached || dy[j] != nil
		}
		if !reached {
			continue
		}
		g := &Builder{graph: b.graph, scope: n.Scope, backward: true}
		r, ok := rules[n.Op]
		if !ok {
			panic(&Error{Op: n.Op, Scope: n.Scope, Detail: "no derivative is known for this operator", Site: n.Site})
		}
		dx := r(g, n, dy)
		if len(dx) != len(n.Inputs) {
			g.fail(n.Op, "its rule returned %d gradients for %d inputs", len(dx), len(n.Inputs))
		}
		for j, x := range n.Inputs {
			if x == nil || dx[j] == nil || !depends[x.Node] {
				continue
			}
			if wide, ok := broadcastShapes(x.Shape, dx[j].Shape); !ok || !sameShape(wide, dx[j].Shape) || dx[j].DType != x.DType {
				g.fail(n.Op, "its rule returned a gradient %v%v for input %d, which is %v%v",
					dx[j].DType, dx[j].Shape, j, x.DType, x.Shape)
			}
			d := g.SumTo(dx[j], x.Shape)
			if grads[x] != nil {
				d = g.Add(grads[x], d)
			}
			grads[x] = d
		}
	}

	result := make([]*Value, len(wrt))
	for i, v := range wrt {
		if result[i] = grads[v]; result[i] == nil {
			result[i] = (&Builder{graph: b.graph, scope: v.Node.Scope, backward: true}).zeros(v)
		}
	}
	return result
}
