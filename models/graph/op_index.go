package graph

import "slices"

// Gather takes the slices of x along an axis that the indices name (Gather,
// since opset 13): the axis is replaced by the indices' dimensions.
func (b *Builder) Gather(x, indices *Value, axis int) *Value {
	axis = b.axis("Gather", axis, x.Rank())
	if indices.DType != Int64 {
		b.fail("Gather", "indices of type %v, want int64", indices.DType)
	}
	shape := slices.Concat(x.Shape[:axis], indices.Shape, x.Shape[axis+1:])
	return b.one("Gather", []*Value{x, indices}, []Attr{intAttr("axis", axis)}, x.DType, shape)
}

// y = x[indices]: dx[v] = Σ over the indices that are v. As a product with a
// one-hot matrix, which adds in a fixed order on every device, where a scatter
// with atomic additions does not.
func gatherGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, indices, axis := n.Inputs[0], n.Inputs[1], n.Int("axis", 0)
	rows, count := x.Dim(axis), indices.Numel()
	ids := make([]int, rows)
	for i := range ids {
		ids[i] = i
	}
	hot := b.Cast(b.Equal(b.Reshape(indices, count, 1), b.Reshape(b.Ints(ids...), 1, rows)), x.DType) // [count, rows]
	if axis == 0 {
		dx := b.FusedMatMul(hot, b.Reshape(dy[0], count, -1), true, false, 1)
		return []*Value{b.Reshape(dx, x.Shape...), nil}
	}
	before, after := numel(x.Shape[:axis]), numel(x.Shape[axis+1:])
	dx := b.FusedMatMul(hot, b.Reshape(dy[0], before, count, after), true, false, 1) // [before, rows, after]
	return []*Value{b.Reshape(dx, x.Shape...), nil}
}
