package graph

import "slices"

// numel is the number of elements of a shape; 1 for a scalar.
func numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Numel is the number of elements of v.
func (v *Value) Numel() int { return numel(v.Shape) }

// Dim is dimension i of v; a negative i counts from the end.
func (v *Value) Dim(i int) int {
	if i < 0 {
		i += len(v.Shape)
	}
	return v.Shape[i]
}

// Rank is the number of dimensions of v.
func (v *Value) Rank() int { return len(v.Shape) }

// broadcastShapes follows ONNX's (NumPy's) multidirectional broadcasting.
func broadcastShapes(x, y []int) ([]int, bool) {
	rank := max(len(x), len(y))
	shape := make([]int, rank)
	for i := range shape {
		dx, dy := 1, 1
		if j := i - rank + len(x); j >= 0 {
			dx = x[j]
		}
		if j := i - rank + len(y); j >= 0 {
			dy = y[j]
		}
		if dx != dy && dx != 1 && dy != 1 {
			return nil, false
		}
		shape[i] = max(dx, dy)
	}
	return shape, true
}

// axis makes a possibly negative axis non-negative and checks it.
func (b *Builder) axis(op string, axis, rank int) int {
	a := axis
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		b.fail(op, "axis %d of a value with %d dimensions", axis, rank)
	}
	return a
}

// AssertShape stops the build unless v has exactly this shape: an executable
// shape comment. A dimension of -1 accepts anything.
func (b *Builder) AssertShape(v *Value, shape ...int) {
	ok := len(shape) == len(v.Shape)
	for i := 0; ok && i < len(shape); i++ {
		ok = shape[i] == -1 || shape[i] == v.Shape[i]
	}
	if !ok {
		b.fail(v.Node.Op, "shape %v, want %v", v.Shape, shape)
	}
}

func sameShape(x, y []int) bool { return slices.Equal(x, y) }
