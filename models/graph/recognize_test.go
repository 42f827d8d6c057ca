package graph_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"immiscible/models/graph"
)

// patternOf builds the nodes that exporters write for what Recognize knows, and
// their near misses, which must stay as they are.
func TestRecognize(t *testing.T) {
	groupNorm := func(groups int, eps float64, ones float64) func(b *graph.Builder, x *graph.Value) *graph.Value {
		return func(b *graph.Builder, x *graph.Value) *graph.Value {
			n, c := x.Dim(0), x.Dim(1)
			w, bias := b.Input("w", graph.Float32, c, 1, 1), b.Input("b", graph.Float32, c, 1, 1)
			y := b.GroupNormalization(b.Reshape(x, n, groups, -1), b.Full(ones, groups), b.Full(0, groups), groups, eps)
			return b.Add(bias, b.Mul(b.Reshape(y, x.Shape...), w))
		}
	}
	layerNorm := func(b *graph.Builder, x *graph.Value) *graph.Value {
		w, bias := b.Input("w", graph.Float32, x.Dim(-1)), b.Input("b", graph.Float32, x.Dim(-1))
		d := b.Sub(x, b.ReduceMean(x, true, -1))
		v := b.ReduceMean(b.Mul(d, d), true, -1)
		return b.Add(b.Mul(b.Div(d, b.Sqrt(b.Add(v, b.Scalar(1e-5)))), w), bias)
	}
	root2 := 1.4142135381698608
	for _, c := range []struct {
		name  string
		found string // "": nothing
		shape []int
		f     func(b *graph.Builder, x *graph.Value) *graph.Value
	}{
		{"group norm", "group norm from InstanceNormalization", []int{2, 6, 3, 2}, groupNorm(3, 1e-6, 1)},
		{"group norm with a scale inside", "", []int{2, 6, 3, 2}, groupNorm(3, 1e-6, 2)},
		{"layer norm", "LayerNormalization in pieces", []int{2, 3, 5}, layerNorm},
		{"silu", "SiLU from Sigmoid", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Mul(b.Sigmoid(x), x) }},
		{"quick gelu", "SiLU from Sigmoid", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Mul(x, b.Sigmoid(b.Mul(x, b.Scalar(1.702))))
		}},
		{"the sigmoid is read twice", "", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			s := b.Sigmoid(x)
			return b.Add(b.Mul(s, x), s)
		}},
		{"a gate of something else", "", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Mul(x, b.Sigmoid(b.Neg(x)))
		}},
		{"gelu, half last", "GELU from Erf", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Mul(b.Mul(x, b.Add(b.Erf(b.Div(x, b.Scalar(root2))), b.Scalar(1))), b.Scalar(0.5))
		}},
		{"gelu, half first", "GELU from Erf", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Mul(b.Mul(x, b.Scalar(0.5)), b.Add(b.Scalar(1), b.Erf(b.Mul(x, b.Scalar(1/root2)))))
		}},
		{"gelu, half within", "GELU from Erf", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Mul(x, b.Mul(b.Add(b.Erf(b.Div(x, b.Scalar(root2))), b.Scalar(1)), b.Scalar(0.5)))
		}},
		{"an Erf of something else", "", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Mul(b.Mul(x, b.Add(b.Erf(b.Div(x, b.Scalar(1.5))), b.Scalar(1))), b.Scalar(0.5))
		}},
		{"an image doubled", "convolution of a doubled image", []int{1, 2, 3, 4}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			w, bias := b.Input("w", graph.Float32, 3, 2, 3, 3), b.Input("b", graph.Float32, 3)
			return b.Conv(b.Resize2x(x), w, bias, graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}})
		}},
		{"an image doubled, no pads", "", []int{1, 2, 3, 4}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Conv(b.Resize2x(x), b.Input("w", graph.Float32, 3, 2, 3, 3), nil, graph.ConvAttrs{})
		}},
		{"times one", "times one", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Exp(b.Div(b.Neg(x), b.Scalar(1)))
		}},
		{"scaled operands, one transposed", "product of scaled operands", []int{2, 3, 4}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.MatMul(b.Mul(b.Scalar(0.7), x), b.Transpose(b.Div(b.Input("w", graph.Float32, 2, 5, 4), b.Scalar(3)), 0, 2, 1))
		}},
		{"operands scaled by a row", "", []int{2, 3, 4}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.MatMul(b.Mul(x, b.Const([]float32{1, 2, 3, 4}, 4)), b.Transpose(b.Input("w", graph.Float32, 4, 5, 2), 2, 0, 1))
		}},
		{"one over", "", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Div(b.Scalar(1), b.Exp(x)) }},
		{"times ones of a larger shape", "", []int{7}, func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Mul(x, b.Full(1, 2, 1)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := row{op: c.name, in: []arg{normal(c.shape...)}, build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return c.f(b, x[0]) })}
			g, err := r.program(false)
			if err != nil {
				t.Fatal(err)
			}
			result, found, err := graph.Recognize(g)
			if err != nil {
				t.Fatal(err)
			}
			if names := strings.Join(slices.Collect(maps.Keys(found)), " "); names != c.found || c.found != "" && found[c.found] != 1 {
				t.Errorf("found %v, want one %q", found, c.found)
			}
			values := r.values(g)
			compare(t, evaluate(t, result, values), evaluate(t, g, values), constTolerance)
		})
	}
}

