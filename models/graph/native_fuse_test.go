package graph_test

import (
	"fmt"
	"maps"
	"testing"

	"immiscible/models/graph"
)

// counted are the nodes of a native graph that TestNativeTakesIn looks at: those
// that could have been taken in, and those that have taken something in.
func counted(g *graph.Graph) map[string]int {
	addend := map[string]int{"Conv": 4, "ConvInputGrad": 3, "GroupNormalizationGrad": 7}
	count := map[string]int{}
	for _, n := range g.Nodes {
		switch {
		case n.Op == "Add":
			count[n.Op]++
		case addend[n.Op] > 0 && len(n.Inputs) == addend[n.Op]:
			count[n.Op+" +"]++
		}
	}
	return count
}

// What stands beside a node with a kernel of our own becomes a part of it where
// nothing else reads what lies between, and the graph computes the same.
func TestNativeTakesIn(t *testing.T) {
	type values = []*graph.Value
	same := graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}
	// x0 image [2, 4, 3, 4], x1 kernel [4, 4, 3, 3], x2 bias [4], x3 scale [4],
	// x4 [2, 4].
	conv := func(b *graph.Builder, x values) *graph.Value { return b.Conv(x[0], x[1], x[2], same) }
	norm := func(b *graph.Builder, x values) *graph.Value {
		return b.GroupNormalization(x[0], x[3], x[2], 2, 1e-5)
	}
	// train makes outputs of the gradients of Σ y².
	train := func(b *graph.Builder, y *graph.Value, wrt ...*graph.Value) {
		for i, d := range b.Grad(b.ReduceSumSquare(y, false), wrt) {
			b.Output(fmt.Sprint(y, " d", i), d)
		}
	}
	for _, c := range []struct {
		name string
		want map[string]int
		f    func(b *graph.Builder, x values)
	}{
		{"a residual", map[string]int{"Conv +": 1}, func(b *graph.Builder, x values) { b.Output("y", b.Add(x[0], conv(b, x))) }},
		{"no bias", map[string]int{"Conv +": 1}, func(b *graph.Builder, x values) { b.Output("y", b.Add(b.Conv(x[0], x[1], nil, same), x[0])) }},
		{"a time embedding, which is known later", map[string]int{"Conv +": 1}, func(b *graph.Builder, x values) {
			y := conv(b, x)
			b.Output("y", b.Add(y, b.Reshape(b.Sin(x[4]), 2, 4, 1, 1)))
		}},
		{"a transposed convolution's bias", map[string]int{"ConvInputGrad +": 1}, func(b *graph.Builder, x values) {
			b.Output("y", b.Add(b.ConvTranspose(x[0], x[1], same, 3, 4), b.Reshape(x[2], 1, 4, 1, 1)))
		}},
		{"two convolutions", map[string]int{"Conv +": 1}, func(b *graph.Builder, x values) {
			b.Output("y", b.Add(b.Conv(b.Sin(x[0]), x[1], x[2], same), conv(b, x)))
		}},
		{"three terms", map[string]int{"Conv +": 1, "Add": 1}, func(b *graph.Builder, x values) {
			b.Output("y", b.Add(b.Add(conv(b, x), x[0]), b.Sin(x[0])))
		}},
		{"the result is read", map[string]int{"Add": 1}, func(b *graph.Builder, x values) {
			y := conv(b, x)
			b.Output("y", b.Add(y, x[0]))
			b.Output("z", b.Sin(y))
		}},
		{"the result is an output", map[string]int{"Add": 1}, func(b *graph.Builder, x values) {
			y := conv(b, x)
			b.Output("y", y)
			b.Output("z", b.Add(y, x[0]))
		}},
		{"twice the result", map[string]int{"Add": 1}, func(b *graph.Builder, x values) { y := conv(b, x); b.Output("y", b.Add(y, y)) }},
		{"the result is spread", map[string]int{"Add": 1}, func(b *graph.Builder, x values) {
			b.Output("y", b.Add(b.Conv(b.SliceAxis(b.SliceAxis(x[0], 2, 0, 1), 3, 0, 1), x[1], x[2], same), x[0]))
		}},
		{"a row is added", map[string]int{"Add": 1}, func(b *graph.Builder, x values) {
			b.Output("y", b.Add(conv(b, x), x[2]))
		}},
		{"float16, of which there are no kernels", map[string]int{"Add": 1}, func(b *graph.Builder, x values) {
			half := func(v *graph.Value) *graph.Value { return b.Cast(v, graph.Float16) }
			b.Output("y", b.Add(b.Conv(half(x[0]), half(x[1]), half(x[2]), same), half(x[0])))
		}},
		{"a residual's gradients", map[string]int{"Conv +": 1, "ConvInputGrad +": 1}, func(b *graph.Builder, x values) {
			train(b, b.Add(x[0], conv(b, x)), x[0], x[1], x[2])
		}},
		{"a norm's gradient joins another", map[string]int{"GroupNormalizationGrad +": 1}, func(b *graph.Builder, x values) {
			b.Output("loss", b.Grad(b.Add(b.ReduceSum(b.Sin(norm(b, x)), false), b.ReduceSum(b.Sin(x[0]), false)), x[:1])[0])
		}},
		{"the gradient of a scale is read before", map[string]int{"Add": 1}, func(b *graph.Builder, x values) {
			d := b.Grad(b.ReduceSum(b.Sin(norm(b, x)), false), values{x[0], x[3]})
			b.Output("y", b.Add(d[0], b.Reshape(b.Mul(d[1], d[1]), 1, 4, 1, 1)))
		}},
		{"the gradient of a scale is added", map[string]int{"Add": 1}, func(b *graph.Builder, x values) {
			d := b.Grad(b.ReduceSum(b.Sin(norm(b, x)), false), values{x[0], x[3]})
			b.Output("y", b.Add(d[0], b.Expand(b.Reshape(b.Mul(d[1], d[1]), 1, 4, 1, 1), 2, 4, 3, 4)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := []arg{normal(2, 4, 3, 4), normal(4, 4, 3, 3), normal(4), normal(4), normal(2, 4)}
			g, err := graph.Build("test", func(b *graph.Builder) {
				var xs values
				for i, a := range in {
					xs = append(xs, b.Input(fmt.Sprint("x", i), a.dtype, a.shape...))
				}
				c.f(b, xs)
			})
			if err != nil {
				t.Fatal(err)
			}
			native, err := graph.Native(g, "cpu")
			if err != nil {
				t.Fatal(err)
			}
			got := counted(native)
			if !maps.Equal(got, c.want) {
				t.Errorf("nodes %v, want %v", got, c.want)
			}
			inputs := row{in: in}.values(g)
			compare(t, evaluate(t, native, inputs), evaluate(t, g, inputs), lowerTolerance)
			ordered(t, native)
		})
	}
}
