package graph_test

import (
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// Whatever the pass fuses or keeps, the graph computes the same.
func TestNativeEqualsUnlowered(t *testing.T) {
	for _, r := range append(rows(), fusionRows()...) {
		t.Run(r.String(), func(t *testing.T) {
			g := build(t, r, true)
			native, err := graph.Native(g)
			if err != nil {
				t.Fatal(err)
			}
			values := r.values(g)
			compare(t, evaluate(t, native, values), evaluate(t, g, values), max(lowerTolerance, r.tol))
			m, err := g.NativeModel()
			if err != nil {
				t.Fatal(err)
			}
			if err := onnx.Check(m); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// fusionRows are group normalisations around which a fusion may or may not be
// made; the number of fused ones is in fusions.
func fusionRows() []row {
	in := []arg{normal(2, 4, 2, 4), normal(4), normal(4)}
	norm := func(b *graph.Builder, x []*graph.Value) *graph.Value {
		return b.GroupNormalization(x[0], x[1], x[2], 2, 1e-5)
	}
	fusion := func(name string, f func(b *graph.Builder, x []*graph.Value) []*graph.Value) row {
		return row{op: "GroupNormalization", name: name, in: in, build: f}
	}
	return []row{
		fusion("then SiLU", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			return []*graph.Value{b.SiLU(norm(b, x))}
		}),
		fusion("then SiLU, used twice", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			y := b.SiLU(norm(b, x))
			return []*graph.Value{b.Mul(y, y), y}
		}),
		fusion("then SiLU, twice in a row", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			y := b.SiLU(norm(b, x))
			return []*graph.Value{b.SiLU(norm(b, []*graph.Value{y, x[1], x[2]}))}
		}),
		fusion("then SiLU, and the norm is used too", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			z := norm(b, x)
			return []*graph.Value{b.Add(b.SiLU(z), z)}
		}),
		fusion("then SiLU, and the norm is an output", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			z := norm(b, x)
			return []*graph.Value{b.SiLU(z), z}
		}),
		fusion("then two SiLUs", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			z := norm(b, x)
			return []*graph.Value{b.SiLU(z), b.Neg(b.SiLU(z))}
		}),
		fusion("one input, two norms", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Add(b.SiLU(norm(b, x)), b.SiLU(norm(b, []*graph.Value{x[0], x[2], x[1]})))}
		}),
		fusion("one input, two norms, one SiLU", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Mul(b.SiLU(norm(b, x)), norm(b, []*graph.Value{x[0], x[2], x[1]}))}
		}),
		fusion("then another activation", func(b *graph.Builder, x []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Tanh(norm(b, x))}
		}),
	}
}

// fusions counts fused normalisations, forward and backward, of each fusion row.
var fusions = map[string][2]int{
	"then SiLU": {1, 1}, "then SiLU, used twice": {1, 1}, "then SiLU, twice in a row": {2, 2},
	"then SiLU, and the norm is used too": {0, 0}, "then SiLU, and the norm is an output": {0, 0},
	"then two SiLUs": {0, 0}, "one input, two norms": {2, 2}, "one input, two norms, one SiLU": {1, 1},
	"then another activation": {0, 0},
}

func TestNativeFuses(t *testing.T) {
	for _, r := range fusionRows() {
		native, err := graph.Native(build(t, r, true))
		if err != nil {
			t.Fatal(err)
		}
		var got [2]int
		loose := 0
		for _, n := range native.Nodes {
			fused := len(n.Attrs) > 0 && n.Attrs[len(n.Attrs)-1] == graph.Attr{Name: "activation", Value: "silu"}
			switch {
			case n.Op == "GroupNormalization" && fused:
				got[0]++
			case n.Op == "GroupNormalizationGrad" && fused:
				got[1]++
			case n.Op == "QuickGelu" || n.Op == "QuickGeluGrad":
				loose++
			}
		}
		if got != fusions[r.name] {
			t.Errorf("%s: %v fused, want %v", r.name, got, fusions[r.name])
		}
		if fused := got[0] > 0; fused && loose > 0 {
			t.Errorf("%s: %d activations are left beside the fused ones", r.name, loose)
		}
	}
}
