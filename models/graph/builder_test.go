package graph_test

import (
	"testing"

	"immiscible/models/graph"
)

// A mistake stops the build with the operator, the scope, the shapes and the
// line: never a graph that fails elsewhere, never a panic of the runtime.
func TestMistakesAreErrors(t *testing.T) {
	in := func(b *graph.Builder, shape ...int) *graph.Value {
		return b.Input("x", graph.Float32, shape...)
	}
	other := func(b *graph.Builder, shape ...int) *graph.Value {
		return b.Input("y", graph.Float32, shape...)
	}
	number := func(b *graph.Builder) *graph.Value { return b.Input("i", graph.Int64, 3) }
	for _, c := range []struct {
		name  string
		f     func(b *graph.Builder)
		op    string
		parts []string
	}{
		{"shapes", func(b *graph.Builder) { b.Add(in(b, 2, 3), other(b, 4)) }, "Add", []string{"[2 3]", "[4]"}},
		{"types", func(b *graph.Builder) { b.Mul(in(b, 3), number(b)) }, "Mul", []string{"float32", "int64"}},
		{"a float operator", func(b *graph.Builder) { b.Sin(number(b)) }, "Sin", []string{"int64"}},
		{"a condition", func(b *graph.Builder) { x := in(b, 3); b.Where(x, x, x) }, "Where", []string{"float32[3]"}},
		{"branches", func(b *graph.Builder) { x := in(b, 3); b.Where(b.Greater(x, x), x, other(b, 2)) }, "Where", []string{"[3]", "[2]"}},
		{"inner dimensions", func(b *graph.Builder) { b.MatMul(in(b, 2, 3), other(b, 4, 5)) }, "MatMul", []string{"[2 3]", "[4 5]"}},
		{"inner dimensions, transposed", func(b *graph.Builder) { b.FusedMatMul(in(b, 2, 3), other(b, 3, 5), true, false, 1) }, "FusedMatMul", []string{"[2 3]"}},
		{"batches", func(b *graph.Builder) { b.MatMul(in(b, 2, 3, 3), other(b, 3, 3, 3)) }, "MatMul", []string{"[2 3 3]", "[3 3 3]"}},
		{"a vector", func(b *graph.Builder) { b.MatMul(in(b, 3), other(b, 3, 2)) }, "MatMul", []string{"[3]"}},
		{"features", func(b *graph.Builder) { b.Gemm(in(b, 2, 3), other(b, 3, 2), nil) }, "Gemm", []string{"[2 3]", "[3 2]"}},
		{"bias", func(b *graph.Builder) { b.Gemm(in(b, 2, 3), other(b, 4, 3), b.Full(0, 3)) }, "Gemm", []string{"[4 3]"}},
		{"weight type", func(b *graph.Builder) { b.Gemm(in(b, 2, 3), b.Cast(other(b, 4, 3), graph.Float16), nil) }, "Gemm", []string{"float16"}},
		{"channels", func(b *graph.Builder) { b.Conv(in(b, 1, 3, 8, 8), other(b, 4, 2, 3, 3), nil, graph.ConvAttrs{}) }, "Conv", []string{"[1 3 8 8]", "[4 2 3 3]"}},
		{"conv bias", func(b *graph.Builder) {
			b.Conv(in(b, 1, 2, 8, 8), other(b, 4, 2, 3, 3), b.Full(0, 2), graph.ConvAttrs{})
		}, "Conv", []string{"bias [2]"}},
		{"conv type", func(b *graph.Builder) {
			b.Conv(in(b, 1, 2, 8, 8), b.Cast(other(b, 4, 2, 3, 3), graph.Float16), nil, graph.ConvAttrs{})
		}, "Conv", []string{"float16"}},
		{"a small image", func(b *graph.Builder) { b.Conv(in(b, 1, 2, 2, 8), other(b, 4, 2, 3, 3), nil, graph.ConvAttrs{}) }, "Conv", []string{"[1 2 2 8]"}},
		{"image rank", func(b *graph.Builder) { b.Resize2x(in(b, 2, 3)) }, "Resize", []string{"[2 3]"}},
		{"scale", func(b *graph.Builder) { b.LayerNormalization(in(b, 2, 3), other(b, 2), nil, 1e-5) }, "LayerNormalization", []string{"[2 3]", "[3]"}},
		{"a scalar to normalise", func(b *graph.Builder) { b.LayerNormalization(in(b), other(b, 1), nil, 1e-5) }, "LayerNormalization", nil},
		{"groups", func(b *graph.Builder) {
			b.GroupNormalization(in(b, 1, 6, 4), b.Full(1, 6), b.Full(0, 6), 4, 1e-5)
		}, "GroupNormalization", []string{"4 groups", "[1 6 4]"}},
		{"group scale", func(b *graph.Builder) {
			b.GroupNormalization(in(b, 1, 6, 4), b.Full(1, 3), b.Full(0, 6), 3, 1e-5)
		}, "GroupNormalization", []string{"[3]", "want [6]"}},
		{"an axis", func(b *graph.Builder) { b.ReduceSum(in(b, 2, 3), true, 2) }, "ReduceSum", []string{"axis 2", "2 dimensions"}},
		{"a negative axis", func(b *graph.Builder) { b.ReduceMean(in(b, 2, 3), true, -3) }, "ReduceMean", []string{"axis -3"}},
		{"an axis twice", func(b *graph.Builder) { b.ReduceSum(in(b, 2, 3), true, 1, -1) }, "ReduceSum", []string{"[1 -1]"}},
		{"elements", func(b *graph.Builder) { b.Reshape(in(b, 2, 3), 4) }, "Reshape", []string{"[2 3]", "6", "[4]"}},
		{"elements that do not divide", func(b *graph.Builder) { b.Reshape(in(b, 2, 3), 4, -1) }, "Reshape", []string{"[2 3]"}},
		{"two open dimensions", func(b *graph.Builder) { b.Reshape(in(b, 2, 3), -1, -1) }, "Reshape", []string{"[2 3]"}},
		{"negative dimensions", func(b *graph.Builder) { b.Reshape(in(b, 2, 3), -2, -3) }, "Reshape", []string{"[-2 -3]"}},
		{"a short perm", func(b *graph.Builder) { b.Transpose(in(b, 2, 3)) }, "Transpose", []string{"2 dimensions"}},
		{"a long perm", func(b *graph.Builder) { b.Transpose(in(b), 0) }, "Transpose", []string{"0 dimensions"}},
		{"a repeated perm", func(b *graph.Builder) { b.Transpose(in(b, 2, 3), 1, 1) }, "Transpose", []string{"[1 1]"}},
		{"joined shapes", func(b *graph.Builder) { b.Concat(0, in(b, 2, 3), other(b, 2, 4)) }, "Concat", []string{"[2 3]", "[2 4]", "axis 0"}},
		{"joined ranks", func(b *graph.Builder) { b.Concat(1, in(b, 2, 3), other(b, 2)) }, "Concat", []string{"[2 3]", "[2]"}},
		{"joined ranks, the larger last", func(b *graph.Builder) { b.Concat(0, in(b, 2), other(b, 2, 1)) }, "Concat", []string{"[2 1]"}},
		{"joined types", func(b *graph.Builder) { b.Concat(0, in(b, 3), number(b)) }, "Concat", []string{"int64"}},
		{"bounds", func(b *graph.Builder) { b.SliceAxis(in(b, 4), 0, 2, 5) }, "Slice", []string{"2:5:1", "4 elements"}},
		{"an empty slice", func(b *graph.Builder) { b.SliceAxis(in(b, 4), 0, 2, 2) }, "Slice", []string{"2:2:1"}},
		{"a step of 0", func(b *graph.Builder) { b.Slice(in(b, 4), []int{0}, []int{0}, []int{4}, []int{0}) }, "Slice", []string{"0:4:0"}},
		{"a missing end", func(b *graph.Builder) { b.Slice(in(b, 4), []int{0}, []int{0}, nil, []int{1}) }, "Slice", []string{"[]"}},
		{"sizes", func(b *graph.Builder) { b.Split(in(b, 4), 0, 1, 2) }, "Split", []string{"[1 2]", "4 elements"}},
		{"an empty part", func(b *graph.Builder) { b.Split(in(b, 4), 0, 4, 0) }, "Split", []string{"[4 0]"}},
		{"expansion", func(b *graph.Builder) { b.Expand(in(b, 2), 3) }, "Expand", []string{"[2]", "[3]"}},
		{"expansion to less", func(b *graph.Builder) { b.Expand(in(b, 2, 3), 3) }, "Expand", []string{"[2 3]"}},
		{"pads", func(b *graph.Builder) { b.Pad(in(b, 2, 3), 1, 1) }, "Pad", []string{"2 pads", "want 4"}},
		{"a negative pad", func(b *graph.Builder) { b.Pad(in(b, 3), -1, 0) }, "Pad", []string{"[-1 0]"}},
		{"indices", func(b *graph.Builder) { b.Gather(in(b, 3), other(b, 3), 0) }, "Gather", []string{"float32"}},
		{"constant size", func(b *graph.Builder) { b.Const([]float32{1, 2}, 3) }, "Constant", []string{"[3]"}},
		{"an input twice", func(b *graph.Builder) { in(b, 3); in(b.At("deeper"), 3) }, "Input", []string{`"x" is taken`, "down.0.conv.deeper: "}},
		{"a parameter twice", func(b *graph.Builder) {
			b.Param("w", graph.Init{}, 3)
			b.Param("w", graph.Init{}, 3)
		}, "Input", []string{`"down.0.conv.w" is taken`}},
		{"an empty dimension", func(b *graph.Builder) { in(b, 3, 0) }, "Input", []string{"[3 0]"}},
		{"an output twice", func(b *graph.Builder) { y := b.Sin(in(b, 3)); b.Output("y", y); b.Output("y", y) }, "Output", []string{`"y" is taken`}},
		{"an output named as an input", func(b *graph.Builder) { b.Output("x", b.Sin(in(b, 3))) }, "Output", []string{`"x" is taken`}},
		{"an asserted shape", func(b *graph.Builder) { b.AssertShape(in(b, 3, 4), 3, 5) }, "Input", []string{"[3 4]", "[3 5]"}},
		{"a layer's own refusal", func(b *graph.Builder) { b.Fail("Attention", "head_dim %d", 7) }, "Attention", []string{"head_dim 7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, func(b *graph.Builder) { c.f(b.At("down.0").At("conv")) }, c.op, append(c.parts, "down.0.conv", "builder_test.go:")...)
		})
	}
}

