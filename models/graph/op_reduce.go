package graph

import "slices"

// ReduceSum adds over axes (ReduceSum, since opset 13). Without axes it adds
// over all of them.
func (b *Builder) ReduceSum(x *Value, keepDims bool, axes ...int) *Value {
	return b.reduce("ReduceSum", x, keepDims, axes)
}

// ReduceMean averages over axes (ReduceMean, since opset 18).
func (b *Builder) ReduceMean(x *Value, keepDims bool, axes ...int) *Value {
	return b.reduce("ReduceMean", x, keepDims, axes)
}

// ReduceSumSquare adds squares over axes (ReduceSumSquare, since opset 18).
func (b *Builder) ReduceSumSquare(x *Value, keepDims bool, axes ...int) *Value {
	return b.reduce("ReduceSumSquare", x, keepDims, axes)
}

func (b *Builder) reduce(op string, x *Value, keepDims bool, axes []int) *Value {
	reduced := slices.Clone(axes)
	if len(reduced) == 0 {
		for i := range x.Shape {
			reduced = append(reduced, i)
		}
	}
	for i, a := range reduced {
		reduced[i] = b.axis(op, a, x.Rank())
	}
	slices.Sort(reduced)
	if len(slices.Compact(slices.Clone(reduced))) != len(reduced) {
		b.fail(op, "axes %v of %v: one stands twice", axes, x.Shape)
	}
	var shape []int
	for i, d := range x.Shape {
		switch {
		case !slices.Contains(reduced, i):
			shape = append(shape, d)
		case keepDims:
			shape = append(shape, 1)
		}
	}
	return b.one(op, []*Value{x, b.Ints(reduced...)}, []Attr{intAttr("keepdims", bit(keepDims))}, x.DType, shape)
}

// SumTo adds x over the dimensions that broadcasting would have expanded from
// shape, and gives it that shape: the gradient of broadcasting. Sums run one
// axis group at a time, the innermost first, because ORT has fast paths for
// trailing and leading axes and a slow one for a mixture.
func (b *Builder) SumTo(x *Value, shape []int) *Value {
	if sameShape(x.Shape, shape) {
		return x
	}
	lead := x.Rank() - len(shape)
	end := x.Rank()
	for end > 0 {
		stop := end
		for end > 0 && (end-1 < lead || shape[end-1-lead] == 1) && x.Shape[end-1] != 1 {
			end--
		}
		if end < stop {
			var axes []int
			for a := end; a < stop; a++ {
				axes = append(axes, a)
			}
			x = b.ReduceSum(x, true, axes...)
		} else {
			end--
		}
	}
	return b.Reshape(x, shape...)
}

// keptShape is the input's shape with ones at the reduced axes.
func keptShape(n *Node) []int {
	axes, _ := n.Inputs[1].Ints()
	shape := slices.Clone(n.Inputs[0].Shape)
	for _, a := range axes {
		shape[a] = 1
	}
	return shape
}

// y = Σ x: every summand gets dy.
func reduceSumGrad(b *Builder, n *Node, dy []*Value) []*Value {
	kept := b.Reshape(dy[0], keptShape(n)...)
	return []*Value{b.Expand(kept, n.Inputs[0].Shape...), nil}
}

// y = (1/m)·Σ x: every summand gets dy/m.
func reduceMeanGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x := n.Inputs[0]
	m := float64(x.Numel()) / float64(n.Outputs[0].Numel())
	kept := b.Reshape(b.Mul(dy[0], b.Scalar(1/m)), keptShape(n)...)
	return []*Value{b.Expand(kept, x.Shape...), nil}
}

// y = Σ x²: dx = 2·x·dy
func reduceSumSquareGrad(b *Builder, n *Node, dy []*Value) []*Value {
	kept := b.Reshape(b.Mul(dy[0], b.Scalar(2)), keptShape(n)...)
	return []*Value{b.Mul(n.Inputs[0], kept), nil}
}
