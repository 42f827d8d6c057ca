package importer

import (
	"math"

	"immiscible/models/graph"
)

func single(v *graph.Value) []*graph.Value { return []*graph.Value{v} }

func unary(f func(*graph.Builder, *graph.Value) *graph.Value) build {
	return func(c *call) []*graph.Value { return single(f(c.b, c.x(0))) }
}

// variadic folds a binary operation over the inputs.
func variadic(f func(_ *graph.Builder, x, y *graph.Value) *graph.Value) build {
	return func(c *call) []*graph.Value {
		total := c.x(0)
		for _, y := range c.all()[1:] {
			total = f(c.b, total, y)
		}
		return single(total)
	}
}

func buildMean(c *call) []*graph.Value {
	sum := variadic((*graph.Builder).Add)(c)[0]
	return single(c.b.Mul(sum, c.b.Scalar(1/float64(len(c.in)))))
}

// constantAt is the single element of input i, if it is known.
func (c *call) constantAt(i int) (float64, bool) {
	if t := c.im.known(c.entry(i)); t != nil && len(t.data) == 1 {
		return t.data[0], true
	}
	return 0, false
}

// Small powers are products and roots: cheaper, and with a derivative at 0.
// Base and exponent may be of two types; the base's counts.
func buildPow(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	if e, ok := c.constantAt(1); ok && len(c.im.shape(c.entry(1))) <= x.Rank() && x.DType == graph.Float32 {
		switch e {
		case 1:
			return single(b.Identity(x))
		case 2:
			return single(b.Mul(x, x))
		case 3:
			return single(b.Mul(b.Mul(x, x), x))
		case 0.5:
			return single(b.Sqrt(x))
		case -0.5:
			return single(b.Div(b.Scalar(1), b.Sqrt(x)))
		case -1:
			return single(b.Div(b.Scalar(1), x))
		}
	}
	y := c.x(1)
	if x.DType == graph.Float32 {
		return single(b.Pow(x, b.Cast(y, x.DType)))
	}
	return single(b.Cast(b.Pow(b.Cast(x, graph.Float32), b.Cast(y, graph.Float32)), x.DType))
}

// x mod y has the divisor's sign: x − y·⌊x/y⌋; with fmod the dividend's.
func buildMod(c *call) []*graph.Value {
	b, x, y := c.b, c.x(0), c.x(1)
	if x.DType == graph.Float32 {
		q := b.Div(x, y)
		down := b.Floor(q)
		if c.int("fmod", 0) == 1 {
			down = b.Where(b.Less(q, b.Scalar(0)), b.Ceil(q), down)
		}
		r := b.Sub(x, b.Mul(y, down))
		// y = ±∞ leaves x, or with the other sign is the result.
		over := x
		if c.int("fmod", 0) == 0 {
			over = b.Where(b.Less(b.Mul(x, y), b.Scalar(0)), y, x)
		}
		return single(b.Where(b.And(b.IsInf(y), b.Not(b.IsInf(x))), over, r))
	}
	zero := b.Int64s([]int{0})
	r := b.Sub(x, b.Mul(y, b.Div(x, y))) // integers are divided towards zero
	if c.int("fmod", 0) == 1 {
		return single(r)
	}
	wrong := b.And(b.Not(b.Equal(r, zero)), b.Xor(b.Less(r, zero), b.Less(y, zero)))
	return single(b.Where(wrong, b.Add(r, y), r))
}

func buildWhere(c *call) []*graph.Value { return single(c.b.Where(c.x(0), c.x(1), c.x(2))) }

func buildNeg(c *call) []*graph.Value {
	x := c.x(0)
	if x.DType == graph.Int64 {
		return single(c.b.Sub(c.b.Int64s([]int{0}), x))
	}
	return single(c.b.Neg(x))
}

func buildAbs(c *call) []*graph.Value {
	x := c.x(0)
	if x.DType == graph.Int64 {
		return single(c.b.Max(x, c.b.Sub(c.b.Int64s([]int{0}), x)))
	}
	return single(c.b.Abs(x))
}

func buildReciprocal(c *call) []*graph.Value { return single(c.b.Div(c.b.Scalar(1), c.x(0))) }

func buildIsInf(c *call) []*graph.Value {
	b, x, zero := c.b, c.x(0), c.b.Scalar(0)
	y := b.IsInf(x)
	if c.int("detect_negative", 1) == 0 {
		y = b.And(y, b.Greater(x, zero))
	}
	if c.int("detect_positive", 1) == 0 {
		y = b.And(y, b.Less(x, zero))
	}
	return single(y)
}

// Clip with bounds that are known; others are a Min of a Max.
func buildClip(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	known := x.DType == graph.Float32
	ends := [2]float64{math.Inf(-1), math.Inf(1)}
	if c.im.opset < 11 {
		return single(b.Clip(x, c.float("min", ends[0]), c.float("max", ends[1])))
	}
	for i := range ends {
		if c.has(i + 1) {
			v, ok := c.constantAt(i + 1)
			if known = known && ok; ok {
				ends[i] = v
			}
		}
	}
	if known && ends[0] <= ends[1] {
		return single(b.Clip(x, ends[0], ends[1]))
	}
	if low := c.optional(1); low != nil {
		x = b.Max(x, low)
	}
	if high := c.optional(2); high != nil {
		x = b.Min(x, high)
	}
	return single(x)
}

func buildCast(c *call) []*graph.Value { return single(c.b.Cast(c.x(0), c.castTo())) }

// Dropout is the identity where nothing is dropped.
func buildDropout(c *call) []*graph.Value {
	if c.has(2) {
		training, ok := c.constantAt(2)
		ratio := 0.5
		if c.has(1) {
			ratio = c.scalar(1)
		}
		c.must(ok && (training == 0 || ratio == 0), "it drops elements (training_mode): export the model in eval mode")
	}
	x := c.x(0)
	out := []*graph.Value{x}
	if len(c.n.Output) > 1 {
		out = append(out, c.b.Cast(c.b.Expand(c.b.Int64s([]int{1}), x.Shape...), graph.Bool))
	}
	return out
}

func buildPRelu(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	return single(b.Where(b.Less(x, b.Scalar(0)), b.Mul(x, c.x(1)), x))
}
