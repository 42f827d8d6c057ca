package graph

import (
	"math"
	"slices"
)

// Recognize runs the passes below, each of which puts one operator for a pattern
// that exporters scatter over several nodes, where its derivative is cheaper or
// keeps less: the results are the same up to rounding. found counts the matches
// by the pattern's name.
func Recognize(g *Graph) (result *Graph, found map[string]int, err error) {
	found = map[string]int{}
	for _, p := range patterns {
		hits := p.find(&matcher{g: g, uses: g.uses()})
		if len(hits) == 0 {
			continue
		}
		found[p.name] = len(hits)
		if g, err = replace(g, hits); err != nil {
			return nil, nil, err
		}
	}
	return g, found, nil
}

// patterns in the order in which they run.
var patterns = []struct {
	name string
	find func(m *matcher) map[*Node]replacement
}{
	{"times one", matchUnit},
	{"LayerNormalization in pieces", matchLayerNorm},
	{"group norm from InstanceNormalization", matchGroupNorm},
	{"GELU from Erf", matchGELU},
	{"SiLU from Sigmoid", matchSiLU},
	{"convolution of a doubled image", matchUpsample},
	{"product of scaled operands", matchProduct},
}

// replacement makes the one output of a pattern's last node. twin gives the new
// values of those that the pattern's nodes read.
type replacement func(b *Builder, twin map[*Value]*Value) *Value

// replace rebuilds g with the last nodes of patterns replaced; what only they
// needed is dropped.
func replace(g *Graph, hits map[*Node]replacement) (*Graph, error) {
	twin := map[*Value]*Value{}
	full, err := rebuild(g, func(b *Builder, n *Node, inputs []*Value) []*Value {
		for i, in := range n.Inputs {
			if in != nil {
				twin[in] = inputs[i]
			}
		}
		if f := hits[n]; f != nil {
			return []*Value{f(b, twin)}
		}
		return b.copyNode(n, inputs)
	})
	if err != nil {
		return nil, err
	}
	return rebuild(full, (*Builder).copyNode)
}

// uses counts the readers of each value, outputs of the graph among them.
func (g *Graph) uses() map[*Value]int {
	uses := map[*Value]int{}
	for _, n := range g.Live() {
		for _, in := range n.Inputs {
			if in != nil {
				uses[in]++
			}
		}
	}
	for _, o := range g.Outputs {
		uses[o.Value]++
	}
	return uses
}

// matcher looks at a graph in which patterns are sought.
type matcher struct {
	g    *Graph
	uses map[*Value]int
}

// is tells whether v is the first output of an operator, and read once.
func (m *matcher) is(v *Value, op string) bool {
	return v != nil && v.Node.Op == op && v.Index == 0 && m.uses[v] == 1
}

// equals tells whether v is a constant whose elements all are x, to 1e-6 of it.
func equals(v *Value, x float64) bool {
	list, ok := v.Float32s()
	return ok && !slices.ContainsFunc(list, func(e float32) bool { return math.Abs(float64(e)-x) > 1e-6*max(1, math.Abs(x)) })
}

// number is a constant of a float type and of one element.
func number(v *Value) (float64, bool) {
	list, ok := v.Floats()
	if !ok || len(list) != 1 {
		return 0, false
	}
	return float64(list[0]), true
}

// pairs gives both orders of a binary node's operands.
func pairs(n *Node) [2][2]*Value {
	return [2][2]*Value{{n.Inputs[0], n.Inputs[1]}, {n.Inputs[1], n.Inputs[0]}}
}

// affine reads v = (core·scale) + shift, where scale and shift broadcast along
// one axis of core: they have as many elements as that dimension, in place.
func (m *matcher) affine(n *Node, axis int) (core, scale, shift *Value, ok bool) {
	if n.Op != "Add" {
		return nil, nil, nil, false
	}
	for _, sum := range pairs(n) {
		if !m.is(sum[0], "Mul") {
			continue
		}
		for _, product := range pairs(sum[0].Node) {
			if core := product[0]; alongAxis(core.Shape, product[1].Shape, axis) && alongAxis(core.Shape, sum[1].Shape, axis) {
				return core, product[1], sum[1], true
			}
		}
	}
	return nil, nil, nil, false
}

func alongAxis(x, w []int, axis int) bool {
	if axis < 0 {
		axis += len(x)
	}
	if len(w) > len(x) || axis < 0 || axis >= len(x) || numel(w) != x[axis] {
		return false
	}
	at := axis - (len(x) - len(w))
	return at >= 0 && w[at] == x[axis]
}

