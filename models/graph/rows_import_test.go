package graph_test

import (
	"fmt"
	"math/rand/v2"

	"immiscible/models/graph"
)

// importRows are the operators that only imported graphs use.
func importRows() []row {
	var list []row
	for _, unary := range []struct {
		op   string
		draw func(*rand.Rand) float64
		f    func(_ *graph.Builder, x *graph.Value) *graph.Value
	}{
		{"Abs", away(0.1), (*graph.Builder).Abs},
		{"Tan", uniform(-1, 1), (*graph.Builder).Tan},
		{"Asin", uniform(-0.8, 0.8), (*graph.Builder).Asin},
		{"Acos", uniform(-0.8, 0.8), (*graph.Builder).Acos},
		{"Atan", uniform(-3, 3), (*graph.Builder).Atan},
		{"Sinh", uniform(-2, 2), (*graph.Builder).Sinh},
		{"Cosh", uniform(-2, 2), (*graph.Builder).Cosh},
		{"Asinh", uniform(-3, 3), (*graph.Builder).Asinh},
		{"Acosh", uniform(1.3, 3), (*graph.Builder).Acosh},
		{"Atanh", uniform(-0.8, 0.8), (*graph.Builder).Atanh},
		{"LogSoftmax", uniform(-3, 3), (*graph.Builder).LogSoftmax},
		{"Sign", away(0.1), product((*graph.Builder).Sign)},
		{"Floor", below, product((*graph.Builder).Floor)},
		{"Ceil", below, product((*graph.Builder).Ceil)},
		{"Round", below, product((*graph.Builder).Round)},
	} {
		for _, shape := range [][]int{{3, 5}, {7}} {
			list = append(list, row{op: unary.op, name: fmt.Sprint(shape), in: []arg{drawn(unary.draw, shape...)}, build: with1(unary.f)})
		}
	}
	list = append(list, row{op: "Clip", name: "both ends", in: []arg{drawn(away(0.1), 9)}, tol: constTolerance,
		build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Clip(x[0], -1.05, 0.05) })})
	list = append(list, row{op: "Gelu", name: "fused", in: []arg{drawn(uniform(-3, 3), 3, 4)}, tol: constTolerance, build: with1((*graph.Builder).FusedGELU)})
	list = append(list, logicRows()...)
	list = append(list, reduceExtremumRows()...)
	list = append(list, scatterRows()...)
	return append(list, groupedRows()...)
}

// product is x·f(x), for an f without a gradient.
func product(f func(*graph.Builder, *graph.Value) *graph.Value) func(*graph.Builder, *graph.Value) *graph.Value {
	return func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Mul(x, f(b, x)) }
}

// logicRows use truth values as masks.
func logicRows() []row {
	var list []row
	for _, compare := range []struct {
		op string
		f  func(_ *graph.Builder, x, y *graph.Value) *graph.Value
	}{
		{"Less", (*graph.Builder).Less}, {"LessOrEqual", (*graph.Builder).LessOrEqual}, {"GreaterOrEqual", (*graph.Builder).GreaterOrEqual},
	} {
		list = append(list, row{op: compare.op, name: "as a mask", in: []arg{drawn(below, 3, 4), drawn(above, 4)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Mul(x[0], b.Cast(compare.f(b, x[0], x[1]), graph.Float32))
			})})
	}
	for _, both := range []struct {
		op string
		f  func(_ *graph.Builder, x, y *graph.Value) *graph.Value
	}{
		{"And", (*graph.Builder).And}, {"Or", (*graph.Builder).Or}, {"Xor", (*graph.Builder).Xor},
	} {
		list = append(list, row{op: both.op, name: "as a mask", in: []arg{normal(2, 9), coins(2, 9), coins(9)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Mul(x[0], b.Cast(both.f(b, x[1], x[2]), graph.Float32))
			})})
	}
	mask := func(f func(*graph.Builder, *graph.Value) *graph.Value) func(*graph.Builder, []*graph.Value) []*graph.Value {
		return one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Where(f(b, x[1]), x[0], b.Scalar(0)) })
	}
	return append(list,
		row{op: "Not", name: "as a mask", in: []arg{normal(9), coins(9)}, exact: true, build: mask((*graph.Builder).Not)},
		row{op: "IsNaN", name: "as a mask", in: []arg{normal(9), normal(9)}, exact: true, build: mask((*graph.Builder).IsNaN)},
		row{op: "IsInf", name: "as a mask", in: []arg{normal(9), normal(9)}, exact: true, build: mask((*graph.Builder).IsInf)})
}

