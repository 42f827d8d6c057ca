package graph

import "math"

// Attention is multi-head attention of batch examples: queries q [N·T, C] to
// keys k and values v [N·S, C], whose rows hold the heads side by side, d = C/heads
// columns each (composite):
//
//	y = softmax(q·kᵀ/√d)·v, head by head, [N·T, C]
//
// For the backward the CPU provider's kernel keeps the softmax's denominators.
// The portable nodes keep its weights [N, heads, T, S], and q, k and v as they
// multiply them, [N, heads, T or S, d]: those are further outputs.
func (b *Builder) Attention(q, k, v *Value, batch, heads int) *Value {
	fits := q.Rank() == 2 && k.Rank() == 2 && sameShape(k.Shape, v.Shape) && q.Dim(1) == k.Dim(1) && batch > 0 && q.Dim(0)%batch == 0 && k.Dim(0)%batch == 0
	if !fits || heads < 1 || q.Dim(1)%heads != 0 {
		b.fail("Attention", "q %v, k %v, v %v, batch %d, %d heads: want [N·T, C] and twice [N·S, C], heads that divide C", q.Shape, k.Shape, v.Shape, batch, heads)
	}
	t, s, d := q.Dim(0)/batch, k.Dim(0)/batch, q.Dim(1)/heads
	keys := out{k.DType, []int{batch, heads, s, d}}
	return b.composite("Attention", []*Value{q, k, v},
		[]Attr{intAttr("batch", batch), intAttr("num_heads", heads), floatAttr("scale", 1/math.Sqrt(float64(d)))},
		out{q.DType, q.Shape}, out{Float32, []int{batch, heads, t}},
		out{q.DType, []int{batch, heads, t, s}}, out{q.DType, []int{batch, heads, t, d}}, keys, keys)[0]
}

// P = softmax(s·q·kᵀ), y = P·v:  dv = Pᵀ·dy,  dS = P∘(dP − Σ dP∘P) for dP = dy·vᵀ,
// dq = s·dS·k,  dk = s·dSᵀ·q; and Σ_j dP∘P = Σ_c dy∘y.
func attentionGrad(b *Builder, n *Node, dy []*Value) []*Value {
	q, k, v := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	return b.composite("AttentionGrad", append([]*Value{dy[0], q, k, v}, n.Outputs...), n.Attrs,
		out{q.DType, q.Shape}, out{k.DType, k.Shape}, out{v.DType, v.Shape})
}

// splitHeads makes [N, heads, T, d] of [N·T, C].
func (b *Builder) splitHeads(n *Node, x *Value) *Value {
	batch, heads := n.Int("batch", 1), n.Int("num_heads", 1)
	return b.Transpose(b.Reshape(x, batch, x.Dim(0)/batch, heads, x.Dim(1)/heads), 0, 2, 1, 3)
}

// joinHeads is splitHeads' inverse.
func (b *Builder) joinHeads(x *Value, shape []int) *Value {
	return b.Reshape(b.Transpose(x, 0, 2, 1, 3), shape...)
}

func lowerAttention(b *Builder, n *Node, in []*Value) []*Value {
	q, k, v := b.splitHeads(n, in[0]), b.splitHeads(n, in[1]), b.splitHeads(n, in[2])
	scores := b.FusedMatMul(q, k, false, true, n.Float("scale", 1))
	weights := b.Softmax(scores)
	most := b.ReduceMax(scores, true, 3)
	stats := b.Add(most, b.Log(b.ReduceSum(b.Exp(b.Sub(scores, most)), true, 3)))
	return []*Value{b.joinHeads(b.MatMul(weights, v), in[0].Shape), b.Cast(b.Reshape(stats, n.Outputs[1].Shape...), Float32), weights, q, k, v}
}

func lowerAttentionGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy, scale := b.splitHeads(n, in[0]), n.Float("scale", 1)
	weights, q, k, v := in[6], in[7], in[8], in[9]
	t := b.Mul(b.FusedMatMul(dy, v, false, true, 1), weights)
	ds := b.Sub(t, b.Mul(weights, b.ReduceSum(t, true, -1)))
	return []*Value{
		b.joinHeads(b.FusedMatMul(ds, k, false, false, scale), in[1].Shape),
		b.joinHeads(b.FusedMatMul(ds, q, true, false, scale), in[2].Shape),
		b.joinHeads(b.FusedMatMul(weights, dy, true, false, 1), in[3].Shape),
	}
}
