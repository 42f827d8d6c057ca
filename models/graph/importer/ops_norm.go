package importer

import (
	"slices"

	"immiscible/models/graph"
)

// BatchNormalization with running statistics, as in eval mode:
// y = (x − mean)·scale/√(var + ε) + bias, a scale and a shift of each channel.
func buildBatchNorm(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	c.must(c.int("training_mode", 0) == 0, "training_mode 1 computes statistics of the batch: export the model in eval mode")
	c.must(x.Rank() >= 2, "x %v, want [N, C, ...]", x.Shape)
	perChannel := make([]int, x.Rank()-1)
	for i := range perChannel {
		perChannel[i] = 1
	}
	perChannel[0] = x.Dim(1)
	factor := b.Div(c.x(1), b.Sqrt(b.Add(c.x(4), b.Scalar(c.float("epsilon", 1e-5)))))
	shift := b.Sub(c.x(2), b.Mul(c.x(3), factor))
	return single(b.Add(b.Mul(x, b.Reshape(factor, perChannel...)), b.Reshape(shift, perChannel...)))
}

// InstanceNormalization is group normalisation with a group a channel.
func buildInstanceNorm(c *call) []*graph.Value {
	x := c.x(0)
	c.must(x.Rank() >= 3, "x %v, want [N, C, ...]", x.Shape)
	return single(c.b.GroupNormalization(x, c.x(1), c.x(2), x.Dim(1), c.float("epsilon", 1e-5)))
}

// GroupNormalization has a scale a channel since opset 21, a group before.
func buildGroupNorm(c *call) []*graph.Value {
	b, x, scale, bias := c.b, c.x(0), c.x(1), c.x(2)
	groups := c.int("num_groups", 0)
	c.must(groups > 0 && x.Rank() >= 3 && x.Dim(1)%groups == 0, "%d groups of x %v", groups, x.Shape)
	if c.im.opset < 21 {
		spread := func(v *graph.Value) *graph.Value {
			return b.Reshape(b.Expand(b.Reshape(v, groups, 1), groups, x.Dim(1)/groups), x.Dim(1))
		}
		scale, bias = spread(scale), spread(bias)
	}
	return single(b.GroupNormalization(x, scale, bias, groups, c.float("epsilon", 1e-5)))
}

// LayerNormalization over the dimensions from axis on, as one.
func buildLayerNorm(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	axis := c.axis(c.int("axis", -1), x.Rank())
	d := numel(x.Shape[axis:])
	scale, bias := b.Expand(c.x(1), x.Shape[axis:]...), (*graph.Value)(nil)
	if c.has(2) {
		bias = b.Reshape(b.Expand(c.x(2), x.Shape[axis:]...), d)
	}
	rows := slices.Concat(x.Shape[:axis], []int{d})
	y, mean, inv := b.LayerNormalization(b.Reshape(x, rows...), b.Reshape(scale, d), bias, c.float("epsilon", 1e-5))
	stats := slices.Clone(x.Shape)
	for i := axis; i < len(stats); i++ {
		stats[i] = 1
	}
	return []*graph.Value{b.Reshape(y, x.Shape...), b.Reshape(mean, stats...), b.Reshape(inv, stats...)}
}

// y = x/√(mean(x²) + ε)·scale over the dimensions from axis on.
func buildRMSNorm(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	var axes []int
	for a := c.axis(c.int("axis", -1), x.Rank()); a < x.Rank(); a++ {
		axes = append(axes, a)
	}
	rms := b.Sqrt(b.Add(b.ReduceMean(b.Mul(x, x), true, axes...), b.Scalar(c.float("epsilon", 1e-5))))
	return single(b.Mul(b.Div(x, rms), c.x(1)))
}

func buildMeanVarianceNorm(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	axes := c.list("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	centred := b.Sub(x, b.ReduceMean(x, true, axes...))
	deviation := b.Sqrt(b.ReduceMean(b.Mul(centred, centred), true, axes...))
	return single(b.Div(centred, b.Add(deviation, b.Scalar(1e-9))))
}

func buildLpNorm(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	axis := c.axis(c.int("axis", -1), x.Rank())
	norm := b.ReduceSum(b.Abs(x), true, axis)
	if c.int("p", 2) == 2 {
		norm = b.Sqrt(b.ReduceSumSquare(x, true, axis))
	}
	return single(b.Div(x, b.Where(b.Equal(norm, b.Scalar(0)), b.Scalar(1), norm))) // zeros stay zeros
}

// Softmax and LogSoftmax along an axis; before opset 13 over all dimensions from
// the axis on, as one.
func buildSoftmax(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	f := b.Softmax
	if c.n.GetOpType() == "LogSoftmax" {
		f = b.LogSoftmax
	}
	if c.im.opset < 13 {
		axis := c.axis(c.int("axis", 1), x.Rank())
		return single(b.Reshape(f(b.Reshape(x, numel(x.Shape[:axis]), numel(x.Shape[axis:]))), x.Shape...))
	}
	return single(alongLast(b, x, c.axis(c.int("axis", -1), x.Rank()), f))
}

// alongLast applies a function of the last dimension along an axis.
func alongLast(b *graph.Builder, x *graph.Value, axis int, f func(*graph.Value) *graph.Value) *graph.Value {
	last := x.Rank() - 1
	if axis == last {
		return f(x)
	}
	perm := make([]int, x.Rank())
	for i := range perm {
		perm[i] = i
	}
	perm[axis], perm[last] = last, axis
	return b.Transpose(f(b.Transpose(x, perm...)), perm...)
}
