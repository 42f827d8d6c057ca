package graph_test

import (
	"fmt"

	"immiscible/models/graph"
)

func matrixRows() []row {
	var list []row
	swap := func(shape []int, swap bool) []int {
		s := append([]int{}, shape...)
		if r := len(s); swap {
			s[r-2], s[r-1] = s[r-1], s[r-2]
		}
		return s
	}
	for _, s := range [][2][]int{ // plain, batched, shared weight, broadcast batches, vectors
		{{3, 4}, {4, 5}}, {{2, 3, 4}, {2, 4, 5}}, {{2, 3, 4}, {4, 5}}, {{2, 2, 3, 4}, {4, 5}}, {{3, 4}, {2, 4, 5}},
		{{2, 1, 3, 4}, {2, 4, 5}}, {{1, 3, 4}, {2, 4, 5}}, {{2, 3, 4}, {1, 4, 5}}, {{1, 4}, {4, 1}}, {{2, 3, 1}, {2, 1, 5}},
	} {
		for mode := range 8 {
			tx, ty, alpha := mode&1 != 0, mode&2 != 0, 1-0.75*float64(mode>>2)
			op := "FusedMatMul"
			if mode == 0 {
				op = "MatMul"
			}
			list = append(list, row{op: op, name: fmt.Sprint(s, tx, ty, alpha), exact: true,
				in: []arg{normal(swap(s[0], tx)...), normal(swap(s[1], ty)...)},
				build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
					return b.FusedMatMul(x[0], x[1], tx, ty, alpha)
				})})
		}
	}
	return append(list,
		row{op: "Gemm", name: "bias", in: []arg{normal(3, 4), normal(5, 4), normal(5)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Gemm(x[0], x[1], x[2]) })},
		row{op: "Gemm", name: "no bias", in: []arg{normal(3, 4), normal(5, 4)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Gemm(x[0], x[1], nil) })},
		row{op: "Gemm", name: "one row", in: []arg{normal(1, 4), normal(1, 4), normal(1)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Gemm(x[0], x[1], x[2]) })},
		row{op: "MatMul", name: "with itself", in: []arg{normal(4, 4)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.MatMul(x[0], x[0]) })},
		row{op: "FusedMatMul", name: "Gram matrix", in: []arg{normal(2, 3, 4)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.FusedMatMul(x[0], x[0], false, true, 0.5)
			})},
	)
}