// Build turns a builder's panic into an error, and no other.
func TestBuildRecoversErrorsOnly(t *testing.T) {
	defer func() {
		if got := recover(); got != "something else" {
			t.Errorf("recovered %v, want the panic itself", got)
		}
	}()
	graph.Build("test", func(*graph.Builder) { panic("something else") })
}

func TestScopesAndConstants(t *testing.T) {
	g, err := graph.Build("test", func(b *graph.Builder) {
		deep := b.At("down").At("").At("0")
		w := deep.Param("weight", graph.Init{Mean: 1, Normal: 2}, 2, 3)
		if got := w.Node.Name; got != "down.0.weight" {
			t.Errorf("parameter %q, want down.0.weight", got)
		}
		if deep.Scope() != "down.0" || b.Scope() != "" {
			t.Errorf("scopes %q and %q", deep.Scope(), b.Scope())
		}
		b.Input("x", graph.Float32)
		b.Param("bias", graph.Init{}, 2)
		if b.Scalar(2) != deep.Scalar(2) || b.Scalar(2) == b.Full(2, 1) || b.Ints(0) == b.Ints(0, 0) {
			t.Error("constants are one value if, and only if, type, shape and elements are equal")
		}
		if ints, ok := b.Ints(3, -1).Ints(); !ok || ints[0] != 3 || ints[1] != -1 {
			t.Errorf("Ints(3, -1) reads back as %v", ints)
		}
		if _, ok := b.Scalar(1).Ints(); ok {
			t.Error("a float constant reads back as integers")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := g.Params(); len(p) != 2 || p[0].Node.Name != "down.0.weight" || p[1].Node.Name != "bias" {
		t.Errorf("parameters %v", p)
	}
}
