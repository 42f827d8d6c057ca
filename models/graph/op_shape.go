package graph

import "slices"

// Operators that move elements and compute nothing.

// Reshape gives x another shape with the same number of elements (Reshape,
// since opset 14). One dimension may be -1.
func (b *Builder) Reshape(x *Value, shape ...int) *Value {
	shape = slices.Clone(shape)
	if i := slices.Index(shape, -1); i >= 0 {
		shape[i] = 1
		if rest := numel(shape); rest > 0 {
			shape[i] = x.Numel() / rest
		}
	}
	if numel(shape) != x.Numel() || slices.ContainsFunc(shape, func(d int) bool { return d < 1 }) {
		b.fail("Reshape", "%v has %d elements, %v has %d", x.Shape, x.Numel(), shape, numel(shape))
	}
	if sameShape(shape, x.Shape) {
		return x
	}
	return b.one("Reshape", []*Value{x, b.Ints(shape...)}, nil, x.DType, shape)
}

// Transpose permutes dimensions: dimension i of the result is dimension
// perm[i] of x (Transpose, since opset 13).
func (b *Builder) Transpose(x *Value, perm ...int) *Value {
	shape := make([]int, len(perm))
	for i := range max(len(perm), x.Rank()) {
		if len(perm) != x.Rank() || !slices.Contains(perm, i) {
			b.fail("Transpose", "perm %v of a value with %d dimensions", perm, x.Rank())
		}
	}
	for i, p := range perm {
		shape[i] = x.Shape[p]
	}
	return b.one("Transpose", []*Value{x}, []Attr{intsAttr("perm", perm)}, x.DType, shape)
}

// Concat joins values along an axis (Concat, since opset 13).
func (b *Builder) Concat(axis int, xs ...*Value) *Value {
	if len(xs) == 1 {
		return xs[0]
	}
	axis = b.axis("Concat", axis, xs[0].Rank())
	shape := slices.Clone(xs[0].Shape)
	for _, x := range xs[1:] {
		if x.DType != xs[0].DType || x.Rank() != len(shape) || !sameShape(without(x.Shape, axis), without(shape, axis)) {
			b.fail("Concat", "%v and %v along axis %d", xs[0], x, axis)
		}
		shape[axis] += x.Shape[axis]
	}
	return b.one("Concat", slices.Clone(xs), []Attr{intAttr("axis", axis)}, xs[0].DType, shape)
}

// Slice takes elements starts[i], starts[i]+steps[i], … before ends[i] along
// axes[i] (Slice, since opset 13). Bounds are within the shape; steps are at
// least 1.
func (b *Builder) Slice(x *Value, axes, starts, ends, steps []int) *Value {
	if n := len(axes); len(starts) != n || len(ends) != n || len(steps) != n {
		b.fail("Slice", "starts %v, ends %v and steps %v for axes %v", starts, ends, steps, axes)
	}
	shape := slices.Clone(x.Shape)
	for i, a := range axes {
		a = b.axis("Slice", a, x.Rank())
		if starts[i] < 0 || ends[i] > x.Shape[a] || starts[i] >= ends[i] || steps[i] < 1 {
			b.fail("Slice", "%d:%d:%d of axis %d with %d elements", starts[i], ends[i], steps[i], a, x.Shape[a])
		}
		shape[a] = (ends[i] - starts[i] + steps[i] - 1) / steps[i]
	}
	if sameShape(shape, x.Shape) {
		return x
	}
	return b.one("Slice", []*Value{x, b.Ints(starts...), b.Ints(ends...), b.Ints(axes...), b.Ints(steps...)}, nil, x.DType, shape)
}

// SliceAxis is x[start:end] along one axis.
func (b *Builder) SliceAxis(x *Value, axis, start, end int) *Value {
	return b.Slice(x, []int{axis}, []int{start}, []int{end}, []int{1})
}

// Split cuts x along an axis into parts of the given sizes (Split, since
// opset 18).
func (b *Builder) Split(x *Value, axis int, sizes ...int) []*Value {
	axis = b.axis("Split", axis, x.Rank())
	total := 0
	var outs []out
	for _, s := range sizes {
		shape := slices.Clone(x.Shape)
		shape[axis] = s
		outs = append(outs, out{x.DType, shape})
		total += s
	}
	if total != x.Shape[axis] || slices.ContainsFunc(sizes, func(s int) bool { return s < 1 }) {
		b.fail("Split", "sizes %v of axis %d with %d elements", sizes, axis, x.Shape[axis])
	}
	return b.node("Split", []*Value{x, b.Ints(sizes...)}, []Attr{intAttr("axis", axis)}, outs...).Outputs
}

// Expand broadcasts x to a shape (Expand, since opset 13).
func (b *Builder) Expand(x *Value, shape ...int) *Value {
	got, ok := broadcastShapes(x.Shape, shape)
	if !ok || !sameShape(got, shape) {
		b.fail("Expand", "%v does not broadcast to %v", x.Shape, shape)
	}
	if sameShape(x.Shape, shape) {
		return x
	}
	return b.one("Expand", []*Value{x, b.Ints(shape...)}, nil, x.DType, shape)
}