// x·1 and x/1, which exporters write for scale factors that a model does not use.
func matchUnit(m *matcher) map[*Node]replacement {
	hits := map[*Node]replacement{}
	for _, n := range m.g.Live() {
		if n.Op != "Mul" && n.Op != "Div" {
			continue
		}
		for i, one := range n.Inputs {
			x := n.Inputs[1-i]
			if (i == 1 || n.Op == "Mul") && equals(one, 1) && sameShape(x.Shape, n.Outputs[0].Shape) && x.Node.Op != "Constant" {
				hits[n] = func(b *Builder, twin map[*Value]*Value) *Value { return twin[x] }
			}
		}
	}
	return hits
}

// Reshape to [N, G, …], normalise each group, Reshape back, scale and shift by
// channel: PyTorch's group_norm, for which ONNX had no operator before opset 18.
func matchGroupNorm(m *matcher) map[*Node]replacement {
	hits := map[*Node]replacement{}
	for _, n := range m.g.Live() {
		core, scale, shift, ok := m.affine(n, 1)
		if !ok || !m.is(core, "Reshape") || !m.is(core.Node.Inputs[0], "GroupNormalization") {
			continue
		}
		norm := core.Node.Inputs[0].Node
		groups := norm.Inputs[0].Dim(1)
		if norm.Int("num_groups", 0) != groups || !equals(norm.Inputs[1], 1) || !equals(norm.Inputs[2], 0) || !m.is(norm.Inputs[0], "Reshape") {
			continue
		}
		x := norm.Inputs[0].Node.Inputs[0]
		if !sameShape(x.Shape, core.Shape) || x.Rank() < 3 || x.Dim(0) != norm.Inputs[0].Dim(0) || x.Dim(1)%groups != 0 {
			continue
		}
		hits[n] = func(b *Builder, twin map[*Value]*Value) *Value {
			c := x.Dim(1)
			return b.GroupNormalization(twin[x], b.Reshape(twin[scale], c), b.Reshape(twin[shift], c), groups, norm.Float("epsilon", 1e-5))
		}
	}
	return hits
}

// d = x − mean(x), y = d/√(mean(d²) + ε)·scale + shift over the last dimension.
func matchLayerNorm(m *matcher) map[*Node]replacement {
	hits := map[*Node]replacement{}
	for _, n := range m.g.Live() {
		core, scale, shift, ok := m.affine(n, -1)
		if !ok || !m.is(core, "Div") || !m.is(core.Node.Inputs[1], "Sqrt") {
			continue
		}
		d, sum := core.Node.Inputs[0], core.Node.Inputs[1].Node.Inputs[0]
		if d.Node.Op != "Sub" || m.uses[d] != 3 || !m.is(sum, "Add") {
			continue
		}
		epsilon, known := number(sum.Node.Inputs[1])
		variance := sum.Node.Inputs[0]
		if !known || !m.meanOfLast(variance) {
			continue
		}
		square := variance.Node.Inputs[0]
		x, mean := d.Node.Inputs[0], d.Node.Inputs[1]
		if !m.is(square, "Mul") || square.Node.Inputs[0] != d || square.Node.Inputs[1] != d || !m.meanOfLast(mean) || mean.Node.Inputs[0] != x {
			continue
		}
		hits[n] = func(b *Builder, twin map[*Value]*Value) *Value {
			width := x.Dim(-1)
			y, _, _ := b.LayerNormalization(twin[x], b.Reshape(twin[scale], width), b.Reshape(twin[shift], width), epsilon)
			return y
		}
	}
	return hits
}

// meanOfLast tells whether v averages over the last dimension, which it keeps.
func (m *matcher) meanOfLast(v *Value) bool {
	if !m.is(v, "ReduceMean") || v.Node.Int("keepdims", 1) != 1 {
		return false
	}
	axes, ok := v.Node.Inputs[1].Ints()
	return ok && len(axes) == 1 && axes[0] == v.Rank()-1
}

// x·½·(1 + erf(x/√2)), the three factors multiplied in any order.
func matchGELU(m *matcher) map[*Node]replacement {
	hits := map[*Node]replacement{}
	for _, n := range m.g.Live() {
		if n.Op != "Mul" {
			continue
		}
		for _, outer := range pairs(n) {
			if !m.is(outer[0], "Mul") {
				continue
			}
			if x := m.gelu(outer[0].Node.Inputs[0], outer[0].Node.Inputs[1], outer[1]); x != nil {
				hits[n] = func(b *Builder, twin map[*Value]*Value) *Value { return b.FusedGELU(twin[x]) }
			}
		}
	}
	return hits
}

