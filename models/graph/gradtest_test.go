package graph_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/graph/refeval"
)

// A row of the gradient table: an operator, or an expression around it, as a
// function of inputs. Four tests read the table (rows_test.go): derivatives
// against differences, lowered against unlowered, ONNX Runtime against refeval,
// and the table's completeness.
type row struct {
	op   string // the operator that the row is about
	name string // what is special about this row
	in   []arg
	// build returns the row's results, each float32.
	build func(b *graph.Builder, x []*graph.Value) []*graph.Value
	// exact: the results are polynomials of degree 2 at most in each input, of
	// which central differences are exact at any width.
	exact bool
	// tol replaces differenceTolerance, and lowerTolerance where it is larger;
	// ort replaces ortTolerance. The row says why.
	tol, ort float64
}

// arg is an input and how its elements are drawn.
type arg struct {
	dtype graph.DType
	shape []int
	draw  func(r *rand.Rand) float64
	fixed []float64 // instead of draw
}

const (
	// Central differences with h = 1e-5 err by h²/6·f‴ ≈ 2e-11 relative to the
	// third derivative (single digits for these inputs), and by the rounding of
	// f, 1e-16/h = 1e-11.
	differenceStep, differenceTolerance = 1e-5, 1e-8
	// The same polynomial in another order: some hundred roundings of 1e-16.
	exactTolerance = 1e-12
	// A constant in a derivative or a lowering is a float32, rounded to 24 bits.
	constTolerance = 1.0 / (1 << 24)
	// Equal formulas in another order, well conditioned: float64 rounding.
	lowerTolerance = 1e-10
	// float32 rounds to 6e-8; sums of up to some hundred terms, and a few
	// operators in a row, lose a digit or two.
	ortTolerance = 1e-5
)

func uniform(low, high float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return low + (high-low)*r.Float64() }
}

// away draws from ±(gap, 2]: no element is nearer than gap to 0.
func away(gap float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return (gap + (2-gap)*r.Float64()) * float64(1-2*r.IntN(2)) }
}

// normal is a float32 input with standard normal elements.
func normal(shape ...int) arg { return arg{shape: shape, draw: (*rand.Rand).NormFloat64} }

// drawn is a float32 input whose elements come from a distribution.
func drawn(draw func(*rand.Rand) float64, shape ...int) arg { return arg{shape: shape, draw: draw} }

// ints is an int64 input with the given elements.
func ints(elements []float64, shape ...int) arg {
	return arg{dtype: graph.Int64, shape: shape, fixed: elements}
}

// coins is a bool input.
func coins(shape ...int) arg {
	return arg{dtype: graph.Bool, shape: shape, draw: func(r *rand.Rand) float64 { return float64(r.IntN(2)) }}
}

func (r row) String() string { return r.op + "/" + r.name }

// program is the row as a graph with outputs y0, y1, … and either the loss
// Σ_j <u_j, y_j> or its gradients by the float32 inputs, d(x0), d(x1), ….
func (r row) program(gradients bool) (*graph.Graph, error) {
	return graph.Build(r.String(), func(b *graph.Builder) {
		var xs, wrt []*graph.Value
		for i, a := range r.in {
			x := b.Input(fmt.Sprintf("x%d", i), a.dtype, a.shape...)
			if xs = append(xs, x); a.dtype == graph.Float32 {
				wrt = append(wrt, x)
			}
		}
		loss := b.Scalar(0)
		for j, y := range r.build(b.At("row"), xs) {
			u := b.Input(fmt.Sprintf("u%d", j), graph.Float32, y.Shape...)
			b.Output(fmt.Sprintf("y%d", j), y)
			loss = b.Add(loss, b.ReduceSum(b.Mul(u, y), false))
		}
		if !gradients {
			b.Output("loss", loss)
			return
		}
		for i, d := range b.Grad(loss, wrt) {
			b.Output("d("+wrt[i].Node.Name+")", d)
		}
	})
}

// values draws the graph's inputs, rounded to float32, the same every time.
func (r row) values(g *graph.Graph) map[string][]float64 {
	seed := fnv.New64a()
	seed.Write([]byte(r.String()))
	source := rand.New(rand.NewPCG(seed.Sum64(), 1))
	values := map[string][]float64{}
	for i, v := range g.Inputs {
		list := make([]float64, v.Numel())
		for k := range list {
			switch {
			case i >= len(r.in):
				list[k] = source.NormFloat64()
			case r.in[i].fixed != nil:
				list[k] = r.in[i].fixed[k]
			default:
				list[k] = r.in[i].draw(source)
			}
			list[k] = float64(float32(list[k]))
		}
		values[v.Node.Name] = list
	}
	return values
}

// evaluate runs a graph in refeval.
func evaluate(t testing.TB, g *graph.Graph, values map[string][]float64) map[string][]float64 {
	t.Helper()
	out, err := refeval.Eval(g, values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkDerivatives compares, for each float input x, the graph's <v, d(x)> with
// the central difference (f(x + hv) − f(x − hv))/2h of the loss in one random
// direction v. The tolerance is relative to Σ|v·d(x)| + Σ|u·y| + |loss|, the size
// of what was added up.
func checkDerivatives(t *testing.T, forward, backward *graph.Graph, values map[string][]float64, h, tol float64) {
	t.Helper()
	source := rand.New(rand.NewPCG(7, 7))
	out := evaluate(t, backward, values)
	size := math.Abs(evaluate(t, forward, values)["loss"][0])
	for name, u := range values {
		if name[0] == 'u' {
			for k, y := range out["y"+name[1:]] {
				size += math.Abs(u[k] * y)
			}
		}
	}
	for name, x := range values {
		d, ok := out["d("+name+")"]
		if !ok {
			continue
		}
		up, down, slope, scale := slices.Clone(x), slices.Clone(x), 0.0, size
		for k := range x {
			v := source.NormFloat64()
			up[k] += h * v
			down[k] -= h * v
			slope += v * d[k]
			scale += math.Abs(v * d[k])
		}
		at := func(moved []float64) float64 {
			values[name] = moved
			defer func() { values[name] = x }()
			return evaluate(t, forward, values)["loss"][0]
		}
		want := (at(up) - at(down)) / (2 * h)
		if diff := math.Abs(slope - want); !(diff <= tol*scale) {
			t.Errorf("derivative by %s: got %.12g, central difference %.12g: off by %.2g of %.3g, want %.2g at most",
				name, slope, want, diff/scale, scale, tol)
		}
	}
}

// compare holds each output to tol relative to its largest element.
func compare(t *testing.T, got, want map[string][]float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d outputs, want %d", len(got), len(want))
	}
	for name, w := range want {
		largest, worst := 0.0, 0.0
		for _, x := range w {
			largest = math.Max(largest, math.Abs(x))
		}
		if len(got[name]) != len(w) {
			t.Errorf("%s: got %d elements, want %d", name, len(got[name]), len(w))
			continue
		}
		for k, x := range w {
			if diff := math.Abs(got[name][k] - x); !(diff <= worst) {
				worst = diff
			}
		}
		if !(worst <= tol*largest) {
			t.Errorf("%s: off by %.3g of %.3g, want %.2g at most: got %.7g, want %.7g", name, worst/largest, largest, tol, got[name], w)
		}
	}
}
