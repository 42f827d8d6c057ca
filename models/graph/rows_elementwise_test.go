package graph_test

import (
	"fmt"
	"math"
	"math/rand/v2"

	"immiscible/models/graph"
)

// one turns a function with a single result into a row's build.
func one(f func(b *graph.Builder, x []*graph.Value) *graph.Value) func(*graph.Builder, []*graph.Value) []*graph.Value {
	return func(b *graph.Builder, x []*graph.Value) []*graph.Value { return []*graph.Value{f(b, x)} }
}

// with1 and with2 do so for builder methods of one and two values.
func with1(f func(*graph.Builder, *graph.Value) *graph.Value) func(*graph.Builder, []*graph.Value) []*graph.Value {
	return one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return f(b, x[0]) })
}

func with2(f func(_ *graph.Builder, x, y *graph.Value) *graph.Value) func(*graph.Builder, []*graph.Value) []*graph.Value {
	return one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return f(b, x[0], x[1]) })
}

// pairs are operand shapes that broadcast.
var pairs = [][2][]int{
	{{2, 3}, {2, 3}}, {{2, 3}, {3}}, {{2, 3}, {}}, {{}, {2, 3}}, {{3, 1, 2}, {4, 1}},
	{{2, 1, 3, 1}, {2, 4, 3, 5}}, {{1, 1}, {3}}, {{4, 2, 1}, {4, 1, 3}},
}

// below and above draw around integers so that an element of the one is never
// nearer than 0.2 to one of the other.
func below(r *rand.Rand) float64 { return float64(r.IntN(5)-2) + 0.1 + 0.3*r.Float64() }
func above(r *rand.Rand) float64 { return float64(r.IntN(5)-2) + 0.6 + 0.3*r.Float64() }

