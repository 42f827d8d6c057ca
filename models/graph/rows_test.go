package graph_test

import (
	"slices"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/graph/refeval"
)

// rows is the gradient table.
func rows() []row {
	return slices.Concat(elementwiseRows(), matrixRows(), convRows(), normRows(), shapeRows(), updateRows(), expressionRows(), importRows(), attentionRows())
}

func TestGradientsAgreeWithDifferences(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.String(), func(t *testing.T) {
			forward, backward := build(t, r, false), build(t, r, true)
			h, tol := differenceStep, differenceTolerance
			if r.exact {
				h, tol = 1, exactTolerance
			}
			checkDerivatives(t, forward, backward, r.values(backward), h, max(tol, r.tol))
		})
	}
}

func TestLoweredEqualsUnlowered(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.String(), func(t *testing.T) {
			g := build(t, r, true)
			lowered, err := graph.Lower(g)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range lowered.Nodes {
				if n.Domain == graph.Domain {
					t.Errorf("%s is left in the lowered graph", n.Op)
				}
			}
			values := r.values(g)
			compare(t, evaluate(t, lowered, values), evaluate(t, g, values), max(lowerTolerance, r.tol))
		})
	}
}

func TestORTAgreesWithRefeval(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.String(), func(t *testing.T) {
			g := build(t, r, true)
			values := r.values(g)
			tol := ortTolerance
			if r.ort != 0 {
				tol = r.ort
			}
			compare(t, runORT(t, g, values), evaluate(t, g, values), tol)
		})
	}
}

// An operator costs a row here and a case in refeval: this test notices a
// missing one.
func TestEveryRuleHasARow(t *testing.T) {
	about, made := map[string]bool{}, map[string]bool{}
	for _, r := range rows() {
		ops := map[string]bool{}
		g := build(t, r, true)
		for _, n := range g.Nodes {
			ops[n.Op], made[n.Op] = true, true
		}
		if !ops[r.op] {
			t.Errorf("row %s does not contain the operator %s", r, r.op)
		}
		about[r.op] = true
	}
	for _, op := range graph.RuleNames() {
		if !refeval.Has(op) {
			t.Errorf("%s has no case in refeval", op)
		}
		if !made[op] {
			t.Errorf("%s stands in no row of the gradient table, nor in a row's derivative", op)
		}
		if graph.HasDerivative(op) && !about[op] {
			t.Errorf("%s has a derivative and no row in the gradient table", op)
		}
	}
	for op := range made {
		if !slices.Contains(graph.RuleNames(), op) {
			t.Errorf("%s has no row in rules.go", op)
		}
	}
	for _, op := range graph.LoweringNames() {
		if !slices.Contains(graph.RuleNames(), op) {
			t.Errorf("%s has a lowering and no row in rules.go", op)
		}
	}
}

func build(t *testing.T, r row, gradients bool) *graph.Graph {
	t.Helper()
	g, err := r.program(gradients)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
