package graph

import "slices"

// ReduceMax is the largest element over axes (ReduceMax, since opset 18). Equal
// largest elements share the gradient evenly, as in PyTorch's amax.
func (b *Builder) ReduceMax(x *Value, keepDims bool, axes ...int) *Value {
	return b.reduce("ReduceMax", x, keepDims, axes)
}

// ReduceMin is the smallest element over axes (ReduceMin, since opset 18).
func (b *Builder) ReduceMin(x *Value, keepDims bool, axes ...int) *Value {
	return b.reduce("ReduceMin", x, keepDims, axes)
}

// ReduceProd multiplies over axes (ReduceProd, since opset 18). The gradient
// divides by x, which must not be 0.
func (b *Builder) ReduceProd(x *Value, keepDims bool, axes ...int) *Value {
	return b.reduce("ReduceProd", x, keepDims, axes)
}

// ArgMax is the index of the largest element along an axis, the first of equal
// ones (ArgMax, since opset 13): int64; no gradient.
func (b *Builder) ArgMax(x *Value, axis int, keepDims bool) *Value {
	return b.argExtremum("ArgMax", x, axis, keepDims)
}

// ArgMin is the index of the smallest element along an axis (ArgMin, since
// opset 13): int64; no gradient.
func (b *Builder) ArgMin(x *Value, axis int, keepDims bool) *Value {
	return b.argExtremum("ArgMin", x, axis, keepDims)
}

func (b *Builder) argExtremum(op string, x *Value, axis int, keepDims bool) *Value {
	axis = b.axis(op, axis, x.Rank())
	shape := slices.Clone(x.Shape)
	if shape[axis] = 1; !keepDims {
		shape = without(shape, axis)
	}
	return b.one(op, []*Value{x}, []Attr{intAttr("axis", axis), intAttr("keepdims", bit(keepDims))}, Int64, shape)
}

// CumSum adds along an axis up to each element, from the end if reverse, without
// the element itself if exclusive (CumSum, since opset 14).
func (b *Builder) CumSum(x *Value, axis int, exclusive, reverse bool) *Value {
	axis = b.axis("CumSum", axis, x.Rank())
	return b.one("CumSum", []*Value{x, b.Int64s([]int{axis})},
		[]Attr{intAttr("exclusive", bit(exclusive)), intAttr("reverse", bit(reverse))}, x.DType, x.Shape)
}

// LogSoftmax is ln softmax(x) over the last dimension (LogSoftmax with axis -1,
// since opset 13).
func (b *Builder) LogSoftmax(x *Value) *Value { return b.unary("LogSoftmax", x, intAttr("axis", -1)) }

func reduceExtremumGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, kept := n.Inputs[0], keptShape(n)
	hit := b.Cast(b.Equal(x, b.Reshape(n.Outputs[0], kept...)), x.DType)
	axes, _ := n.Inputs[1].Ints()
	share := b.Div(b.Reshape(dy[0], kept...), b.ReduceSum(hit, true, axes...))
	return []*Value{b.Mul(hit, share), nil}
}

// y = Π x: dx = dy·y/x
func reduceProdGrad(b *Builder, n *Node, dy []*Value) []*Value {
	share := b.Reshape(b.Mul(dy[0], n.Outputs[0]), keptShape(n)...)
	return []*Value{b.Div(share, n.Inputs[0]), nil}
}

// An element is in the sums of those after it: a sum from the other end.
func cumSumGrad(b *Builder, n *Node, dy []*Value) []*Value {
	axis, _ := n.Inputs[1].Ints()
	return []*Value{b.CumSum(dy[0], axis[0], n.Int("exclusive", 0) == 1, n.Int("reverse", 0) == 0), nil}
}

// y = x − ln Σeˣ: dx = dy − e^y·Σ dy
func logSoftmaxGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Sub(dy[0], b.Mul(b.Exp(n.Outputs[0]), b.ReduceSum(dy[0], true, -1)))}
}