func elementwiseRows() []row {
	var list []row
	for _, binary := range []struct {
		op    string
		x, y  func(*rand.Rand) float64
		f     func(_ *graph.Builder, x, y *graph.Value) *graph.Value
		exact bool
	}{
		{"Add", (*rand.Rand).NormFloat64, (*rand.Rand).NormFloat64, (*graph.Builder).Add, true},
		{"Sub", (*rand.Rand).NormFloat64, (*rand.Rand).NormFloat64, (*graph.Builder).Sub, true},
		{"Mul", (*rand.Rand).NormFloat64, (*rand.Rand).NormFloat64, (*graph.Builder).Mul, true},
		{"Div", (*rand.Rand).NormFloat64, away(0.5), (*graph.Builder).Div, false},
		{"Pow", uniform(0.5, 2), (*rand.Rand).NormFloat64, (*graph.Builder).Pow, false},
		{"Max", below, above, (*graph.Builder).Max, false},
		{"Min", below, above, (*graph.Builder).Min, false},
	} {
		for _, p := range pairs {
			list = append(list, row{op: binary.op, name: fmt.Sprint(p[0], p[1]), exact: binary.exact,
				in: []arg{drawn(binary.x, p[0]...), drawn(binary.y, p[1]...)}, build: with2(binary.f)})
		}
	}
	for _, unary := range []struct {
		op   string
		draw func(*rand.Rand) float64
		f    func(_ *graph.Builder, x *graph.Value) *graph.Value
		tol  float64
	}{
		{"Neg", (*rand.Rand).NormFloat64, (*graph.Builder).Neg, 0},
		{"Sqrt", uniform(0.3, 3), (*graph.Builder).Sqrt, 0},
		{"Exp", uniform(-3, 3), (*graph.Builder).Exp, 0},
		{"Log", uniform(0.3, 3), (*graph.Builder).Log, 0},
		{"Sin", uniform(-7, 7), (*graph.Builder).Sin, 0},
		{"Cos", uniform(-7, 7), (*graph.Builder).Cos, 0},
		{"Sigmoid", uniform(-6, 6), (*graph.Builder).Sigmoid, 0},
		{"Tanh", uniform(-3, 3), (*graph.Builder).Tanh, 0},
		{"Erf", uniform(-2, 2), (*graph.Builder).Erf, constTolerance}, // 2/√π
		{"Softplus", uniform(-5, 5), (*graph.Builder).Softplus, 0},
		{"Relu", away(0.1), (*graph.Builder).Relu, 0},
		{"QuickGelu", uniform(-6, 6), (*graph.Builder).SiLU, 0},
		{"Identity", (*rand.Rand).NormFloat64, (*graph.Builder).Identity, 0},
	} {
		for _, shape := range [][]int{{3, 5}, {}, {2, 1, 9}} {
			list = append(list, row{op: unary.op, name: fmt.Sprint(shape), tol: unary.tol,
				in: []arg{drawn(unary.draw, shape...)}, build: with1(unary.f)})
		}
	}
	list = append(list, castRows()...)
	for _, s := range [][3][]int{{{2, 3}, {2, 3}, {2, 3}}, {{2, 1}, {3}, {}}, {{}, {2, 1}, {1, 3}}, {{4, 2, 3}, {2, 3}, {1}}} {
		list = append(list, row{op: "Where", name: fmt.Sprint(s), exact: true,
			in:    []arg{coins(s[0]...), normal(s[1]...), normal(s[2]...)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Where(x[0], x[1], x[2]) })})
	}
	return append(list,
		row{op: "Pow", name: "constant exponent, any base", in: []arg{drawn(away(0.3), 7)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Pow(x[0], b.Scalar(3)) })},
		row{op: "Pow", name: "constant base", in: []arg{normal(7)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Pow(b.Scalar(2), x[0]) })},
		row{op: "Max", name: "clamp", in: []arg{drawn(away(0.1), 9)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Min(b.Max(x[0], b.Scalar(-1.05)), b.Scalar(0.05))
			})},
		row{op: "QuickGelu", name: "alpha 1.702", in: []arg{normal(3, 4)}, tol: constTolerance, // the scale alpha
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Raw("QuickGelu", "com.microsoft", x, x[0].Shape...)
			})},
		row{op: "Erf", name: "GELU", in: []arg{drawn(uniform(-3, 3), 3, 4)}, tol: constTolerance, build: with1((*graph.Builder).GELU)},
		row{op: "Softplus", name: "Mish", in: []arg{drawn(uniform(-5, 5), 3, 4)}, build: with1((*graph.Builder).Mish)},
		row{op: "Equal", name: "as a mask", in: []arg{normal(2, 3), ints([]float64{1, 2, 3}, 3), ints([]float64{2, 1}, 2, 1)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Mul(x[0], b.Cast(b.Equal(x[1], x[2]), graph.Float32))
			})},
		row{op: "Greater", name: "as a mask", in: []arg{drawn(below, 3, 4), drawn(above, 4)},
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Mul(x[0], b.Cast(b.Greater(x[0], x[1]), graph.Float32))
			})},
	)
}

func castRows() []row {
	// A float16 has 11 bits, and the gradient is cast to it as well; refeval
	// does not round.
	const half = 1.0 / (1 << 11)
	there := func(to graph.DType) func(*graph.Builder, []*graph.Value) []*graph.Value {
		return one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.Cast(b.Cast(x[0], to), graph.Float32)
		})
	}
	times := func(to graph.DType) func(*graph.Builder, []*graph.Value) []*graph.Value {
		return one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
			return b.Mul(x[0], b.Cast(b.Cast(x[0], to), graph.Float32))
		})
	}
	notInteger := func(r *rand.Rand) float64 { return math.Trunc(8*r.Float64()-4) + 0.2 + 0.6*r.Float64() }
	return []row{
		{op: "Cast", name: "float16 and back", in: []arg{normal(2, 3)}, build: there(graph.Float16), exact: true, ort: half},
		{op: "Cast", name: "int64 and back", in: []arg{drawn(notInteger, 2, 3)}, build: there(graph.Int64)},
		{op: "Cast", name: "times its integer part", in: []arg{drawn(notInteger, 2, 3)}, build: times(graph.Int64)},
		{op: "Cast", name: "times its truth", in: []arg{drawn(away(0.1), 2, 3)}, build: times(graph.Bool)},
		{op: "Cast", name: "an integer input", in: []arg{ints([]float64{3, -4}, 2), normal(2)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.Mul(b.Cast(x[0], graph.Float32), x[1])
			})},
	}
}
