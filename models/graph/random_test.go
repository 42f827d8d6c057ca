package graph_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"immiscible/models/graph"
)

// randomExpression grows a graph from inputs of several shapes: each step takes
// earlier values, so that values are used several times or never, and keeps its
// result within tanh where it could grow. The loss joins the last three values.
func randomExpression(r *rand.Rand, b *graph.Builder, xs []*graph.Value) *graph.Value {
	pool := slices.Clone(xs)
	pick := func() *graph.Value { return pool[r.IntN(len(pool))] }
	tame := func(x *graph.Value) *graph.Value { return b.Add(b.Mul(x, x), b.Scalar(1)) } // ≥ 1
	unaries := []func(x *graph.Value) *graph.Value{
		b.Neg, b.Sin, b.Cos, b.Sigmoid, b.Tanh, b.Erf, b.Softplus, b.SiLU, b.GELU, b.Mish, b.Identity,
		func(x *graph.Value) *graph.Value { return b.Sqrt(tame(x)) },
		func(x *graph.Value) *graph.Value { return b.Log(tame(x)) },
		func(x *graph.Value) *graph.Value { return b.Exp(b.Tanh(x)) },
		func(x *graph.Value) *graph.Value { return b.Pow(tame(x), b.Scalar(0.7)) },
	}
	for range 3 + r.IntN(8) {
		x, y := pick(), pick()
		var z *graph.Value
		switch kind := r.IntN(11); {
		case kind < 3:
			z = unaries[r.IntN(len(unaries))](x)
		case kind < 6 && canBroadcast(x, y):
			z = []func() *graph.Value{
				func() *graph.Value { return b.Add(x, y) },
				func() *graph.Value { return b.Sub(x, y) },
				func() *graph.Value { return b.Tanh(b.Mul(x, y)) },
				func() *graph.Value { return b.Div(x, tame(y)) },
				func() *graph.Value { return b.Where(b.Greater(b.Scalar(0), b.Scalar(float64(r.IntN(2))-0.5)), x, y) },
			}[r.IntN(5)]()
		case kind < 8 && x.Rank() > 0:
			reduce := []func(*graph.Value, bool, ...int) *graph.Value{b.ReduceSum, b.ReduceMean, b.ReduceSumSquare}[r.IntN(3)]
			z = b.Tanh(reduce(x, r.IntN(2) == 0, r.IntN(x.Rank())))
		case kind < 10 || x.Rank() < 2:
			z = randomMove(r, b, x)
		default: // half in mixed precision
			z = b.Tanh(b.MatMul(x, b.Full(0.25, x.Dim(-1), 3)))
		}
		pool = append(pool, z)
	}
	loss := b.Scalar(0)
	for _, v := range pool[len(pool)-3:] {
		loss = b.Add(loss, b.ReduceMean(v, false))
	}
	return loss
}

// randomMove changes the shape of x.
func randomMove(r *rand.Rand, b *graph.Builder, x *graph.Value) *graph.Value {
	if x.Rank() == 0 {
		return b.Expand(x, 2, 3)
	}
	axis := r.IntN(x.Rank())
	switch r.IntN(6) {
	case 0:
		return b.Reshape(x, -1)
	case 1:
		return b.Transpose(x, r.Perm(x.Rank())...)
	case 2:
		return b.Concat(axis, x, b.Tanh(x), x)
	case 3:
		return b.Slice(x, []int{axis}, []int{0}, []int{x.Dim(axis)}, []int{2})
	case 4:
		return b.Softmax(x)
	}
	parts := b.Split(b.Concat(axis, x, x), axis, x.Dim(axis)*2-1, 1)
	return parts[r.IntN(2)]
}

func canBroadcast(x, y *graph.Value) bool {
	for i := 1; i <= min(x.Rank(), y.Rank()); i++ {
		if dx, dy := x.Dim(-i), y.Dim(-i); dx != dy && dx != 1 && dy != 1 {
			return false
		}
	}
	return true
}

// FuzzRandomExpressions checks the gradients of random expressions by
// differences, their lowered form, and their native one for a GPU. Some ten operators in a row multiply the
// third derivative and the constants' roundings: 1e-6 instead of the rows' 1e-8.
func FuzzRandomExpressions(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		program := func(gradients bool) *graph.Graph {
			g, err := graph.Build("random", func(b *graph.Builder) {
				var xs []*graph.Value
				for i, shape := range [][]int{{2, 3}, {3}, {2, 1}, {1, 2, 3}} {
					xs = append(xs, b.Input(fmt.Sprintf("x%d", i), graph.Float32, shape...))
				}
				loss := randomExpression(rand.New(rand.NewPCG(seed, 2)), b.At("expression"), xs)
				b.Output("loss", loss)
				if gradients {
					for i, d := range b.Grad(loss, xs) {
						b.Output(fmt.Sprintf("d(x%d)", i), d)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		forward, backward := program(false), program(true)
		values := map[string][]float64{}
		source := rand.New(rand.NewPCG(seed, 3))
		for _, v := range forward.Inputs {
			for range v.Numel() {
				values[v.Node.Name] = append(values[v.Node.Name], source.NormFloat64())
			}
		}
		checkDerivatives(t, forward, backward, values, differenceStep, 1e-6)
		lowered, err := graph.Lower(backward)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, evaluate(t, lowered, values), evaluate(t, backward, values), lowerTolerance)
		encode(t, backward)
		sameNative(t, backward, "cuda", values, lowerTolerance)
		mixed, err := graph.MixedPrecision(backward, graph.Float16, "cuda")
		if err != nil {
			t.Fatal(err)
		}
		sameNative(t, mixed, "cuda", values, lowerTolerance)
	})
}
