package graph

import (
	"cmp"
	"slices"
)

// fuseElementwise changes a graph in place: clusters of elementwise nodes that
// follow one another become one Elementwise node each. What lies inside a cluster
// is never stored; a value that others read is one of its outputs.
//
// A cluster is of one shape, and of the forward or of the backward pass. No path
// leaves it and comes back. It is not made where memory would have to wait: see
// growth.
func fuseElementwise(g *Graph) {
	recomputeCheap(g)
	f := newFuser(g)
	for changed := true; changed; {
		changed = false
		for _, n := range g.Nodes {
			if f.of[n] == nil || !elementwise(n) {
				continue
			}
			for _, in := range n.Inputs {
				if a, b := f.of[in.Node], f.of[n]; a != nil && a != b && alike(in.Node, n) && f.follows(a, b) {
					f.join(a, b)
					changed = true
				}
			}
		}
	}
	f.pair()
	f.replace()
	g.arrange()
}

// fuser knows which cluster each node that runs is in: one of its own at first.
type fuser struct {
	g       *Graph
	readers map[*Value][]*Node
	of      map[*Node]*cluster
}

type cluster struct {
	nodes []*Node // in topological order
	at    int     // when it runs, in the order of runOrder
}

func newFuser(g *Graph) *fuser {
	f := &fuser{g, g.readers(), map[*Node]*cluster{}}
	for i, n := range g.runOrder() {
		if n.Op != "Input" && n.Op != "Constant" {
			f.of[n] = &cluster{[]*Node{n}, i}
		}
	}
	return f
}

// alike tells whether two nodes may be in one cluster.
func alike(x, y *Node) bool {
	return elementwise(x) && elementwise(y) && x.Backward == y.Backward && sameShape(x.Outputs[0].Shape, y.Outputs[0].Shape)
}

// follows tells whether b, which reads values of a, may become one with it.
func (f *fuser) follows(a, b *cluster) bool {
	return f.fit(a, b) && f.growth(a, b) <= 0 && !f.around(a, b)
}

// fit tells whether two clusters together are one node in size and types.
func (f *fuser) fit(a, b *cluster) bool {
	inputs, outputs := f.border(a, b)
	half := Float32
	for _, y := range outputs {
		switch {
		case !isFloat(y), y.DType != Float32 && half != Float32 && half != y.DType:
			return false
		case y.DType != Float32:
			half = y.DType
		}
	}
	return len(inputs) <= maxElementwiseInputs && len(outputs) <= maxElementwiseOutputs
}

// border lists what the nodes of clusters read from elsewhere, and what others read
// of theirs.
func (f *fuser) border(clusters ...*cluster) (inputs, outputs []*Value) {
	for _, c := range clusters {
		for _, n := range c.nodes {
			for _, in := range n.Inputs {
				if o := f.of[in.Node]; o != nil && slices.Contains(clusters, o) {
					continue
				}
				if _, ok := literal(read(in, true)); !ok && !slices.Contains(inputs, read(in, true)) {
					inputs = append(inputs, read(in, true))
				}
			}
			if y := n.Outputs[0]; !f.inside(y, clusters...) {
				outputs = append(outputs, y)
			}
		}
	}
	return inputs, outputs
}

// inside tells whether only nodes of the clusters read v.
func (f *fuser) inside(v *Value, clusters ...*cluster) bool {
	return !slices.ContainsFunc(f.readers[v], func(r *Node) bool { return r == nil || !slices.Contains(clusters, f.of[r]) })
}

// around tells whether a path leads from a to b through other clusters.
func (f *fuser) around(a, b *cluster) bool {
	seen := map[*cluster]bool{a: true}
	stack := []*cluster{a}
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, n := range c.nodes {
			for _, y := range n.Outputs {
				for _, r := range f.readers[y] {
					next := f.of[r]
					if r == nil || next == nil || c == a && next == b || seen[next] {
						continue
					}
					if next == b {
						return true
					}
					seen[next] = true
					stack = append(stack, next)
				}
			}
		}
	}
	return false
}

// soon is how many nodes, many of them views, may run between two that become
// one, without regard to what waits meanwhile.
const soon = 8

