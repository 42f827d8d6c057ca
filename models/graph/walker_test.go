package graph_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/graph/refeval"
)

// run builds a graph without inputs other than those given and evaluates it.
func run(t *testing.T, inputs map[string][]float64, f func(b *graph.Builder)) map[string][]float64 {
	t.Helper()
	g, err := graph.Build("test", f)
	if err != nil {
		t.Fatal(err)
	}
	return evaluate(t, g, inputs)
}

// wantError builds f and expects a *graph.Error about op whose line contains
// every part.
func wantError(t *testing.T, f func(b *graph.Builder), op string, parts ...string) {
	t.Helper()
	g, err := graph.Build("test", f)
	var e *graph.Error
	if !errors.As(err, &e) {
		t.Fatalf("got graph %v and error %v, want a *graph.Error", g, err)
	}
	if g != nil {
		t.Error("got a graph beside the error")
	}
	if e.Op != op {
		t.Errorf("%v: got op %q, want %q", e, e.Op, op)
	}
	for _, part := range append(parts, op, "_test.go:") {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("%q does not contain %q", e.Error(), part)
		}
	}
	if strings.Contains(e.Error(), "\n") {
		t.Errorf("%q is more than one line", e.Error())
	}
}

func vector(b *graph.Builder) *graph.Value { return b.Input("x", graph.Float32, 3) }
func total(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.ReduceSum(x, false)
}

func TestGradOfWhatTheLossDoesNotReach(t *testing.T) {
	out := run(t, map[string][]float64{"x": {1, 2, 3}, "unused": {4, 5}, "dead": {6}}, func(b *graph.Builder) {
		x, unused, dead := vector(b), b.Input("unused", graph.Float32, 2, 1), b.Input("dead", graph.Float32)
		b.Mul(dead, x) // used, but not by the loss
		half := b.Cast(unused, graph.Float16)
		grads := b.Grad(total(b, x), []*graph.Value{unused, x, dead, half})
		for i, d := range grads {
			want := []*graph.Value{unused, x, dead, half}[i]
			if !slices.Equal(d.Shape, want.Shape) || d.DType != want.DType {
				t.Errorf("gradient of %v is %v", want, d)
			}
			b.Output(fmt.Sprint("d", i), d)
		}
		b.Output("constant loss", b.Grad(b.Scalar(2), []*graph.Value{x})[0])
	})
	want := map[string][]float64{"d0": {0, 0}, "d1": {1, 1, 1}, "d2": {0}, "d3": {0, 0}, "constant loss": {0, 0, 0}}
	compare(t, out, want, 0)
}

func TestGradByAnyValue(t *testing.T) {
	out := run(t, map[string][]float64{"x": {1, 2, 3}}, func(b *graph.Builder) {
		x := vector(b)
		// Ceil passes no gradient on; nobody asks for one beyond it.
		h := b.Reshape(b.Ceil(x), 1, 3)
		y := b.Mul(h, h)
		loss := total(b, b.Mul(y, h))
		c := b.Full(3, 3)
		for i, d := range b.Grad(b.Add(loss, total(b, c)), []*graph.Value{h, y, h, loss, c}) {
			b.Output(fmt.Sprint("d", i), d)
		}
	})
	cube := []float64{3, 12, 27} // d Σh³ = 3h²
	compare(t, out, map[string][]float64{"d0": cube, "d1": {1, 2, 3}, "d2": cube, "d3": {1}, "d4": {1, 1, 1}}, 0)
}

func TestSecondDerivative(t *testing.T) {
	x := []float64{-0.5, 0.3, 1.2}
	out := run(t, map[string][]float64{"x": x}, func(b *graph.Builder) {
		v := vector(b)
		first := b.Grad(total(b, b.Tanh(v)), []*graph.Value{v})[0]
		b.Output("second", b.Grad(total(b, first), []*graph.Value{v})[0])
		b.Output("penalty", b.Grad(b.ReduceSumSquare(first, false), []*graph.Value{v})[0])
	})
	want := map[string][]float64{}
	for _, x := range x {
		y := math.Tanh(x)
		second := -2 * y * (1 - y*y) // tanh″
		want["second"] = append(want["second"], second)
		want["penalty"] = append(want["penalty"], 2*(1-y*y)*second) // (tanh′²)′
	}
	compare(t, out, want, 1e-14) // a dozen roundings of 1e-16
}

// Every operator that stands in derivatives only refuses to be derived again.
func TestSecondDerivativeOfCompositesIsRefused(t *testing.T) {
	refused := map[string]bool{}
	for _, r := range rows() {
		// <grad, grad> for each input alone.
		for i, a := range r.in {
			if a.dtype != graph.Float32 {
				continue
			}
			_, err := graph.Build("test", func(b *graph.Builder) {
				var xs []*graph.Value
				for k, a := range r.in {
					xs = append(xs, b.Input(fmt.Sprint("x", k), a.dtype, a.shape...))
				}
				y := r.build(b.At("deep"), xs)[0]
				d := b.Grad(b.ReduceSumSquare(y, false), xs[i:i+1])
				b.Grad(b.ReduceSumSquare(d[0], false), xs[i:i+1])
			})
			var e *graph.Error
			if errors.As(err, &e) {
				refused[e.Op] = true
				if e.Scope != "deep" || !strings.Contains(e.Detail, "is not defined here") {
					t.Errorf("%s: got %v", r, err)
				}
			}
		}
	}
	for _, op := range graph.RuleNames() {
		if once := strings.HasSuffix(op, "Grad"); once && !refused[op] {
			t.Errorf("no row's second derivative was refused for %s", op)
		} else if !once && refused[op] && op != "LayerNormalization" {
			t.Errorf("the second derivative of %s was refused", op)
		}
	}
}

func TestGradRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     func(b *graph.Builder)
		op    string
		parts []string
	}{
		{"an integer", func(b *graph.Builder) {
			x := b.Input("x", graph.Int64, 3)
			b.Grad(total(b, b.Cast(x, graph.Float32)), []*graph.Value{x})
		}, "Grad", []string{"x int64[3]", "want a float"}},
		{"a truth value", func(b *graph.Builder) {
			x := b.Input("x", graph.Bool, 3)
			b.Grad(total(b, b.Cast(x, graph.Float32)), []*graph.Value{x})
		}, "Grad", []string{"x bool[3]"}},
		{"a loss with three elements", func(b *graph.Builder) { x := vector(b); b.At("head").Grad(x, []*graph.Value{x}) },
			"Grad", []string{"head:", "float32[3]", "scalar"}},
		{"an integer loss", func(b *graph.Builder) { x := vector(b); b.Grad(b.Cast(total(b, x), graph.Int64), []*graph.Value{x}) },
			"Grad", []string{"int64[]"}},
		{"an unknown operator", func(b *graph.Builder) {
			x := vector(b)
			y := b.At("mid.block").Raw("Mystery", "", []*graph.Value{x}, 3)
			b.Grad(total(b, y), []*graph.Value{x})
		}, "Mystery", []string{"mid.block: Mystery: ", "no derivative is known"}},
		{"the mean of a layer norm", func(b *graph.Builder) {
			x := vector(b)
			_, mean, _ := b.At("norm").LayerNormalization(x, x, nil, 1e-5)
			b.Grad(total(b, mean), []*graph.Value{x})
		}, "LayerNormalization", []string{"norm:", "mean"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantError(t, c.f, c.op, c.parts...) })
	}
}

// The walker holds each rule to the number, types and shapes of its gradients.
func TestGradRefusesWrongRules(t *testing.T) {
	type rule = func(b *graph.Builder, n *graph.Node, dy []*graph.Value) []*graph.Value
	sin := func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 2, 3)
		b.Grad(total(b, b.At("wave").Sin(x)), []*graph.Value{x})
	}
	for _, c := range []struct {
		name  string
		rule  rule
		parts []string
	}{
		{"no row", nil, []string{"no derivative is known"}},
		{"too many", func(_ *graph.Builder, _ *graph.Node, dy []*graph.Value) []*graph.Value {
			return []*graph.Value{dy[0], dy[0]}
		}, []string{"2 gradients for 1 inputs"}},
		{"none", func(*graph.Builder, *graph.Node, []*graph.Value) []*graph.Value { return nil }, []string{"0 gradients for 1 inputs"}},
		{"another type", func(b *graph.Builder, _ *graph.Node, dy []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Cast(dy[0], graph.Float16)}
		}, []string{"float16[2 3]", "float32[2 3]"}},
		{"transposed", func(b *graph.Builder, _ *graph.Node, dy []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Transpose(dy[0], 1, 0)}
		}, []string{"float32[3 2]", "float32[2 3]"}},
		{"too small", func(b *graph.Builder, _ *graph.Node, dy []*graph.Value) []*graph.Value {
			return []*graph.Value{b.ReduceSum(dy[0], false, 0)}
		}, []string{"float32[3]", "float32[2 3]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			graph.SetRule(t, "Sin", c.rule)
			wantError(t, sin, "Sin", append(c.parts, "wave: Sin: ")...)
		})
	}
}

// A gradient computed at a layer says so, whoever asked for it.
func TestBackwardNodesCarryTheForwardScope(t *testing.T) {
	for _, r := range rows() {
		forward := len(build(t, r, false).Nodes)
		for i, n := range build(t, r, true).Nodes {
			if n.Backward != (i >= forward) && n.Op != "Constant" {
				t.Errorf("%s: node %d of %d forward ones, %s in %q, has Backward %v", r, i, forward, n.Op, n.Scope, n.Backward)
			}
		}
	}
	scopes := map[string]bool{}
	g, err := graph.Build("scopes", func(b *graph.Builder) {
		x := vector(b)
		h := b.At("a").Sin(x)
		h = b.At("b").At("c").Exp(h)
		b.Grad(total(b.At("loss"), h), []*graph.Value{x})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if n.Backward && len(n.Inputs) > 0 {
			scopes[n.Scope+" "+n.Op] = true
		}
	}
	for _, want := range []string{"a Cos", "a Mul", "b.c Mul", "loss Expand"} {
		if !scopes[want] {
			t.Errorf("no backward node %q among %v", want, scopes)
		}
	}
}

func TestRefevalRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		f          func(b *graph.Builder)
	}{
		{"a missing input", `input "y" is missing`, func(b *graph.Builder) { b.Input("y", graph.Float32, 3) }},
		{"an input of another size", "3 elements", func(b *graph.Builder) { b.Input("x", graph.Float32, 4) }},
		{"an unknown operator", `"Mystery" of scope "far"`, func(b *graph.Builder) { b.At("far").Raw("Mystery", "", nil, 3) }},
		{"a false promise", "has shape [3]", func(b *graph.Builder) { b.Raw("Sin", "", []*graph.Value{vector(b)}, 1, 3) }},
	} {
		g, err := graph.Build("test", c.f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := refeval.Eval(g, map[string][]float64{"x": {1, 2, 3}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q in it", c.name, err, c.want)
		}
	}
}
