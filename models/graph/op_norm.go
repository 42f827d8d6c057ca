package graph

import "slices"

// LayerNormalization normalises over the last dimension (LayerNormalization,
// since opset 17): y = scale·(x − mean)·invStdDev + bias for scale, bias [D]
// (bias may be nil). Mean and invStdDev [..., 1] are kept for the backward.
func (b *Builder) LayerNormalization(x, scale, bias *Value, epsilon float64) (y, mean, invStdDev *Value) {
	if x.Rank() == 0 {
		b.fail("LayerNormalization", "x is a scalar, want [..., D]")
	}
	d := x.Dim(-1)
	if !sameShape(scale.Shape, []int{d}) || (bias != nil && !sameShape(bias.Shape, scale.Shape)) {
		b.fail("LayerNormalization", "x %v, scale %v: want scale and bias [%d]", x.Shape, scale.Shape, d)
	}
	stats := slices.Clone(x.Shape)
	stats[len(stats)-1] = 1
	inputs := []*Value{x, scale}
	if bias != nil {
		inputs = append(inputs, bias)
	}
	n := b.node("LayerNormalization", inputs, []Attr{intAttr("axis", -1), floatAttr("epsilon", epsilon)},
		out{x.DType, x.Shape}, out{Float32, stats}, out{Float32, stats})
	return n.Outputs[0], n.Outputs[1], n.Outputs[2]
}

// The statistics are outputs that only this rule reads; their own gradient is
// refused.
func layerNormalizationGrad(b *Builder, n *Node, dy []*Value) []*Value {
	if dy[1] != nil || dy[2] != nil {
		b.fail(n.Op, "the derivative of mean or invStdDev is not defined here")
	}
	x, scale := n.Inputs[0], n.Inputs[1]
	grads := b.composite("LayerNormalizationGrad", []*Value{dy[0], x, scale, n.Outputs[1], n.Outputs[2]}, nil,
		out{x.DType, x.Shape}, out{scale.DType, scale.Shape}, out{scale.DType, scale.Shape})
	return grads[:len(n.Inputs)]
}

// x̂ = (x−μ)·r, y = γ·x̂ + β over D elements, g = γ·dy:
//
//	dx = r·(g − mean(g) − x̂·mean(g·x̂)),  dγ = Σ dy·x̂,  dβ = Σ dy
func lowerLayerNormalizationGrad(b *Builder, _ *Node, in []*Value) []*Value {
	dy, x, scale, mean, r := in[0], in[1], in[2], in[3], in[4]
	hat := b.Mul(b.Sub(x, mean), r)
	g := b.Mul(dy, scale)
	meanG := b.ReduceMean(g, true, -1)
	meanGHat := b.ReduceMean(b.Mul(g, hat), true, -1)
	dx := b.Mul(r, b.Sub(b.Sub(g, meanG), b.Mul(hat, meanGHat)))
	return []*Value{dx, b.SumTo(b.Mul(dy, hat), scale.Shape), b.SumTo(dy, scale.Shape)}
}

// GroupNormalization normalises x [N, C, ...] over C/groups channels and all
// positions at once, then scales and shifts by channel: scale, bias [C]
// (composite; the meaning is ONNX's GroupNormalization 21 and torch's
// group_norm). The statistics [N, groups, 1] are kept for the backward.
func (b *Builder) GroupNormalization(x, scale, bias *Value, groups int, epsilon float64) *Value {
	if x.Rank() < 3 || groups < 1 || x.Dim(1)%groups != 0 {
		b.fail("GroupNormalization", "%d groups do not divide the channels of x %v", groups, x.Shape)
	}
	if c := []int{x.Dim(1)}; !sameShape(scale.Shape, c) || !sameShape(bias.Shape, c) {
		b.fail("GroupNormalization", "scale %v and bias %v for x %v: want [%d]", scale.Shape, bias.Shape, x.Shape, x.Dim(1))
	}
	stats := []int{x.Dim(0), groups, 1}
	return b.composite("GroupNormalization", []*Value{x, scale, bias},
		[]Attr{intAttr("num_groups", groups), floatAttr("epsilon", epsilon)},
		out{x.DType, x.Shape}, out{Float32, stats}, out{Float32, stats})[0]
}