func reduceExtremumRows() []row {
	var list []row
	for _, reduce := range []struct {
		op   string
		draw func(*rand.Rand) float64
		f    func(b *graph.Builder, x *graph.Value, keepDims bool, axes ...int) *graph.Value
	}{
		{"ReduceMax", (*rand.Rand).NormFloat64, (*graph.Builder).ReduceMax},
		{"ReduceMin", (*rand.Rand).NormFloat64, (*graph.Builder).ReduceMin},
		{"ReduceProd", away(0.3), (*graph.Builder).ReduceProd},
	} {
		for _, axes := range [][]int{{}, {-1}, {0, 2}} {
			for _, keep := range []bool{false, true} {
				list = append(list, row{op: reduce.op, name: fmt.Sprint(axes, keep), in: []arg{drawn(reduce.draw, 2, 3, 4)},
					build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return reduce.f(b, x[0], keep, axes...) })})
			}
		}
	}
	for _, arg1 := range []struct {
		op string
		f  func(b *graph.Builder, x *graph.Value, axis int, keepDims bool) *graph.Value
	}{{"ArgMax", (*graph.Builder).ArgMax}, {"ArgMin", (*graph.Builder).ArgMin}} {
		for _, axis := range []int{0, -1} {
			list = append(list, row{op: arg1.op, name: fmt.Sprint("times its index ", axis), in: []arg{normal(3, 4)},
				build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
					return b.Mul(x[0], b.Cast(arg1.f(b, x[0], axis, true), graph.Float32))
				})})
		}
		list = append(list, row{op: arg1.op, name: "without its axis", in: []arg{normal(3, 4)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Add(x[0], b.Cast(arg1.f(b, x[0], 0, false), graph.Float32))
			})})
	}
	for _, exclusive := range []bool{false, true} {
		for _, reverse := range []bool{false, true} {
			list = append(list, row{op: "CumSum", name: fmt.Sprint(exclusive, reverse), in: []arg{normal(2, 4, 3)}, exact: true,
				build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.CumSum(x[0], 1, exclusive, reverse) })})
		}
	}
	return list
}

func scatterRows() []row {
	list := []row{
		{op: "GatherElements", name: "repeated", in: []arg{normal(3, 4), ints([]float64{0, 2, 2, 1, 0, 0, 0, -1}, 2, 4)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.GatherElements(x[0], x[1], 0) })},
		{op: "GatherElements", name: "axis -1", in: []arg{normal(2, 3), ints([]float64{2, 0, 1, 1}, 2, 2)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.GatherElements(x[0], x[1], -1) })},
		{op: "GatherND", name: "elements", in: []arg{normal(2, 3), ints([]float64{0, 1, 1, 2, 0, 1}, 3, 2)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.GatherND(x[0], x[1]) })},
		{op: "GatherND", name: "slices", in: []arg{normal(3, 2, 2), ints([]float64{2, 0, 2, -2}, 2, 2, 1)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.GatherND(x[0], x[1]) })},
	}
	for _, axis := range []int{1, 2, -1} {
		list = append(list, row{op: "Gather", name: fmt.Sprint("axis ", axis), exact: true, in: []arg{normal(2, 3, 3), ints([]float64{2, 0, 2, 1}, 2, 2)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Gather(x[0], x[1], axis) })})
	}
	for _, reduction := range []string{"none", "add"} {
		list = append(list,
			row{op: "ScatterElements", name: reduction, in: []arg{normal(3, 3), ints([]float64{2, 0, 1, 2}, 2, 2), normal(2, 2)}, exact: true,
				build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
					return b.ScatterElements(x[0], x[1], x[2], 1, reduction)
				})},
			row{op: "ScatterND", name: reduction, in: []arg{normal(3, 2), ints([]float64{2, 0}, 2, 1), normal(2, 2)}, exact: true,
				build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
					return b.ScatterND(x[0], x[1], x[2], reduction)
				})})
	}
	return append(list, row{op: "ScatterElements", name: "add, repeated", in: []arg{normal(3), ints([]float64{1, 1, 0, 1}, 4), normal(4)}, exact: true,
		build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.ScatterElements(x[0], x[1], x[2], 0, "add")
		})})
}