// gelu finds the x of three factors, nil where they are no GELU.
func (m *matcher) gelu(factors ...*Value) *Value {
	half := slices.IndexFunc(factors, func(v *Value) bool { return equals(v, 0.5) && v.Numel() == 1 })
	if half < 0 {
		return nil
	}
	factors = slices.Delete(factors, half, half+1)
	for i, sum := range factors {
		x := factors[1-i]
		if !m.is(sum, "Add") {
			continue
		}
		for _, terms := range pairs(sum.Node) {
			if !equals(terms[1], 1) || !m.is(terms[0], "Erf") {
				continue
			}
			inner := terms[0].Node.Inputs[0]
			if m.is(inner, "Div") && inner.Node.Inputs[0] == x && equals(inner.Node.Inputs[1], math.Sqrt2) {
				return x
			}
			if m.is(inner, "Mul") && slices.Contains(inner.Node.Inputs, x) && (equals(inner.Node.Inputs[0], math.Sqrt2/2) || equals(inner.Node.Inputs[1], math.Sqrt2/2)) {
				return x
			}
		}
	}
	return nil
}

// x·σ(x), and x·σ(αx): QuickGelu.
func matchSiLU(m *matcher) map[*Node]replacement {
	hits := map[*Node]replacement{}
	for _, n := range m.g.Live() {
		if n.Op != "Mul" {
			continue
		}
		for _, factors := range pairs(n) {
			x, gate := factors[0], factors[1]
			if !m.is(gate, "Sigmoid") {
				continue
			}
			alpha, inner := 1.0, gate.Node.Inputs[0]
			if inner != x && m.is(inner, "Mul") {
				for _, scaled := range pairs(inner.Node) {
					if a, ok := number(scaled[1]); ok && scaled[0] == x {
						alpha, inner = a, x
						break
					}
				}
			}
			if inner != x {
				continue
			}
			hits[n] = func(b *Builder, twin map[*Value]*Value) *Value {
				y := b.SiLU(twin[x])
				y.Node.Attrs = []Attr{floatAttr("alpha", alpha)}
				return y
			}
			break
		}
	}
	return hits
}

// A 3×3 convolution of an image that was doubled by repetition.
func matchUpsample(m *matcher) map[*Node]replacement {
	hits := map[*Node]replacement{}
	for _, n := range m.g.Live() {
		if n.Op != "Conv" || !m.is(n.Inputs[0], "Resize") || convAttrs(n) != (ConvAttrs{Stride: 1, Pads: [4]int{1, 1, 1, 1}}) {
			continue
		}
		x, w := n.Inputs[0].Node.Inputs[0], n.Inputs[1]
		if w.Dim(2) != 3 || w.Dim(3) != 3 {
			continue
		}
		hits[n] = func(b *Builder, twin map[*Value]*Value) *Value {
			y := b.Upsample2xConv(twin[x], twin[w])
			if len(n.Inputs) == 3 {
				y = b.Add(y, b.Reshape(twin[n.Inputs[2]], w.Dim(0), 1, 1))
			}
			return y
		}
	}
	return hits
}

// A product of matrices that were scaled by a number, as attention's queries and
// keys are, or transposed: FusedMatMul does both on the way, and its derivative
// has no passes over the operands for them.
func matchProduct(m *matcher) map[*Node]replacement {
	hits := map[*Node]replacement{}
	for _, n := range m.g.Live() {
		if n.Op != "MatMul" {
			continue
		}
		x, tx, alpha := m.peel(n.Inputs[0], 1)
		y, ty, alpha := m.peel(n.Inputs[1], alpha)
		if x != n.Inputs[0] || y != n.Inputs[1] {
			hits[n] = func(b *Builder, twin map[*Value]*Value) *Value {
				return b.FusedMatMul(twin[x], twin[y], tx, ty, alpha)
			}
		}
	}
	return hits
}

// peel takes factors and exchanges of the last two dimensions off an operand.
func (m *matcher) peel(v *Value, alpha float64) (operand *Value, transposed bool, factor float64) {
	for {
		switch {
		case m.is(v, "Mul") || m.is(v, "Div"):
			c, ok := number(v.Node.Inputs[1])
			x := v.Node.Inputs[0]
			if other, isFirst := number(x); !ok && isFirst && v.Node.Op == "Mul" {
				c, ok, x = other, true, v.Node.Inputs[1]
			}
			if !ok || c == 0 || !sameShape(x.Shape, v.Shape) {
				return v, transposed, alpha
			}
			if v.Node.Op == "Div" {
				c = 1 / c
			}
			v, alpha = x, alpha*c
		case m.is(v, "Transpose") && swapsLast(v.Node.IntList("perm")):
			v, transposed = v.Node.Inputs[0], !transposed
		default:
			return v, transposed, alpha
		}
	}
}

func swapsLast(perm []int) bool {
	for i, p := range perm {
		want := i
		if i >= len(perm)-2 {
			want = 2*len(perm) - 3 - i
		}
		if p != want {
			return false
		}
	}
	return len(perm) >= 2
}