// zeros has the type and shape of v.
func (b *Builder) zeros(v *Value) *Value { return b.Expand(b.Cast(b.Scalar(0), v.DType), v.Shape...) }

// Pad surrounds x with zeros: pads holds the count before each dimension, then
// the count after each (Pad with mode constant, since opset 13).
func (b *Builder) Pad(x *Value, pads ...int) *Value {
	rank := x.Rank()
	if len(pads) != 2*rank {
		b.fail("Pad", "%d pads for %d dimensions, want %d", len(pads), rank, 2*rank)
	}
	shape := slices.Clone(x.Shape)
	for i := range shape {
		if pads[i] < 0 || pads[i+rank] < 0 {
			b.fail("Pad", "pads %v: want no negative one", pads)
		}
		shape[i] += pads[i] + pads[i+rank]
	}
	if sameShape(shape, x.Shape) {
		return x
	}
	return b.one("Pad", []*Value{x, b.Ints(pads...)}, nil, x.DType, shape)
}

// Identity is x under another name (Identity, since opset 14).
func (b *Builder) Identity(x *Value) *Value {
	return b.one("Identity", []*Value{x}, nil, x.DType, x.Shape)
}

func reshapeGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Reshape(dy[0], n.Inputs[0].Shape...), nil}
}

// The gradient is transposed by the inverse permutation.
func transposeGrad(b *Builder, n *Node, dy []*Value) []*Value {
	perm := n.IntList("perm")
	inverse := make([]int, len(perm))
	for i, p := range perm {
		inverse[p] = i
	}
	return []*Value{b.Transpose(dy[0], inverse...)}
}

func concatGrad(b *Builder, n *Node, dy []*Value) []*Value {
	axis := n.Int("axis", 0)
	sizes := make([]int, len(n.Inputs))
	for i, x := range n.Inputs {
		sizes[i] = x.Shape[axis]
	}
	return slices.Clone(b.Split(dy[0], axis, sizes...))
}

// The parts of a Split that nothing used have a gradient of zeros.
func splitGrad(b *Builder, n *Node, dy []*Value) []*Value {
	parts := make([]*Value, len(dy))
	for i, d := range dy {
		if parts[i] = d; d == nil {
			parts[i] = b.zeros(n.Outputs[i])
		}
	}
	return []*Value{b.Concat(n.Int("axis", 0), parts...), nil}
}

// dy goes back to where it was taken from, zeros elsewhere. A step above 1
// first spreads dy out with step−1 zeros after each element.
func sliceGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, d := n.Inputs[0], dy[0]
	starts, _ := n.Inputs[1].Ints()
	axes, _ := n.Inputs[3].Ints()
	steps, _ := n.Inputs[4].Ints()
	pads := make([]int, 2*x.Rank())
	for i, a := range axes {
		a = b.axis("Slice", a, x.Rank())
		d = b.Dilate(d, a, steps[i])
		pads[a] = starts[i]
		if over := starts[i] + d.Shape[a] - x.Shape[a]; over > 0 {
			d = b.SliceAxis(d, a, 0, d.Shape[a]-over)
		}
		pads[a+x.Rank()] = x.Shape[a] - starts[i] - d.Shape[a]
	}
	return []*Value{b.Pad(d, pads...), nil, nil, nil, nil}
}

// Dilate puts step−1 zeros after each element along an axis.
func (b *Builder) Dilate(x *Value, axis, step int) *Value {
	if step == 1 {
		return x
	}
	wide := slices.Insert(slices.Clone(x.Shape), axis+1, 1)
	pads := make([]int, 2*len(wide))
	pads[len(wide)+axis+1] = step - 1
	shape := slices.Clone(x.Shape)
	shape[axis] *= step
	return b.Reshape(b.Pad(b.Reshape(x, wide...), pads...), shape...)
}

// The walker's SumTo is the gradient of broadcasting.
func expandGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.SumTo(dy[0], n.Inputs[0].Shape), nil}
}

func padGrad(b *Builder, n *Node, dy []*Value) []*Value {
	pads, _ := n.Inputs[1].Ints()
	x := n.Inputs[0]
	var axes, starts, ends, steps []int
	for i, d := range x.Shape {
		if pads[i] != 0 || pads[i+x.Rank()] != 0 {
			axes, starts, ends, steps = append(axes, i), append(starts, pads[i]), append(ends, pads[i]+d), append(steps, 1)
		}
	}
	return []*Value{b.Slice(dy[0], axes, starts, ends, steps), nil}
}

func identityGrad(_ *Builder, _ *Node, dy []*Value) []*Value { return []*Value{dy[0]} }

// without is a copy of shape that lacks one axis.
func without(shape []int, axis int) []int {
	return slices.Delete(slices.Clone(shape), axis, axis+1)
}
