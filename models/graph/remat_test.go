package graph_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"immiscible/models/graph"
)

// residual is the training graph of layers residual blocks "block.<i>": their
// gradients with respect to x and each block's weight.
func residual(t *testing.T, layers int) *graph.Graph {
	g, err := graph.Build("chain", func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 4, 64)
		wrt, h := []*graph.Value{x}, x
		for i := range layers {
			s := b.At(fmt.Sprintf("block.%d", i))
			w := s.Param("weight", graph.Init{}, 64, 64)
			wrt = append(wrt, w)
			wide := b.Concat(1, h, h) // of no scope: read by this block alone
			y := s.SiLU(s.MatMul(s.Tanh(s.SliceAxis(wide, 1, 0, 64)), w))
			h = s.Add(h, y)
		}
		loss := b.ReduceSumSquare(h, false)
		b.Output("loss", loss)
		for i, d := range b.Grad(loss, wrt) {
			b.Output(fmt.Sprint("d", i), d)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func blocks(scope string) string {
	if strings.HasPrefix(scope, "block.") {
		return scope
	}
	return ""
}

func ops(g *graph.Graph) map[string]int {
	count := map[string]int{}
	for _, n := range g.Nodes {
		count[n.Op]++
	}
	return count
}

// Each block's Concat, Slice, Tanh, MatMul and SiLU are computed again, the sum,
// which its backward does not read, is not, and every number is the same to the
// bit.
func TestRemat(t *testing.T) {
	const layers = 12
	g := residual(t, layers)
	again, err := graph.Remat(g, blocks)
	if err != nil {
		t.Fatal(err)
	}
	if g.Recomputes || !again.Recomputes {
		t.Errorf("Recomputes is %v before and %v after", g.Recomputes, again.Recomputes)
	}
	want := ops(g)
	for _, op := range []string{"Concat", "Slice", "Tanh", "MatMul", "QuickGelu"} {
		want[op] += layers
	}
	if got := ops(again); !maps.Equal(got, want) {
		t.Errorf("nodes by operator: %v, want %v", got, want)
	}
	values := map[string][]float64{}
	for _, v := range g.Inputs {
		x := make([]float64, v.Numel())
		for i := range x {
			x[i] = float64(i*7919%1013)/1013 - 0.5
		}
		values[v.Node.Name] = x
	}
	got, ref := evaluate(t, again, values), evaluate(t, g, values)
	for name := range ref {
		if !slices.Equal(got[name], ref[name]) {
			t.Errorf("%s changed", name)
		}
	}
	if before, after := g.PeakBytes(), again.PeakBytes(); 2*after > before {
		t.Errorf("the peak is %d bytes, was %d: want at most half", after, before)
	}
}

// No segment, no change.
func TestRematWithoutSegments(t *testing.T) {
	g := residual(t, 3)
	same, err := graph.Remat(g, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(ops(same), ops(g)) {
		t.Errorf("nodes by operator: %v, want %v", ops(same), ops(g))
	}
}
