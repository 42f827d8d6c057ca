package graph

import "math"

// Elementwise operators. Binary ones broadcast as ONNX does; their rules return
// gradients of the output's shape, and the walker sums them to the inputs'.

func (b *Builder) binary(op string, x, y *Value, result DType) *Value {
	shape, ok := broadcastShapes(x.Shape, y.Shape)
	if !ok {
		b.fail(op, "shapes %v and %v do not broadcast", x.Shape, y.Shape)
	}
	if x.DType != y.DType {
		b.fail(op, "types %v and %v differ", x.DType, y.DType)
	}
	return b.one(op, []*Value{x, y}, nil, result, shape)
}

func (b *Builder) unary(op string, x *Value, attrs ...Attr) *Value {
	if x.DType != Float32 && x.DType != Float16 {
		b.fail(op, "type %v, want a float", x.DType)
	}
	return b.one(op, []*Value{x}, attrs, x.DType, x.Shape)
}

// Add is x + y (Add, since opset 14).
func (b *Builder) Add(x, y *Value) *Value { return b.binary("Add", x, y, x.DType) }

// Sub is x − y (Sub, since opset 14).
func (b *Builder) Sub(x, y *Value) *Value { return b.binary("Sub", x, y, x.DType) }

// Mul is x·y (Mul, since opset 14).
func (b *Builder) Mul(x, y *Value) *Value { return b.binary("Mul", x, y, x.DType) }

// Div is x/y (Div, since opset 14).
func (b *Builder) Div(x, y *Value) *Value { return b.binary("Div", x, y, x.DType) }

// Pow is x^y (Pow, since opset 15). The gradient with respect to y needs x > 0.
func (b *Builder) Pow(x, y *Value) *Value { return b.binary("Pow", x, y, x.DType) }

// Equal is x = y (Equal, since opset 13); no gradient.
func (b *Builder) Equal(x, y *Value) *Value { return b.binary("Equal", x, y, Bool) }

// Greater is x > y (Greater, since opset 13); no gradient.
func (b *Builder) Greater(x, y *Value) *Value { return b.binary("Greater", x, y, Bool) }

// Max is the elementwise maximum of two values (Max, since opset 13). At a tie
// the gradient is split in halves, as PyTorch splits it.
func (b *Builder) Max(x, y *Value) *Value { return b.binary("Max", x, y, x.DType) }

// Min is the elementwise minimum of two values (Min, since opset 13).
func (b *Builder) Min(x, y *Value) *Value { return b.binary("Min", x, y, x.DType) }

// Where is x where cond holds and y elsewhere (Where, since opset 16).
func (b *Builder) Where(cond, x, y *Value) *Value {
	shape, ok := broadcastShapes(x.Shape, y.Shape)
	if ok {
		shape, ok = broadcastShapes(cond.Shape, shape)
	}
	if !ok || cond.DType != Bool || x.DType != y.DType {
		b.fail("Where", "condition %v%v, branches %v%v and %v%v do not fit",
			cond.DType, cond.Shape, x.DType, x.Shape, y.DType, y.Shape)
	}
	return b.one("Where", []*Value{cond, x, y}, nil, x.DType, shape)
}

// Neg is −x (Neg, since opset 13).
func (b *Builder) Neg(x *Value) *Value { return b.unary("Neg", x) }

// Sqrt is √x (Sqrt, since opset 13).
func (b *Builder) Sqrt(x *Value) *Value { return b.unary("Sqrt", x) }

// Exp is eˣ (Exp, since opset 13).
func (b *Builder) Exp(x *Value) *Value { return b.unary("Exp", x) }

// Log is the natural logarithm (Log, since opset 13).
func (b *Builder) Log(x *Value) *Value { return b.unary("Log", x) }

// Sin is the sine (Sin, since opset 7).
func (b *Builder) Sin(x *Value) *Value { return b.unary("Sin", x) }

// Cos is the cosine (Cos, since opset 7).
func (b *Builder) Cos(x *Value) *Value { return b.unary("Cos", x) }

// Sigmoid is σ(x) = 1/(1 + e⁻ˣ) (Sigmoid, since opset 13).
func (b *Builder) Sigmoid(x *Value) *Value { return b.unary("Sigmoid", x) }

// Tanh is the hyperbolic tangent (Tanh, since opset 13).
func (b *Builder) Tanh(x *Value) *Value { return b.unary("Tanh", x) }

// Erf is the error function (Erf, since opset 13).
func (b *Builder) Erf(x *Value) *Value { return b.unary("Erf", x) }

// Softplus is ln(1 + eˣ) (Softplus, since opset 1).
func (b *Builder) Softplus(x *Value) *Value { return b.unary("Softplus", x) }

// Relu is max(x, 0) (Relu, since opset 14); the gradient at 0 is 0.
func (b *Builder) Relu(x *Value) *Value { return b.unary("Relu", x) }

// SiLU is x·σ(x): ORT's QuickGelu (com.microsoft, alpha 1), which is one pass
// where Sigmoid and Mul are two.
func (b *Builder) SiLU(x *Value) *Value {
	y := b.unary("QuickGelu", x, floatAttr("alpha", 1))
	y.Node.Domain = "com.microsoft"
	return y
}

// GELU is x·Φ(x) = x·(1 + erf(x/√2))/2, PyTorch's default ("none") form.
func (b *Builder) GELU(x *Value) *Value {
	half := b.Scalar(0.5)
	return b.Mul(x, b.Add(b.Mul(b.Erf(b.Mul(x, b.Scalar(math.Sqrt2/2))), half), half))
}

