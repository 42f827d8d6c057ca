package graph_test

import (
	"fmt"

	"immiscible/models/graph"
)

func shapeRows() []row {
	// move is a row for an operator that only moves or adds elements: linear.
	move := func(op, name string, f func(b *graph.Builder, x []*graph.Value) []*graph.Value, shapes ...[]int) row {
		r := row{op: op, name: name, build: f, exact: true}
		for _, s := range shapes {
			r.in = append(r.in, normal(s...))
		}
		return r
	}
	list := reduceRows()
	list = append(list,
		move("Reshape", "fewer dimensions", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Reshape(x[0], 4, -1) }), []int{2, 2, 3}),
		move("Reshape", "to a scalar", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Reshape(x[0]) }), []int{1, 1}),
		move("Reshape", "from a scalar", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Reshape(x[0], 1, 1) }), []int{}),
		move("Transpose", "swap", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Transpose(x[0], 1, 0) }), []int{2, 3}),
		move("Transpose", "cycle", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Transpose(x[0], 2, 3, 0, 1) }), []int{2, 3, 4, 5}),
		move("Transpose", "cycle of three", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Transpose(x[0], 2, 0, 1) }), []int{2, 3, 4}),
		move("Concat", "three along 1", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Concat(1, x...) }), []int{2, 1, 3}, []int{2, 4, 3}, []int{2, 2, 3}),
		move("Concat", "three along -1", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Concat(-1, x...) }), []int{2, 1}, []int{2, 3}, []int{2, 2}),
		move("Concat", "with itself", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Concat(0, x[0], x[0]) }), []int{2, 3}),
		move("Slice", "both ends", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.SliceAxis(x[0], 1, 1, 4) }), []int{2, 5}),
		move("Slice", "negative axis", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.SliceAxis(x[0], -2, 0, 2) }), []int{3, 4}),
		move("Split", "three parts", func(b *graph.Builder, x []*graph.Value) []*graph.Value { return b.Split(x[0], 1, 2, 1, 3) }, []int{2, 6}),
		move("Split", "unused part", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			parts := b.Split(x[0], -1, 2, 1, 3)
			return []*graph.Value{parts[2], parts[0]}
		}, []int{2, 6}),
		move("Expand", "new dimensions", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Expand(x[0], 4, 2, 3) }), []int{3}),
		move("Expand", "dimensions of 1", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Expand(x[0], 2, 4, 3, 5) }), []int{2, 1, 3, 1}),
		move("Expand", "a scalar", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Expand(x[0], 2, 3) }), []int{}),
		move("Pad", "two dimensions", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Pad(x[0], 0, 1, 0, 2, 0, 3) }), []int{2, 3, 2}),
		move("Pad", "before only", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Pad(x[0], 2, 0) }), []int{3}),
		move("Pad", "Dilate", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Dilate(x[0], 1, 3) }), []int{2, 3, 2}),
		move("ReduceSum", "SumTo", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.SumTo(x[0], []int{3, 1, 5, 1}) }), []int{2, 3, 4, 5, 6}),
		move("ReduceSum", "SumTo a scalar", one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.SumTo(x[0], nil) }), []int{2, 1, 3}),
	)
	for _, s := range []struct{ axes, starts, ends, steps []int }{
		{[]int{1}, []int{0}, []int{7}, []int{2}},
		{[]int{1}, []int{1}, []int{6}, []int{2}},
		{[]int{1}, []int{2}, []int{7}, []int{3}},
		{[]int{1}, []int{3}, []int{5}, []int{9}},
		{[]int{0, 1}, []int{1, 1}, []int{4, 7}, []int{2, 3}},
		{[]int{-1, 0}, []int{0, 2}, []int{5, 4}, []int{4, 1}},
	} {
		list = append(list, move("Slice", fmt.Sprint("steps ", s), one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.Slice(x[0], s.axes, s.starts, s.ends, s.steps)
		}), []int{4, 7}))
	}
	for _, g := range []struct{ x, indices []int }{{[]int{4, 3}, []int{5}}, {[]int{4, 3}, []int{}}, {[]int{4}, []int{5}}, {[]int{4, 2, 3}, []int{2, 3}}} {
		repeated := []float64{2, 0, 2, 3, 2, 0}
		n := 1
		for _, d := range g.indices {
			n *= d
		}
		list = append(list, row{op: "Gather", name: fmt.Sprint(g.x, g.indices), exact: true,
			in:    []arg{normal(g.x...), ints(repeated[:n], g.indices...)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Gather(x[0], x[1], 0) })})
	}
	return list
}

func reduceRows() []row {
	var list []row
	for _, reduce := range []struct {
		op string
		f  func(b *graph.Builder, x *graph.Value, keepDims bool, axes ...int) *graph.Value
	}{
		{"ReduceSum", (*graph.Builder).ReduceSum},
		{"ReduceMean", (*graph.Builder).ReduceMean},
		{"ReduceSumSquare", (*graph.Builder).ReduceSumSquare},
	} {
		for _, axes := range [][]int{{}, {0}, {1}, {-1}, {0, 2}, {2, 1}, {0, 1, 2}} {
			for _, keep := range []bool{false, true} {
				r := row{op: reduce.op, name: fmt.Sprint(axes, keep), in: []arg{normal(2, 3, 4)}, exact: true,
					build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return reduce.f(b, x[0], keep, axes...) })}
				if reduce.op == "ReduceMean" {
					r.tol = constTolerance // 1/3 and the like
				}
				list = append(list, r)
			}
		}
		list = append(list, row{op: reduce.op, name: "a scalar", in: []arg{normal()}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return reduce.f(b, x[0], false) })})
	}
	return list
}
