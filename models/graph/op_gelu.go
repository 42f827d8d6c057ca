package graph

import "math"

// FusedGELU is GELU as one operator (Gelu, com.microsoft): one pass over x, of
// which nothing but x is kept for the backward.
func (b *Builder) FusedGELU(x *Value) *Value {
	y := b.unary("Gelu", x)
	y.Node.Domain = "com.microsoft"
	return y
}

// y = x·Φ(x): dx = dy·(Φ(x) + x·φ(x)), a composite.
func geluGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x := n.Inputs[0]
	return b.composite("GeluGrad", []*Value{dy[0], x}, nil, out{x.DType, x.Shape})
}

// lowerGeluGrad: Φ = (1 + erf(x/√2))/2, φ = e^(−x²/2)/√(2π)
func lowerGeluGrad(b *Builder, _ *Node, in []*Value) []*Value {
	dy, x, half := in[0], in[1], b.Scalar(0.5)
	cumulative := b.Add(b.Mul(b.Erf(b.Mul(x, b.Scalar(math.Sqrt2/2))), half), half)
	bell := b.Exp(b.Mul(b.Mul(x, x), b.Scalar(-0.5)))
	density := b.Mul(b.Mul(x, bell), b.Scalar(1/math.Sqrt(2*math.Pi)))
	return []*Value{b.Mul(dy, b.Add(cumulative, density))}
}
