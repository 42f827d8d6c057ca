package graph

import "slices"

// linearLayers changes linear layers in place, so that elementwise nodes take in
// what stands beside their products:
//
//   - a bias becomes an Add where only elementwise nodes read the result: ONNX
//     Runtime's Gemm writes the bias into the result first, which the product then
//     reads and writes
//   - a layer whose result is split into parts, as GEGLU's is, becomes a layer a
//     part, and so does the backward of one: the parts are not copied
func linearLayers(g *Graph) {
	l := &linear{g: g, readers: g.readers(), before: map[*Node][]*Node{}, gone: map[*Node]bool{}}
	for _, n := range g.Nodes {
		switch n.Op {
		case "Gemm":
			l.forward(n)
		case "Concat":
			l.backward(n)
		}
	}
	var nodes []*Node
	for _, n := range g.Nodes {
		nodes = append(append(nodes, l.before[n]...), n)
	}
	g.Nodes = nodes
	g.remove(l.gone)
	g.arrange()
}

type linear struct {
	g       *Graph
	readers map[*Value][]*Node
	before  map[*Node][]*Node // nodes that take another's place
	gone    map[*Node]bool
}

// place makes a node in the place of another, which gives these values.
func (l *linear) place(of *Node, op, domain string, inputs []*Value, attrs []Attr, values ...*Value) []*Value {
	n := &Node{Op: op, Domain: domain, Inputs: inputs, Attrs: attrs, Scope: of.Scope, Backward: of.Backward, Site: of.Site}
	n.give(values...)
	l.before[of] = append(l.before[of], n)
	return n.Outputs
}

func (l *linear) product(of *Node, x, y *Value, transX, transY int, z *Value) *Value {
	op, domain, attrs := "MatMul", "", []Attr(nil)
	if transX+transY > 0 {
		op, domain, attrs = "FusedMatMul", "com.microsoft", []Attr{intAttr("transA", transX), intAttr("transB", transY), floatAttr("alpha", 1)}
	}
	return l.place(of, op, domain, []*Value{x, y}, attrs, z)[0]
}

// split cuts v along an axis, in the place of a node.
func (l *linear) split(of *Node, v *Value, axis int, sizes []int) []*Value {
	b := &Builder{graph: l.g, scope: of.Scope, backward: of.Backward}
	at := len(l.g.Nodes)
	parts := b.Split(v, axis, sizes...)
	l.before[of] = append(l.before[of], l.g.Nodes[at:]...)
	l.g.Nodes = l.g.Nodes[:at]
	return parts
}

// taken tells whether elementwise nodes as large as v are all that reads it, some
// of them in the same pass as n.
func (l *linear) taken(v *Value, n *Node) bool {
	here := false
	for _, r := range l.readers[v] {
		if r == nil || !elementwise(r) || !sameShape(r.Outputs[0].Shape, v.Shape) {
			return false
		}
		here = here || r.Backward == n.Backward
	}
	return here
}

func (l *linear) forward(n *Node) {
	if n.Int("transB", 0) != 1 || n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 || n.Inputs[0].Rank() != 2 {
		return
	}
	x, w, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	var bias *Value
	if len(n.Inputs) == 3 {
		bias = n.Inputs[2]
	}
	layer := func(of *Node, w, bias, y *Value) {
		switch {
		case bias == nil:
			l.product(of, x, w, 0, 1, y)
		case l.taken(y, n):
			m := l.product(of, x, w, 0, 1, &Value{DType: y.DType, Shape: y.Shape})
			l.place(of, "Add", "", []*Value{m, bias}, nil, y)
		default:
			l.place(of, "Gemm", "", []*Value{x, w, bias}, n.Attrs, y)
		}
	}
	readers := l.readers[y]
	if len(readers) != 1 || readers[0] == nil || readers[0].Op != "Split" || !pays(x.Dim(0), w.Dim(1)) {
		if bias != nil && l.taken(y, n) {
			layer(n, w, bias, y)
			l.gone[n] = true
		}
		return
	}
	cut := readers[0]
	sizes, ok := cut.Inputs[1].Ints()
	if !ok || cut.Int("axis", 0) != 1 {
		return
	}
	weights := l.split(n, w, 0, sizes)
	var biases []*Value
	if bias != nil {
		biases = l.split(n, bias, 0, sizes)
	}
	for i, part := range slices.Clone(cut.Outputs) {
		var b *Value
		if bias != nil {
			b = biases[i]
		}
		layer(n, weights[i], b, part)
	}
	l.gone[n], l.gone[cut] = true, true
}

// pays tells whether copies of a weight with columns inputs are smaller than those
// of a result with rows: they move as many bytes at one row a column.
func pays(rows, columns int) bool { return rows >= 2*columns }

// backward: for dz = (dz₁ … dzₖ), side by side, dx = Σ dzᵢ·wᵢ, and dw and dc are
// their parts' below one another.
func (l *linear) backward(n *Node) {
	dz := n.Outputs[0]
	if !n.Backward || dz.Rank() != 2 || n.Int("axis", 0) != 1 || len(l.readers[dz]) == 0 {
		return
	}
	var sizes []int
	for _, part := range n.Inputs {
		sizes = append(sizes, part.Dim(1))
	}
	for _, r := range l.readers[dz] {
		if r == nil || r.Inputs[0] != dz || len(r.Inputs) == 2 && (r.Inputs[1] == dz || r.Inputs[1].Rank() != 2) {
			return
		}
		y := r.Outputs[0]
		transposed := r.Op == "FusedMatMul" && r.Int("transA", 0) == 1 && r.Int("transB", 0) == 0 && r.Float("alpha", 1) == 1
		if r.Op != "MatMul" && r.Op != "ConvBiasGrad" && !transposed || r.Op != "ConvBiasGrad" && !pays(dz.Dim(0), y.Dim(1)) {
			return
		}
	}
	for _, r := range l.readers[dz] {
		y := r.Outputs[0]
		var parts []*Value
		switch r.Op {
		case "MatMul":
			weights := l.split(r, r.Inputs[1], 0, sizes)
			sum := l.product(r, n.Inputs[0], weights[0], 0, 0, &Value{DType: y.DType, Shape: y.Shape})
			for i := 1; i < len(sizes); i++ {
				next := l.product(r, n.Inputs[i], weights[i], 0, 0, &Value{DType: y.DType, Shape: y.Shape})
				z := y
				if i < len(sizes)-1 {
					z = &Value{DType: y.DType, Shape: y.Shape}
				}
				sum = l.place(r, "Add", "", []*Value{sum, next}, nil, z)[0]
			}
		case "ConvBiasGrad":
			for i, size := range sizes {
				parts = append(parts, l.place(r, r.Op, r.Domain, n.Inputs[i:i+1], nil, &Value{DType: y.DType, Shape: []int{size}})...)
			}
		default:
			for i, size := range sizes {
				parts = append(parts, l.product(r, n.Inputs[i], r.Inputs[1], 1, 0, &Value{DType: y.DType, Shape: []int{size, y.Dim(1)}}))
			}
		}
		if parts != nil {
			l.place(r, "Concat", "", parts, []Attr{intAttr("axis", 0)}, y)
		}
		l.gone[r] = true
	}
	l.gone[n] = true
}
