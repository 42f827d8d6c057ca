package graph_test

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"testing"

	"immiscible/models/graph"
)

// dropouts counts the dropout of a graph by its factor, the choices and scalings that
// an output needs, and the inputs that are masks.
func dropouts(t *testing.T, g *graph.Graph) map[string]int {
	t.Helper()
	native, err := graph.Native(g, "cpu")
	if err != nil {
		t.Fatal(err)
	}
	ordered(t, native)
	count := map[string]int{}
	for _, n := range native.Nodes {
		switch {
		case n.Op == "Where", n.Op == "Mul" && n.Inputs[1].Node.Op == "Constant":
			count[n.Op]++
		case n.Op == "Dropout":
			count[fmt.Sprint("×", n.Float("scale", 1))]++
		}
	}
	for _, v := range native.Inputs {
		if v.DType == graph.Bool {
			count["mask"]++
		}
	}
	return count
}

// A mask is drawn where it is read if nobody reads it but dropout, and the graph
// computes the same.
func TestDrawMasks(t *testing.T) {
	type values = []*graph.Value
	draw := func(mask string) (graph.Draw, bool) {
		return graph.Draw{Key: 0x9e3779b97f4a7c15 * uint64(mask[1]), Keep: 1 << 31}, mask != "x4"
	}
	drop := func(b *graph.Builder, x, mask *graph.Value) *graph.Value {
		return b.Where(mask, b.Mul(x, b.Scalar(2)), b.Scalar(0))
	}
	// x0, x1 [2, 3, 5]; x2, x3, x4 masks [2, 3, 5]; x5 a mask [3, 3, 5]
	for _, c := range []struct {
		name string
		want map[string]int
		f    func(b *graph.Builder, x values)
	}{
		{"dropout", map[string]int{"×2": 1, "mask": 3}, func(b *graph.Builder, x values) { b.Output("y", drop(b, x[0], x[2])) }},
		{"dropout and its gradient", map[string]int{"×2": 2, "mask": 3}, func(b *graph.Builder, x values) {
			b.Output("y", b.Grad(b.ReduceSum(b.Sin(drop(b, x[0], x[2])), false), x[:1])[0])
		}},
		{"two layers", map[string]int{"×2": 4, "mask": 2}, func(b *graph.Builder, x values) {
			y := drop(b, b.Sin(drop(b, b.Sin(x[0]), x[2])), x[3])
			b.Output("y", b.Grad(b.ReduceSum(b.Sin(y), false), x[:1])[0])
		}},
		{"two layers of one mask", map[string]int{"×2": 2, "mask": 3}, func(b *graph.Builder, x values) {
			b.Output("y", b.Add(drop(b, x[0], x[2]), drop(b, x[1], x[2])))
		}},
		{"a mask alone", map[string]int{"×1": 1, "mask": 3}, func(b *graph.Builder, x values) { b.Output("y", b.Where(x[2], x[0], b.Scalar(0))) }},
		{"what is scaled is read", map[string]int{"×1": 1, "Mul": 1, "mask": 3}, func(b *graph.Builder, x values) {
			y := b.Mul(x[0], b.Scalar(2))
			b.Output("y", y)
			b.Output("z", b.Where(x[2], y, b.Scalar(0)))
		}},
		{"what has fallen is read", map[string]int{"×1": 1, "Mul": 1, "mask": 3}, func(b *graph.Builder, x values) {
			y := b.Where(x[2], x[0], b.Scalar(0))
			b.Output("y", y)
			b.Output("z", b.Mul(y, b.Scalar(2)))
		}},
		{"the mask is read", map[string]int{"Where": 1, "Mul": 1, "mask": 4}, func(b *graph.Builder, x values) {
			b.Output("y", drop(b, x[0], x[2]))
			b.Output("z", x[2])
		}},
		{"where, but not to 0", map[string]int{"Where": 1, "mask": 4}, func(b *graph.Builder, x values) { b.Output("y", b.Where(x[2], x[0], b.Scalar(1))) }},
		{"where, but spread", map[string]int{"Where": 1, "mask": 4}, func(b *graph.Builder, x values) {
			b.Output("y", b.Where(x[2], b.SliceAxis(x[0], 2, 0, 1), b.Scalar(0)))
		}},
		{"another mask", map[string]int{"Where": 1, "Mul": 1, "mask": 4}, func(b *graph.Builder, x values) { b.Output("y", drop(b, x[0], x[4])) }},
		{"of other examples", map[string]int{"×2": 1, "Where": 1, "Mul": 1, "mask": 3}, func(b *graph.Builder, x values) {
			b.Output("y", drop(b, x[0], x[2]))
			b.Output("z", drop(b, b.Expand(b.SliceAxis(x[0], 0, 0, 1), 3, 3, 5), x[5]))
		}},
		{"float16, of which there is no kernel", map[string]int{"Where": 1, "mask": 4}, func(b *graph.Builder, x values) {
			half := func(v *graph.Value) *graph.Value { return b.Cast(v, graph.Float16) }
			b.Output("y", b.Where(x[2], half(x[0]), half(b.Scalar(0))))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := []arg{normal(2, 3, 5), normal(2, 3, 5), coins(2, 3, 5), coins(2, 3, 5), coins(2, 3, 5), coins(3, 3, 5)}
			declare := func(b *graph.Builder) (xs values) {
				for i, a := range in {
					xs = append(xs, b.Input(fmt.Sprint("x", i), a.dtype, a.shape...))
				}
				return xs
			}
			g, err := graph.Build("test", func(b *graph.Builder) { c.f(b, declare(b)) })
			if err != nil {
				t.Fatal(err)
			}
			drawn, err := graph.DrawMasks(g, "cpu", draw)
			if err != nil {
				t.Fatal(err)
			}
			if got := dropouts(t, drawn); !maps.Equal(got, c.want) {
				t.Errorf("nodes %v, want %v", got, c.want)
			}
			inputs := row{in: in}.values(g)
			inputs["positions"] = []float64{1<<32 + 3, 7}
			// The masks are what is left of ones.
			ones, err := graph.Build("masks", func(b *graph.Builder) {
				for i, mask := range declare(b)[2:4] {
					b.Output(fmt.Sprint("mask", i+2), b.Where(mask, b.Full(1, 2, 3, 5), b.Scalar(0)))
				}
			})
			if err == nil {
				ones, err = graph.DrawMasks(ones, "cpu", draw)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := evaluate(t, drawn, inputs)
			kept := evaluate(t, ones, inputs)
			for name := range inputs {
				if !slices.ContainsFunc(drawn.Inputs, func(v *graph.Value) bool { return v.Node.Name == name }) {
					inputs[name] = kept["mask"+name[1:]]
				}
			}
			compare(t, got, evaluate(t, g, inputs), lowerTolerance)
		})
	}
}

// Half the elements stay, whatever the example and the layer, and no two of them
// alike: of 4096 fair coins 2048 ± 160 are heads but once in a million.
func TestDrawnMasksAreFair(t *testing.T) {
	g, err := graph.Build("masks", func(b *graph.Builder) {
		for i := range 2 {
			mask := b.Input(fmt.Sprint(i), graph.Bool, 2, 64, 64)
			b.Output(fmt.Sprint("y", i), b.Where(mask, b.Full(1, 2, 64, 64), b.Scalar(0)))
		}
	})
	if err == nil {
		g, err = graph.DrawMasks(g, "cuda", func(mask string) (graph.Draw, bool) {
			return graph.Draw{Key: bits.Reverse64(uint64(mask[0])), Keep: 1 << 31}, true
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	y := evaluate(t, g, map[string][]float64{"positions": {4, 5}})
	masks := [][]float64{y["y0"][:4096], y["y0"][4096:], y["y1"][:4096], y["y1"][4096:]}
	for i, a := range masks {
		for j, b := range masks {
			heads := 0
			for k := range a {
				if a[k] != b[k] || i == j && a[k] == 1 {
					heads++
				}
			}
			if heads < 2048-160 || heads > 2048+160 {
				t.Errorf("masks %d and %d: %d of 4096", i, j, heads)
			}
		}
	}
}