// growth is by how many bytes memory would grow between the times of a and of b
// if they ran at once, where that is a while. As late as b, what a is the last to
// read waits, but what only b reads of a is not there. As early as a, which is
// when b's other operands are there, b's results wait.
func (f *fuser) growth(a, b *cluster) int64 {
	between, others := int64(0), false
	for _, n := range a.nodes {
		switch y := n.Outputs[0]; {
		case f.inside(y, a):
		case f.inside(y, a, b):
			between += y.Bytes()
		default:
			others = true
		}
	}
	if ready := f.ready(b, a); ready > a.at+soon {
		if others { // whoever reads them would wait, and what they need
			return 1
		}
		return f.last(a, b) - between
	}
	if b.at <= a.at+soon {
		return 0
	}
	grown := -between
	for _, n := range b.nodes {
		if y := n.Outputs[0]; !f.inside(y, b) {
			grown += y.Bytes()
		}
	}
	return grown
}

// ready is when the last operand of b is there that does not come from a.
func (f *fuser) ready(b, a *cluster) int {
	at := 0
	for _, n := range b.nodes {
		for _, in := range n.Inputs {
			if c := f.of[in.Node]; c != nil && c != a && c != b {
				at = max(at, c.at)
			}
		}
	}
	return at
}

// last counts the bytes of what a alone, or a and b, read.
func (f *fuser) last(a, b *cluster) int64 {
	total := int64(0)
	seen := map[*Value]bool{}
	for _, n := range a.nodes {
		for _, in := range n.Inputs {
			v := read(in, true)
			if c := f.of[v.Node]; c == nil || c == a || seen[v] {
				continue
			}
			seen[v] = true
			if !slices.ContainsFunc(f.readers[v], func(r *Node) bool { return r == nil || f.of[r] != a && f.of[r] != b && f.of[r].at > a.at }) {
				total += v.Bytes()
			}
		}
	}
	return total
}

// pair joins clusters beside one another that read one value whole, where they run
// at about one time.
func (f *fuser) pair() {
	for _, n := range f.g.Nodes {
		for _, v := range n.Outputs {
			var seen []*cluster
			for _, reader := range f.whole(v) {
				b := f.of[reader]
				if slices.Contains(seen, b) {
					continue
				}
				i := slices.IndexFunc(seen, func(a *cluster) bool { return alike(a.nodes[0], b.nodes[0]) && f.besides(a, b) })
				if i < 0 {
					seen = append(seen, b)
				} else {
					f.join(seen[i], b)
				}
			}
		}
	}
}

// whole lists the elementwise nodes that read v and are as large: through a cast
// that widens it too.
func (f *fuser) whole(v *Value) []*Node {
	var list []*Node
	for _, r := range f.readers[v] {
		switch {
		case r == nil || f.of[r] == nil || !elementwise(r) || !sameShape(r.Outputs[0].Shape, v.Shape):
		case read(r.Outputs[0], false) == v:
			list = append(list, f.whole(r.Outputs[0])...)
		default:
			list = append(list, r)
		}
	}
	return list
}

// besides tells whether two clusters, of which none reads the other, may become
// one.
func (f *fuser) besides(a, b *cluster) bool {
	early, late := min(a.at, b.at), max(a.at, b.at)
	return late <= early+soon && max(f.ready(a, b), f.ready(b, a)) <= early+soon && f.fit(a, b) &&
		!f.reads(a, b) && !f.reads(b, a) && !f.around(a, b) && !f.around(b, a)
}

// reads tells whether b reads a value of a.
func (f *fuser) reads(b, a *cluster) bool {
	return slices.ContainsFunc(b.nodes, func(n *Node) bool {
		return slices.ContainsFunc(n.Inputs, func(v *Value) bool { return f.of[v.Node] == a })
	})
}

// join puts b's nodes into a.
func (f *fuser) join(a, b *cluster) {
	if f.ready(b, a) > a.at+soon {
		a.at = b.at
	}
	a.nodes = append(a.nodes, b.nodes...)
	slices.SortFunc(a.nodes, func(x, y *Node) int { return cmp.Compare(x.index, y.index) })
	for _, n := range b.nodes {
		f.of[n] = a
	}
}

