package graph_test

import (
	"fmt"

	"immiscible/models/graph"
)

func attentionRows() []row {
	var list []row
	for _, c := range []struct{ batch, t, s, heads, d int }{
		{1, 4, 4, 1, 4}, {2, 3, 5, 2, 4}, {2, 1, 4, 1, 1}, {1, 2, 1, 2, 2}, {3, 2, 2, 3, 3},
	} {
		width := c.heads * c.d
		list = append(list, row{op: "Attention", name: fmt.Sprintf("%+v", c), tol: constTolerance, // 1/√d
			in: []arg{normal(c.batch*c.t, width), normal(c.batch*c.s, width), normal(c.batch*c.s, width)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Attention(x[0], x[1], x[2], c.batch, c.heads)
			})})
	}
	return append(list, row{op: "Attention", name: "of one value", in: []arg{normal(4, 4)},
		build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Attention(x[0], x[0], x[0], 2, 1) })})
}