// Inline puts one graph into another: its inputs replaced, an inner value
// replaced, its parameters declared under the scope.
func TestInline(t *testing.T) {
	var x, inner *graph.Value
	g, err := graph.Build("inner", func(b *graph.Builder) {
		x = b.Input("x", graph.Float32, 3)
		inner = b.At("a").Exp(x)
		y := b.At("b").Mul(inner, b.At("b").Param("weight", graph.Init{}, 3))
		b.Output("y", y)
		b.Output("z", b.Add(y, b.Input("shift", graph.Float32, 1)))
	})
	if err != nil {
		t.Fatal(err)
	}
	build := func(known func(b *graph.Builder) map[*graph.Value]*graph.Value) *graph.Graph {
		out, err := graph.Build("outer", func(b *graph.Builder) {
			for i, v := range b.At("net").Inline(g, known(b)) {
				b.Output(g.Outputs[i].Name, v)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	names := func(g *graph.Graph) (list []string) {
		for _, v := range g.Inputs {
			list = append(list, v.Node.Name)
		}
		return list
	}
	all := build(func(*graph.Builder) map[*graph.Value]*graph.Value { return nil })
	if want := []string{"net.x", "net.b.weight", "net.shift"}; !slices.Equal(names(all), want) || len(all.Params()) != 1 {
		t.Errorf("inputs %v, want %v", names(all), want)
	}
	part := build(func(b *graph.Builder) map[*graph.Value]*graph.Value {
		return map[*graph.Value]*graph.Value{x: b.Full(0, 3), inner: b.Input("e", graph.Float32, 3)}
	})
	out := evaluate(t, part, map[string][]float64{"e": {1, 2, 3}, "net.b.weight": {2, 2, 2}, "net.shift": {1}})
	compare(t, out, map[string][]float64{"y": {2, 4, 6}, "z": {3, 5, 7}}, 0)
	if slices.ContainsFunc(part.Nodes, func(n *graph.Node) bool { return n.Op == "Exp" }) {
		t.Error("a node that nothing needs was copied")
	}
	wantError(t, func(b *graph.Builder) {
		b.Inline(g, map[*graph.Value]*graph.Value{x: b.Full(0, 4)})
	}, "Inline", "stands for")
}

// A parameter behind operators without a gradient has none; a picture shows the
// nodes of a scope and what comes from outside.
func TestUnreachedAndDot(t *testing.T) {
	var y *graph.Value
	g, err := graph.Build("g", func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 3)
		p, q, r := b.Param("p", graph.Init{}, 3), b.Param("q", graph.Init{}, 3), b.Param("r", graph.Init{}, 3)
		h := b.At("first.conv").Mul(x, p)
		gate := b.At("first.gate").Cast(b.Greater(q, x), graph.Float32)
		y = b.At("second").Add(b.At("second").Mul(h, gate), b.Floor(r))
		b.Output("y", y)
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range g.Unreached(y) {
		names = append(names, p.Node.Name)
	}
	if !slices.Equal(names, []string{"q", "r"}) {
		t.Errorf("unreached: %v, want q and r", names)
	}
	for scope, want := range map[string]string{
		"":       "digraph Mul Greater Cast Mul Floor Add x p q r y",
		"first":  "digraph Mul Cast x p Greater",
		"second": "digraph Mul Add Mul Cast Floor y",
	} {
		picture := g.Dot(scope)
		for _, part := range strings.Fields(want)[1:] {
			if !strings.Contains(picture, `label="`+part) && !strings.Contains(picture, "."+part) {
				t.Errorf("scope %q: no %s in\n%s", scope, part, picture)
			}
		}
	}
	if picture := g.Dot("first"); strings.Contains(picture, "Floor") {
		t.Errorf("scope first has nodes of another:\n%s", picture)
	}
}