// Mish is x·tanh(softplus(x)).
func (b *Builder) Mish(x *Value) *Value { return b.Mul(x, b.Tanh(b.Softplus(x))) }

// Cast converts to another type (Cast, since opset 13); the gradient is cast
// back, and is none where an integer or a truth value is on either side.
func (b *Builder) Cast(x *Value, to DType) *Value {
	if x.DType == to {
		return x
	}
	return b.one("Cast", []*Value{x}, []Attr{intAttr("to", int(to.ONNX()))}, to, x.Shape)
}

// d(x+y) = dx + dy
func addGrad(_ *Builder, _ *Node, dy []*Value) []*Value { return []*Value{dy[0], dy[0]} }

// d(x−y) = dx − dy
func subGrad(b *Builder, _ *Node, dy []*Value) []*Value { return []*Value{dy[0], b.Neg(dy[0])} }

// d(x·y) = y·dx + x·dy
func mulGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, y := n.Inputs[0], n.Inputs[1]
	return []*Value{b.Mul(dy[0], y), b.Mul(dy[0], x)}
}

// z = x/y: d/dx = 1/y, d/dy = −z/y
func divGrad(b *Builder, n *Node, dy []*Value) []*Value {
	dx := b.Div(dy[0], n.Inputs[1])
	return []*Value{dx, b.Neg(b.Mul(dx, n.Outputs[0]))}
}

// z = x^y: d/dx = y·x^(y−1), d/dy = z·ln x
func powGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, y := n.Inputs[0], n.Inputs[1]
	dx := b.Mul(dy[0], b.Mul(y, b.Pow(x, b.Sub(y, b.Scalar(1)))))
	return []*Value{dx, b.Mul(dy[0], b.Mul(n.Outputs[0], b.Log(x)))}
}

// max and min: 1 where an input is the chosen one, ½ at a tie.
func extremumGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, y := n.Inputs[0], n.Inputs[1]
	larger, smaller := b.Scalar(1), b.Scalar(0)
	if n.Op == "Min" {
		larger, smaller = smaller, larger
	}
	share := b.Where(b.Equal(x, y), b.Scalar(0.5), b.Where(b.Greater(x, y), larger, smaller))
	dx := b.Mul(dy[0], share)
	return []*Value{dx, b.Sub(dy[0], dx)}
}

// The condition has no gradient; each branch gets dy where it was taken.
func whereGrad(b *Builder, n *Node, dy []*Value) []*Value {
	zero := b.Scalar(0)
	return []*Value{nil, b.Where(n.Inputs[0], dy[0], zero), b.Where(n.Inputs[0], zero, dy[0])}
}

func negGrad(b *Builder, _ *Node, dy []*Value) []*Value { return []*Value{b.Neg(dy[0])} }

// d√x = dx/(2√x)
func sqrtGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Div(dy[0], b.Mul(n.Outputs[0], b.Scalar(2)))}
}

// deˣ = eˣ·dx
func expGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Mul(dy[0], n.Outputs[0])}
}

// d ln x = dx/x
func logGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Div(dy[0], n.Inputs[0])}
}

// d sin x = cos x·dx
func sinGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Mul(dy[0], b.Cos(n.Inputs[0]))}
}

// d cos x = −sin x·dx
func cosGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Neg(b.Mul(dy[0], b.Sin(n.Inputs[0])))}
}

// dσ = σ(1−σ)·dx
func sigmoidGrad(b *Builder, n *Node, dy []*Value) []*Value {
	s := n.Outputs[0]
	return []*Value{b.Mul(dy[0], b.Sub(s, b.Mul(s, s)))}
}

// d tanh = (1−tanh²)·dx
func tanhGrad(b *Builder, n *Node, dy []*Value) []*Value {
	y := n.Outputs[0]
	return []*Value{b.Sub(dy[0], b.Mul(dy[0], b.Mul(y, y)))}
}

// d erf = 2/√π·exp(−x²)·dx
func erfGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x := n.Inputs[0]
	bell := b.Exp(b.Neg(b.Mul(x, x)))
	return []*Value{b.Mul(dy[0], b.Mul(bell, b.Scalar(2/math.Sqrt(math.Pi))))}
}

// d ln(1+eˣ) = σ(x)·dx
func softplusGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Mul(dy[0], b.Sigmoid(n.Inputs[0]))}
}

func reluGrad(b *Builder, n *Node, dy []*Value) []*Value {
	zero := b.Scalar(0)
	return []*Value{b.Where(b.Greater(n.Inputs[0], zero), dy[0], zero)}
}

// y = x·σ(αx), a composite: dx = dy·(s + αx·s·(1−s)) with s = σ(αx).
func quickGeluGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x := n.Inputs[0]
	alpha := floatAttr("alpha", n.Float("alpha", 1.702))
	return b.composite("QuickGeluGrad", []*Value{dy[0], x, n.Outputs[0]}, []Attr{alpha}, out{x.DType, x.Shape})
}

// lowerQuickGeluGrad uses y = x·s: s + αx·s·(1−s) = s·(1 + αx − αy).
func lowerQuickGeluGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy, x, y := in[0], in[1], in[2]
	if alpha := n.Float("alpha", 1.702); alpha != 1 {
		x, y = b.Mul(x, b.Scalar(alpha)), b.Mul(y, b.Scalar(alpha))
	}
	return []*Value{b.Mul(dy, b.Mul(b.Sigmoid(x), b.Add(b.Sub(x, y), b.Scalar(1))))}
}

func castGrad(b *Builder, n *Node, dy []*Value) []*Value {
	from := n.Inputs[0].DType
	if from != Float32 && from != Float16 {
		return []*Value{nil}
	}
	return []*Value{b.Cast(dy[0], from)}
}
