package importer

import (
	"math"

	"immiscible/models/graph"
)

// Activations are compositions, and so are their derivatives.

func buildGelu(c *call) []*graph.Value {
	if c.string("approximate", "none") == "tanh" {
		return single(tanhGelu(c.b, c.x(0)))
	}
	return single(c.b.FusedGELU(c.x(0)))
}

func buildFastGelu(c *call) []*graph.Value {
	x := c.x(0)
	if c.has(1) {
		x = c.b.Add(x, c.x(1))
	}
	return single(tanhGelu(c.b, x))
}

// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
func tanhGelu(b *graph.Builder, x *graph.Value) *graph.Value {
	cube := b.Mul(b.Mul(x, x), x)
	inner := b.Mul(b.Add(x, b.Mul(cube, b.Scalar(0.044715))), b.Scalar(math.Sqrt(2/math.Pi)))
	half := b.Mul(x, b.Scalar(0.5))
	return b.Add(half, b.Mul(half, b.Tanh(inner)))
}

func buildBiasGelu(c *call) []*graph.Value { return single(c.b.FusedGELU(c.b.Add(c.x(0), c.x(1)))) }

// x·σ(αx); with α = 1 it is SiLU.
func quickGelu(b *graph.Builder, x *graph.Value, alpha float64) *graph.Value {
	if alpha == 1 {
		return b.SiLU(x)
	}
	return b.Mul(x, b.Sigmoid(b.Mul(x, b.Scalar(alpha))))
}

func buildQuickGelu(c *call) []*graph.Value {
	return single(quickGelu(c.b, c.x(0), c.float("alpha", 1.702)))
}

func buildSwish(c *call) []*graph.Value {
	return single(quickGelu(c.b, c.x(0), c.float("alpha", 1)))
}

func buildLeakyRelu(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	return single(b.Where(b.Less(x, b.Scalar(0)), b.Mul(x, b.Scalar(c.float("alpha", 0.01))), x))
}

func buildThresholdedRelu(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	return single(b.Where(b.Greater(x, b.Scalar(c.float("alpha", 1))), x, b.Scalar(0)))
}

// Elu, Selu and Celu are γ·x above 0 and γ·α·(e^(x/β) − 1) below. The exponent is
// cut at 0, so that the side that is not taken stays finite.
func buildElu(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	alpha, beta, gamma := c.float("alpha", 1), 1.0, 1.0
	switch c.n.GetOpType() {
	case "Selu":
		alpha, gamma = c.float("alpha", 1.67326319217681884765625), c.float("gamma", 1.05070102214813232421875)
	case "Celu":
		beta = alpha
	}
	times := func(v *graph.Value, factor float64) *graph.Value {
		if factor == 1 {
			return v
		}
		return b.Mul(v, b.Scalar(factor))
	}
	below := b.Sub(b.Exp(times(b.Min(x, b.Scalar(0)), 1/beta)), b.Scalar(1))
	return single(times(b.Where(b.Greater(x, b.Scalar(0)), x, times(below, alpha)), gamma))
}

func hardSigmoid(b *graph.Builder, x *graph.Value, alpha, beta float64) *graph.Value {
	return b.Clip(b.Add(b.Mul(x, b.Scalar(alpha)), b.Scalar(beta)), 0, 1)
}

func buildHardSigmoid(c *call) []*graph.Value {
	return single(hardSigmoid(c.b, c.x(0), c.float("alpha", 0.2), c.float("beta", 0.5)))
}

func buildHardSwish(c *call) []*graph.Value {
	return single(c.b.Mul(c.x(0), hardSigmoid(c.b, c.x(0), 1.0/6, 0.5)))
}

func buildSoftsign(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	return single(b.Div(x, b.Add(b.Abs(x), b.Scalar(1))))
}

func buildShrink(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	bias, lambda := b.Scalar(c.float("bias", 0)), c.float("lambd", 0.5)
	high := b.Where(b.Greater(x, b.Scalar(lambda)), b.Sub(x, bias), b.Scalar(0))
	return single(b.Where(b.Less(x, b.Scalar(-lambda)), b.Add(x, bias), high))
}
