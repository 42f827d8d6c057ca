package graph_test

import "immiscible/models/graph"

// expressionRows use values several times, and put operators together as the
// models do.
func expressionRows() []row {
	type builder = func(b *graph.Builder, x []*graph.Value) *graph.Value
	expression := func(op, name string, f builder, in ...arg) row {
		return row{op: op, name: "expression: " + name, in: in, build: one(f)}
	}
	return []row{
		expression("Mul", "x·x + x", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.Add(b.Mul(x[0], x[0]), x[0])
		}, normal(5)),
		expression("Add", "one value three times, broadcast", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			s := b.Tanh(x[0])
			return b.Add(b.Mul(s, x[1]), b.Sub(b.Mul(s, s), b.Div(x[1], b.Exp(s))))
		}, normal(3), normal(4, 1)),
		expression("Div", "a quotient of itself", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.Div(x[0], b.Sqrt(b.Add(b.ReduceSumSquare(x[0], true, -1), b.Scalar(1))))
		}, normal(3, 4)),
		expression("Add", "two roads that meet", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			h := b.Sin(x[0])
			parts := b.Split(h, 0, 2, 2)
			return b.Concat(0, b.Mul(parts[0], parts[1]), parts[0], b.SliceAxis(h, 0, 1, 3))
		}, normal(4, 2)),
		expression("MatMul", "attention", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			q, k, v := b.MatMul(x[0], x[1]), b.MatMul(x[0], x[2]), b.MatMul(x[0], x[3])
			return b.MatMul(b.Softmax(b.FusedMatMul(q, k, false, true, 0.5)), v)
		}, normal(2, 3, 4), normal(4, 4), normal(4, 4), normal(4, 4)),
		expression("LayerNormalization", "feed-forward", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			h, _, _ := b.LayerNormalization(x[0], x[1], x[2], 1e-5)
			return b.Add(x[0], b.Gemm(b.SiLU(b.Gemm(h, x[3], nil)), x[4], x[5]))
		}, normal(3, 4), normal(4), normal(4), normal(6, 4), normal(4, 6), normal(4)),
		expression("Conv", "residual block with a shared kernel", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			same := graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}
			h := b.Conv(b.SiLU(b.GroupNormalization(x[0], x[1], x[2], 2, 1e-5)), x[3], x[4], same)
			h = b.Add(h, b.Reshape(x[5], 2, 4, 1, 1))
			h = b.Conv(b.SiLU(b.GroupNormalization(h, x[1], x[2], 2, 1e-5)), x[3], x[4], same)
			return b.Resize2x(b.Add(x[0], h))
		}, normal(2, 4, 2, 4), normal(4), normal(4), drawn(uniform(-0.3, 0.3), 4, 4, 3, 3), normal(4), normal(2, 4)),
		expression("Gather", "an embedding used twice", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.FusedMatMul(b.Gather(x[0], x[1], 0), x[0], false, true, 1)
		}, normal(4, 3), ints([]float64{3, 0, 3, 3}, 4)),
		expression("Min", "a norm clipped as optimizers clip", func(b *graph.Builder, x []*graph.Value) *graph.Value {
			norm := b.Sqrt(b.ReduceSumSquare(x[0], false))
			return b.Mul(x[0], b.Min(b.Div(b.Scalar(1), b.Add(norm, b.Scalar(1e-6))), b.Scalar(1)))
		}, normal(3, 4)),
	}
}
