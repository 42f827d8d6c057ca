package graph

// Elementwise operators of one value that imported graphs use beside those of
// op_elementwise.go, and the logical ones, which have no gradient.

// Abs is |x| (Abs, since opset 13); the gradient at 0 is 0.
func (b *Builder) Abs(x *Value) *Value { return b.unary("Abs", x) }

// Sign is −1, 0 or 1 (Sign, since opset 13); no gradient.
func (b *Builder) Sign(x *Value) *Value { return b.unary("Sign", x) }

// Floor rounds towards −∞ (Floor, since opset 13); no gradient.
func (b *Builder) Floor(x *Value) *Value { return b.unary("Floor", x) }

// Ceil rounds towards +∞ (Ceil, since opset 13); no gradient.
func (b *Builder) Ceil(x *Value) *Value { return b.unary("Ceil", x) }

// Round rounds to the nearest integer, halves to even (Round, since opset 11);
// no gradient.
func (b *Builder) Round(x *Value) *Value { return b.unary("Round", x) }

// Tan is the tangent (Tan, since opset 7).
func (b *Builder) Tan(x *Value) *Value { return b.unary("Tan", x) }

// Asin is the inverse sine (Asin, since opset 7).
func (b *Builder) Asin(x *Value) *Value { return b.unary("Asin", x) }

// Acos is the inverse cosine (Acos, since opset 7).
func (b *Builder) Acos(x *Value) *Value { return b.unary("Acos", x) }

// Atan is the inverse tangent (Atan, since opset 7).
func (b *Builder) Atan(x *Value) *Value { return b.unary("Atan", x) }

// Sinh is the hyperbolic sine (Sinh, since opset 9).
func (b *Builder) Sinh(x *Value) *Value { return b.unary("Sinh", x) }

// Cosh is the hyperbolic cosine (Cosh, since opset 9).
func (b *Builder) Cosh(x *Value) *Value { return b.unary("Cosh", x) }

// Asinh is the inverse hyperbolic sine (Asinh, since opset 9).
func (b *Builder) Asinh(x *Value) *Value { return b.unary("Asinh", x) }

// Acosh is the inverse hyperbolic cosine (Acosh, since opset 9).
func (b *Builder) Acosh(x *Value) *Value { return b.unary("Acosh", x) }

// Atanh is the inverse hyperbolic tangent (Atanh, since opset 9).
func (b *Builder) Atanh(x *Value) *Value { return b.unary("Atanh", x) }

// IsNaN tells where x is not a number (IsNaN, since opset 13); no gradient.
func (b *Builder) IsNaN(x *Value) *Value { return b.test("IsNaN", x) }

// IsInf tells where x is infinite (IsInf, since opset 10); no gradient.
func (b *Builder) IsInf(x *Value) *Value { return b.test("IsInf", x) }

func (b *Builder) test(op string, x *Value) *Value {
	v := b.unary(op, x)
	v.DType = Bool
	return v
}

// Less is x < y (Less, since opset 13); no gradient.
func (b *Builder) Less(x, y *Value) *Value { return b.binary("Less", x, y, Bool) }

// LessOrEqual is x ≤ y (LessOrEqual, since opset 16); no gradient.
func (b *Builder) LessOrEqual(x, y *Value) *Value { return b.binary("LessOrEqual", x, y, Bool) }

// GreaterOrEqual is x ≥ y (GreaterOrEqual, since opset 16); no gradient.
func (b *Builder) GreaterOrEqual(x, y *Value) *Value { return b.binary("GreaterOrEqual", x, y, Bool) }

// And is the conjunction of truth values (And, since opset 7); no gradient.
func (b *Builder) And(x, y *Value) *Value { return b.logical("And", x, y) }

// Or is the disjunction of truth values (Or, since opset 7); no gradient.
func (b *Builder) Or(x, y *Value) *Value { return b.logical("Or", x, y) }

// Xor tells whether two truth values differ (Xor, since opset 7); no gradient.
func (b *Builder) Xor(x, y *Value) *Value { return b.logical("Xor", x, y) }

func (b *Builder) logical(op string, x, y *Value) *Value {
	if x.DType != Bool || y.DType != Bool {
		b.fail(op, "types %v and %v, want bool", x.DType, y.DType)
	}
	return b.binary(op, x, y, Bool)
}

// Not is the negation of truth values (Not, since opset 1); no gradient.
func (b *Builder) Not(x *Value) *Value {
	if x.DType != Bool {
		b.fail("Not", "type %v, want bool", x.DType)
	}
	return b.one("Not", []*Value{x}, nil, Bool, x.Shape)
}

// Clip is x cut to [low, high] (Clip, since opset 13). As in PyTorch's clamp the
// gradient passes where low ≤ x ≤ high, the ends included.
func (b *Builder) Clip(x *Value, low, high float64) *Value {
	return b.one("Clip", []*Value{x, b.Scalar(low), b.Scalar(high)}, nil, x.DType, x.Shape)
}

func clipGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, low, high := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	inside := b.And(b.GreaterOrEqual(x, low), b.LessOrEqual(x, high))
	return []*Value{b.Where(inside, dy[0], b.Scalar(0)), nil, nil}
}

// d|x| = sign(x)·dx
func absGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Mul(dy[0], b.Sign(n.Inputs[0]))}
}

// d tan x = (1 + tan² x)·dx
func tanGrad(b *Builder, n *Node, dy []*Value) []*Value {
	y := n.Outputs[0]
	return []*Value{b.Add(dy[0], b.Mul(dy[0], b.Mul(y, y)))}
}

// d sinh x = cosh x·dx
func sinhGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Mul(dy[0], b.Cosh(n.Inputs[0]))}
}

// d cosh x = sinh x·dx
func coshGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.Mul(dy[0], b.Sinh(n.Inputs[0]))}
}

// d asin x = dx/√(1−x²), d acos x = −dx/√(1−x²), d atan x = dx/(1+x²),
// d asinh x = dx/√(x²+1), d acosh x = dx/√(x²−1), d atanh x = dx/(1−x²)
func inverseGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, unit := n.Inputs[0], b.Scalar(1)
	square := b.Mul(x, x)
	switch n.Op {
	case "Asin":
		return []*Value{b.Div(dy[0], b.Sqrt(b.Sub(unit, square)))}
	case "Acos":
		return []*Value{b.Neg(b.Div(dy[0], b.Sqrt(b.Sub(unit, square))))}
	case "Atan":
		return []*Value{b.Div(dy[0], b.Add(unit, square))}
	case "Asinh":
		return []*Value{b.Div(dy[0], b.Sqrt(b.Add(square, unit)))}
	case "Acosh":
		return []*Value{b.Div(dy[0], b.Sqrt(b.Sub(square, unit)))}
	}
	return []*Value{b.Div(dy[0], b.Sub(unit, square))}
}
