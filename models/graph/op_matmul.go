package graph

import "slices"

// MatMul is the matrix product over the last two dimensions, the others
// broadcast (MatMul, since opset 13): [..., M, K] · [..., K, N] = [..., M, N].
func (b *Builder) MatMul(x, y *Value) *Value { return b.FusedMatMul(x, y, false, false, 1) }

// FusedMatMul is alpha·x·y with either operand's last two dimensions
// transposed first (com.microsoft): no transposed copy is made. Without a
// transposition and with alpha 1 it is a plain MatMul.
func (b *Builder) FusedMatMul(x, y *Value, transX, transY bool, alpha float64) *Value {
	op := "MatMul"
	var attrs []Attr
	if transX || transY || alpha != 1 {
		op = "FusedMatMul"
		attrs = []Attr{intAttr("transA", bit(transX)), intAttr("transB", bit(transY)), floatAttr("alpha", alpha)}
	}
	if x.Rank() < 2 || y.Rank() < 2 || x.DType != y.DType {
		b.fail(op, "%v%v by %v%v: want two matrices of one type", x.DType, x.Shape, y.DType, y.Shape)
	}
	m, k := matrix(x, transX)
	k2, n := matrix(y, transY)
	batch, ok := broadcastShapes(x.Shape[:x.Rank()-2], y.Shape[:y.Rank()-2])
	if k != k2 || !ok {
		b.fail(op, "shapes %v (transposed %v) and %v (transposed %v) do not fit", x.Shape, transX, y.Shape, transY)
	}
	v := b.one(op, []*Value{x, y}, attrs, x.DType, append(slices.Clone(batch), m, n))
	if attrs != nil {
		v.Node.Domain = "com.microsoft"
	}
	return v
}

// Gemm is x·wᵀ + bias for x [N, K], w [M, K], bias [M] or nil: torch's Linear
// (Gemm with transB, since opset 13).
func (b *Builder) Gemm(x, w, bias *Value) *Value {
	if x.Rank() != 2 || w.Rank() != 2 || x.Dim(1) != w.Dim(1) || (bias != nil && !sameShape(bias.Shape, w.Shape[:1])) {
		b.fail("Gemm", "x %v, w %v: want [N, K] and [M, K], bias [M]", x.Shape, w.Shape)
	}
	if x.DType != w.DType || bias != nil && bias.DType != w.DType {
		b.fail("Gemm", "x %v, w %v: want x, w and bias of one type", x, w)
	}
	inputs := []*Value{x, w}
	if bias != nil {
		inputs = append(inputs, bias)
	}
	return b.one("Gemm", inputs, []Attr{intAttr("transB", 1)}, x.DType, []int{x.Dim(0), w.Dim(0)})
}

// Z = alpha·X·Y:  dX = alpha·dZ·Yᵀ,  dY = alpha·Xᵀ·dZ, and with a transposed
// operand the transposed gradient. A weight shared by a batch (y of rank 2, x
// of higher rank) gets its gradient as one product with the batch folded in.
func matmulGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, y, dz := n.Inputs[0], n.Inputs[1], dy[0]
	tx, ty := n.Int("transA", 0) == 1, n.Int("transB", 0) == 1
	alpha := n.Float("alpha", 1)
	var dx, dw *Value
	if tx {
		dx = b.FusedMatMul(y, dz, ty, true, alpha)
	} else {
		dx = b.FusedMatMul(dz, y, false, !ty, alpha)
	}
	fx, fz := x, dz
	if y.Rank() == 2 && x.Rank() > 2 && !tx {
		fx = b.Reshape(x, numel(x.Shape[:x.Rank()-1]), x.Dim(-1))
		fz = b.Reshape(dz, numel(dz.Shape[:dz.Rank()-1]), dz.Dim(-1))
	}
	if ty {
		dw = b.FusedMatMul(fz, fx, true, tx, alpha)
	} else {
		dw = b.FusedMatMul(fx, fz, !tx, false, alpha)
	}
	return []*Value{dx, dw}
}

// Z = X·Wᵀ + c:  dX = dZ·W,  dW = dZᵀ·X,  dc = Σ_n dZ
func gemmGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, w, dz := n.Inputs[0], n.Inputs[1], dy[0]
	grads := []*Value{b.MatMul(dz, w), b.FusedMatMul(dz, x, true, false, 1)}
	if len(n.Inputs) == 3 {
		grads = append(grads, b.composite("ConvBiasGrad", []*Value{dz}, nil, out{w.DType, w.Shape[:1]})[0])
	}
	return grads
}

// matrix gives the last two dimensions of v, swapped if transposed.
func matrix(v *Value, transposed bool) (rows, cols int) {
	if transposed {
		return v.Dim(-1), v.Dim(-2)
	}
	return v.Dim(-2), v.Dim(-1)
}

func bit(x bool) int {
	if x {
		return 1
	}
	return 0
}