func groupedRows() []row {
	var list []row
	for _, c := range []struct {
		name string
		x, w []int
		a    graph.GroupedConvAttrs
	}{
		{"two groups", []int{2, 4, 4, 5}, []int{6, 2, 3, 3}, graph.GroupedConvAttrs{Groups: 2, Strides: [2]int{1, 1}, Dilations: [2]int{1, 1}, Pads: [4]int{1, 1, 1, 1}}},
		{"depthwise, stride 2", []int{2, 3, 5, 4}, []int{3, 1, 3, 3}, graph.GroupedConvAttrs{Groups: 3, Strides: [2]int{2, 2}, Dilations: [2]int{1, 1}, Pads: [4]int{1, 1, 1, 1}}},
		{"dilated", []int{1, 2, 6, 7}, []int{3, 2, 3, 2}, graph.GroupedConvAttrs{Groups: 1, Strides: [2]int{1, 1}, Dilations: [2]int{2, 3}, Pads: [4]int{1, 0, 2, 1}}},
		{"two strides, everything", []int{2, 4, 7, 8}, []int{2, 2, 2, 3}, graph.GroupedConvAttrs{Groups: 2, Strides: [2]int{2, 3}, Dilations: [2]int{2, 1}, Pads: [4]int{0, 1, 1, 0}}},
	} {
		conv := func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.GroupedConv(x[0], x[1], append(x, nil)[2], c.a)
		}
		list = append(list,
			row{op: "GroupedConv", name: c.name, in: []arg{normal(c.x...), normal(c.w...)}, exact: true, build: one(conv)},
			row{op: "GroupedConv", name: c.name + ", bias", in: []arg{normal(c.x...), normal(c.w...), normal(c.w[0])}, exact: true, build: one(conv)})
		size := func(i int) int {
			return (c.x[2+i]+c.a.Pads[i]+c.a.Pads[i+2]-c.a.Dilations[i]*(c.w[2+i]-1)-1)/c.a.Strides[i] + 1
		}
		y := []int{c.x[0], c.w[0], size(0), size(1)}
		list = append(list, row{op: "GroupedConvTranspose", name: c.name, in: []arg{normal(y...), normal(c.w...)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.GroupedConvTranspose(x[0], x[1], c.a, c.x[2], c.x[3])
			})})
	}
	for _, p := range []struct {
		name string
		x    []int
		a    graph.PoolAttrs
	}{
		{"2x2", []int{2, 3, 4, 6}, graph.PoolAttrs{Kernel: [2]int{2, 2}, Strides: [2]int{2, 2}, Dilations: [2]int{1, 1}}},
		{"3x3 stride 2 pads 1", []int{1, 2, 7, 6}, graph.PoolAttrs{Kernel: [2]int{3, 3}, Strides: [2]int{2, 2}, Dilations: [2]int{1, 1}, Pads: [4]int{1, 1, 1, 1}}},
		{"3x2 dilated", []int{1, 2, 7, 6}, graph.PoolAttrs{Kernel: [2]int{3, 2}, Strides: [2]int{1, 2}, Dilations: [2]int{2, 3}, Pads: [4]int{1, 0, 0, 1}}},
	} {
		list = append(list, row{op: "MaxPool", name: p.name, in: []arg{normal(p.x...)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.MaxPool(x[0], p.a) })})
	}
	return list
}