// replace puts Elementwise nodes in the place of clusters. A node alone stays what
// it is, unless it has no kernel or what it reads was widened or broadcast for it.
func (f *fuser) replace() {
	gone := map[*Node]bool{}
	for i, n := range f.g.Nodes {
		c := f.of[n]
		if c == nil || !elementwise(n) || n != c.nodes[len(c.nodes)-1] {
			continue
		}
		_, outputs := f.border(c)
		slices.SortStableFunc(outputs, func(x, y *Value) int { return cmp.Compare(bit(x.DType == Float32), bit(y.DType == Float32)) })
		fused := asElementwise(c.nodes, outputs)
		// A truth value that others read stays ONNX's: the kernels write floats.
		if fused == nil || slices.ContainsFunc(outputs, func(y *Value) bool { return !isFloat(y) }) || len(c.nodes) == 1 && n.Op != "GeluGrad" && !slices.ContainsFunc(fused.Inputs, func(v *Value) bool { return !slices.Contains(n.Inputs, v) }) {
			continue
		}
		fused.give(outputs...)
		f.g.Nodes[i] = fused
		for _, part := range c.nodes {
			gone[part] = true
		}
	}
	f.g.remove(gone)
}

// recomputeCheap gives the backward pass its own twin of elementwise nodes of the
// forward pass whose operands it reads anyway, where only such nodes read the
// result as can take the twin in: it need not be kept. One operand may be kept in
// the result's place, if the forward pass needs neither otherwise.
func recomputeCheap(g *Graph) {
	readers := g.readers()
	twin := map[*Value]*Value{}
	before := map[*Node][]*Node{}
	kept := func(v *Value) bool {
		source := read(v, true)
		return twin[v] != nil || source.Node.Op == "Input" || source.Node.Op == "Constant" ||
			slices.ContainsFunc(readers[source], func(r *Node) bool { return r != nil && r.Backward })
	}
	for _, n := range g.Nodes {
		if n.Backward || !elementwise(n) || !isFloat(n.Outputs[0]) {
			continue
		}
		y := n.Outputs[0]
		later := slices.DeleteFunc(slices.Clone(readers[y]), func(r *Node) bool { return r == nil || !r.Backward })
		unfit := func(r *Node) bool { return r == nil || !elementwise(r) || !sameShape(r.Outputs[0].Shape, y.Shape) }
		instead := !slices.ContainsFunc(readers[y], unfit)
		for _, v := range n.Inputs {
			switch {
			case kept(v) || v.Numel() <= y.Numel()/16: // a small one does not count
			case instead && v.Bytes() <= y.Bytes() && len(readers[v]) == 1:
				instead = false
			default:
				later = nil
			}
		}
		if len(later) == 0 || slices.ContainsFunc(later, unfit) {
			continue
		}
		again := &Node{Op: n.Op, Domain: n.Domain, Attrs: n.Attrs, Scope: n.Scope, Backward: true, Site: n.Site}
		for _, in := range n.Inputs {
			if twin[in] != nil {
				in = twin[in]
			}
			again.Inputs = append(again.Inputs, in)
		}
		twin[y] = &Value{DType: y.DType, Shape: y.Shape}
		again.give(twin[y])
		for _, r := range later {
			for i, in := range r.Inputs {
				if in == y {
					r.Inputs[i] = twin[y]
				}
			}
		}
		before[later[0]] = append(before[later[0]], again)
	}
	var nodes []*Node
	for _, n := range g.Nodes {
		nodes = append(append(nodes, before[n]...), n)
	}
	g.Nodes = nodes
	g.arrange()
}

// arrange puts nodes after those that they read, and otherwise leaves their order.
func (g *Graph) arrange() {
	var nodes []*Node
	done := map[*Node]bool{}
	for _, n := range g.Nodes {
		stack := []*Node{n}
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			ready := true
			for _, in := range slices.Backward(n.Inputs) {
				if in != nil && !done[in.Node] {
					stack, ready = append(stack, in.Node), false
				}
			}
			if !ready {
				continue
			}
			stack = stack[:len(stack)-1]
			if !done[n] {
				done[n], n.index = true, len(nodes)
				nodes = append(nodes, n)
			}
		}
	}
	g.Nodes = nodes
}
