package graph_test

import (
	"fmt"

	"immiscible/models/graph"
)

func normRows() []row {
	var list []row
	for _, shape := range [][]int{{3, 5}, {2, 3, 8}, {2, 1, 2, 4}, {6}} {
		d := shape[len(shape)-1]
		norm := func(b *graph.Builder, x []*graph.Value) *graph.Value {
			var bias *graph.Value
			if len(x) == 3 {
				bias = x[2]
			}
			y, _, _ := b.LayerNormalization(x[0], x[1], bias, 1e-5)
			return y
		}
		list = append(list,
			row{op: "LayerNormalization", name: fmt.Sprint(shape, " bias"), in: []arg{normal(shape...), normal(d), normal(d)}, build: one(norm)},
			row{op: "LayerNormalization", name: fmt.Sprint(shape), in: []arg{normal(shape...), normal(d)}, build: one(norm)},
			row{op: "Softmax", name: fmt.Sprint(shape), in: []arg{normal(shape...)}, build: with1((*graph.Builder).Softmax)})
	}
	for _, g := range []struct {
		shape  []int
		groups int
		eps    float64
		tol    float64
	}{
		{[]int{2, 8, 2, 4}, 4, 1e-5, 0},
		{[]int{2, 4, 4, 2}, 4, 1e-6, 0}, // one channel a group
		{[]int{3, 4, 2, 4}, 1, 1e-5, 0}, // one group
		{[]int{1, 8, 4}, 2, 1e-3, 0},
		{[]int{2, 6, 3, 3}, 2, 1e-5, constTolerance}, // 1/27 in the lowering
		{[]int{2, 4, 1, 1, 2}, 2, 1e-5, 0},
	} {
		list = append(list, row{op: "GroupNormalization", name: fmt.Sprint(g.shape, g.groups), tol: g.tol,
			in: []arg{normal(g.shape...), normal(g.shape[1]), normal(g.shape[1])},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.GroupNormalization(x[0], x[1], x[2], g.groups, g.eps)
			})})
	}
	return list
}