func groupNormalizationGrad(b *Builder, n *Node, dy []*Value) []*Value {
	// The bias is read where an activation is fused: its gradient needs y again.
	x, scale, bias := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	return b.composite("GroupNormalizationGrad", []*Value{dy[0], x, scale, bias, n.Outputs[1], n.Outputs[2]},
		[]Attr{intAttr("num_groups", n.Int("num_groups", 1))},
		out{x.DType, x.Shape}, out{scale.DType, scale.Shape}, out{scale.DType, scale.Shape})
}

// lowerGroupNormalization is a LayerNormalization over [N, G, C/G·H·W] with a
// scale of ones, for the sake of its saved statistics, then channel by channel.
// The ones are one number, expanded when the model is loaded: as a constant they
// would put a group of an image into the file.
func lowerGroupNormalization(b *Builder, n *Node, in []*Value) []*Value {
	x, scale, bias := in[0], in[1], in[2]
	groups := n.Int("num_groups", 1)
	m := x.Numel() / x.Dim(0) / groups
	hat, mean, r := b.LayerNormalization(b.Reshape(x, x.Dim(0), groups, m), b.Expand(b.Scalar(1), m), nil, n.Float("epsilon", 1e-5))
	perChannel := []int{1, x.Dim(1), 1}
	y := b.Mul(b.Reshape(hat, x.Dim(0), x.Dim(1), -1), b.Reshape(scale, perChannel...))
	y = b.Add(y, b.Reshape(bias, perChannel...))
	return []*Value{b.Reshape(y, x.Shape...), mean, r}
}

// lowerGroupNormalizationGrad, with M elements a group, per channel c of group g
// A = Σ dy and B = Σ dy·x̂ over positions:
//
//	dγ = Σ_n B,  dβ = Σ_n A
//	dx = dy·(r·γ) − x̂·(r/M)·Σ_{c∈g} γB − (r/M)·Σ_{c∈g} γA
//
// so that the image is read by two sums and one combination, and everything
// else is [N, C].
func lowerGroupNormalizationGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy, x, scale, mean, r := in[0], in[1], in[2], in[4], in[5]
	groups := n.Int("num_groups", 1)
	batch, c := x.Dim(0), x.Dim(1)
	m := x.Numel() / batch / groups
	hat := b.Reshape(b.Mul(b.Sub(b.Reshape(x, batch, groups, m), mean), r), batch, c, -1)
	d := b.Reshape(dy, batch, c, -1)
	sumB := b.ReduceSum(b.Mul(d, hat), false, 2) // [N, C]
	sumA := b.ReduceSum(d, false, 2)             // [N, C]
	perGroup := func(v *Value) *Value {          // [N, C] → Σ_{c∈g} γ·v · r/M, [N, G, 1]
		weighted := b.Reshape(b.Mul(v, scale), batch, groups, c/groups)
		return b.Mul(b.ReduceSum(weighted, true, 2), b.Mul(r, b.Scalar(1/float64(m))))
	}
	spread := func(v *Value) *Value { // [N, G, 1] → [N, C, 1]
		return b.Reshape(b.Expand(v, batch, groups, c/groups), batch, c, 1)
	}
	rGamma := b.Mul(spread(r), b.Reshape(scale, 1, c, 1))
	dx := b.Sub(b.Sub(b.Mul(d, rGamma), b.Mul(hat, spread(perGroup(sumB)))), spread(perGroup(sumA)))
	return []*Value{b.Reshape(dx, x.Shape...), b.ReduceSum(sumB, false, 0), b.ReduceSum(sumA, false, 0)}
}

// Softmax over the last dimension (Softmax with axis -1, since opset 13).
func (b *Builder) Softmax(x *Value) *Value { return b.unary("Softmax", x, intAttr("axis", -1)) }

// y = softmax(x): dx = y·(dy − Σ dy·y)
func softmaxGrad(b *Builder, n *Node, dy []*Value) []*Value {
	y := n.Outputs[0]
	t := b.Mul(dy[0], y)
	return []*Value{b.Sub(t, b.Mul(y, b.ReduceSum(t, true, -1)))}
}
