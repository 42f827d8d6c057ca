package graph

import "math"

// FusedGELU is GELU as one operator (Gelu, com.microsoft): one pass over x, of
// which nothing but x is kept for the backward.
func (b *Builder) FusedGELU(x *Value) *Value {
	y := b.unary("Gelu", x)
	y.Node.Domain = "com.microsoft"
	return y
}

// y = x·Φ(x): dx = dy·(Φ(x) + x·φ(x)), Φ = (1 + erf(x/√2))/2, φ = e^(−x²/2)/√(2π)
func geluGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, half := n.Inputs[0], b.Scalar(0.5)
	cumulative := b.Add(b.Mul(b.Erf(b.Mul(x, b.Scalar(math.Sqrt2/2))), half), half)
	bell := b.Exp(b.Mul(b.Mul(x, x), b.Scalar(-0.5)))
	density := b.Mul(b.Mul(x, bell), b.Scalar(1/math.Sqrt(2*math.Pi)))
	return []*Value{b.Mul(dy[0], b.Add(cumulative, density))}
}
