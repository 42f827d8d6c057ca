package graph_test

import (
	"fmt"
	"slices"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// Whatever the pass fuses or keeps, the graph computes the same; in the types of
// mixed precision too, of which refeval rounds the constants alone.
func TestNativeEqualsUnlowered(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.String(), func(t *testing.T) {
			g := build(t, r, true)
			values := r.values(g)
			for _, provider := range []string{"cpu", "cuda"} {
				sameNative(t, g, provider, values, max(lowerTolerance, r.tol))
			}
			mixed, err := graph.MixedPrecision(g, graph.Float16, "cuda")
			if err != nil {
				t.Fatal(err)
			}
			sameNative(t, mixed, "cuda", values, lowerTolerance)
		})
	}
}

// sameNative holds a graph's native form for a provider to the graph itself.
func sameNative(t *testing.T, g *graph.Graph, provider string, values map[string][]float64, tol float64) {
	t.Helper()
	native, err := graph.Native(g, provider)
	if err != nil {
		t.Fatal(err)
	}
	ordered(t, native)
	compare(t, evaluate(t, native, values), evaluate(t, g, values), tol)
	m, err := g.NativeModel(provider)
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
}

// ordered checks what every pass leaves behind: nodes stand after those that they
// read, and each output knows its node.
func ordered(t *testing.T, g *graph.Graph) {
	t.Helper()
	made := map[*graph.Node]bool{}
	for _, n := range g.Nodes {
		for _, x := range n.Inputs {
			if x != nil && !made[x.Node] {
				t.Errorf("%s reads %v before it is made", n.Op, x)
			}
		}
		made[n] = true
		for k, y := range n.Outputs {
			if y.Node != n || y.Index != k {
				t.Errorf("output %d of %s says that it is output %d of %s", k, n.Op, y.Index, y.Node.Op)
			}
		}
	}
}

// A norm and the SiLU after it become one where nothing else reads what is
// between them, and so do their derivatives.
func TestNativeFuses(t *testing.T) {
	type values = []*graph.Value
	norm := func(b *graph.Builder, x values) *graph.Value {
		return b.GroupNormalization(x[0], x[1], x[2], 2, 1e-5)
	}
	silu := func(b *graph.Builder, x values) *graph.Value { return b.SiLU(norm(b, x)) }
	// train makes outputs of the gradients of Σ y².
	train := func(b *graph.Builder, x values, y *graph.Value) {
		for i, d := range b.Grad(b.ReduceSumSquare(y, false), x) {
			b.Output(fmt.Sprint(y, " d", i), d)
		}
	}
	for _, c := range []struct {
		name              string
		forward, backward int
		f                 func(b *graph.Builder, x values)
	}{
		{"forward", 1, 0, func(b *graph.Builder, x values) { b.Output("y", silu(b, x)) }},
		{"forward and backward", 1, 1, func(b *graph.Builder, x values) { train(b, x, silu(b, x)) }},
		{"the result is used twice", 1, 1, func(b *graph.Builder, x values) { y := silu(b, x); train(b, x, b.Mul(y, b.Add(y, x[0]))) }},
		{"two in a row", 2, 2, func(b *graph.Builder, x values) { train(b, x, silu(b, values{silu(b, x), x[1], x[2]})) }},
		{"two norms of one image", 2, 2, func(b *graph.Builder, x values) {
			train(b, x, b.Add(silu(b, x), silu(b, values{x[0], x[2], x[1]})))
		}},
		{"two norms, one SiLU", 1, 1, func(b *graph.Builder, x values) {
			train(b, x, b.Mul(silu(b, x), norm(b, values{x[0], x[2], x[1]})))
		}},
		{"no SiLU", 0, 0, func(b *graph.Builder, x values) { train(b, x, b.Tanh(norm(b, x))) }},
		{"another factor", 0, 0, func(b *graph.Builder, x values) {
			z := norm(b, x)
			b.Output("y", b.Raw("QuickGelu", "com.microsoft", values{z}, z.Shape...)) // alpha 1.702
		}},
		{"the norm is read", 0, 0, func(b *graph.Builder, x values) { z := norm(b, x); train(b, x, b.Add(b.SiLU(z), z)) }},
		{"the norm is an output", 0, 0, func(b *graph.Builder, x values) {
			z := norm(b, x)
			b.Output("z", z)
			b.Output("y", b.SiLU(z))
		}},
		{"two SiLUs", 0, 0, func(b *graph.Builder, x values) {
			z := norm(b, x)
			b.Output("y", b.Mul(b.SiLU(z), b.SiLU(z)))
		}},
		{"two losses", 0, 0, func(b *graph.Builder, x values) {
			y := silu(b, x)
			train(b, x, y)
			train(b.At("again"), x, b.Exp(y))
		}},
		{"the gradient is an output", 0, 0, func(b *graph.Builder, x values) {
			z := norm(b, x)
			loss := b.ReduceSumSquare(b.SiLU(z), false)
			for i, d := range b.Grad(loss, values{x[0], z}) {
				b.Output(fmt.Sprint("d", i), d)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := graph.Build("test", func(b *graph.Builder) {
				c.f(b, values{b.Input("x", graph.Float32, 2, 4, 2, 4), b.Input("scale", graph.Float32, 4), b.Input("bias", graph.Float32, 4)})
			})
			if err != nil {
				t.Fatal(err)
			}
			native, err := graph.Native(g, "cpu")
			if err != nil {
				t.Fatal(err)
			}
			forward, backward := 0, 0
			for _, n := range native.Nodes {
				fused := slices.ContainsFunc(n.Attrs, func(a graph.Attr) bool { return a.Name == "activation" })
				switch {
				case n.Op == "GroupNormalization" && fused:
					forward++
				case n.Op == "GroupNormalizationGrad" && fused:
					backward++
				case n.Op == "QuickGeluGrad" && len(n.Inputs) != 2:
					t.Errorf("QuickGeluGrad has %d inputs, want dy and x", len(n.Inputs))
				}
			}
			if forward != c.forward || backward != c.backward {
				t.Errorf("%d forward and %d backward fusions, want %d and %d", forward, backward, c.forward, c.backward)
			}
			inputs := row{in: []arg{normal(2, 4, 2, 4), normal(4), normal(4)}}.values(g)
			compare(t, evaluate(t, native, inputs), evaluate(t, g, inputs), lowerTolerance)
		})
	}
}
