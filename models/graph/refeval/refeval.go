// Package refeval evaluates graphs in float64, slowly and obviously: every
// operator is written from its definition, composite ones included, so that it
// can stand as the oracle for derivatives, for lowerings and for ONNX Runtime.
// Only tests import it.
//
// Floats of any declared width are float64 and are never rounded; integers and
// truth values are float64 too (false is 0, true is 1).
package refeval

import (
	"fmt"
	"slices"

	"immiscible/models/graph"
)

// array is a tensor with row-major elements. The zero array stands for an
// optional input that is absent.
type array struct {
	shape []int
	data  []float64
}

// op computes a node's outputs from its inputs. Shapes have been checked by the
// builder; Eval compares those of the result with what the builder promised.
type op func(n *graph.Node, in []array) []array

// Has tells whether Eval knows an operator.
func Has(op string) bool {
	return op == "Input" || op == "Constant" || ops[op] != nil
}

// Eval runs g on the given inputs and returns its outputs, both row-major and
// by name. It is an error if an input is missing or of another size, if an
// operator is unknown, or if a result's shape is not the one that g declares.
func Eval(g *graph.Graph, inputs map[string][]float64) (map[string][]float64, error) {
	values := map[*graph.Value]array{}
	for _, n := range g.Nodes {
		out, err := run(n, values, inputs)
		if err != nil {
			return nil, err
		}
		for i, v := range n.Outputs {
			if got := out[i]; !slices.Equal(got.shape, v.Shape) || len(got.data) != v.Numel() {
				return nil, fmt.Errorf("refeval: output %d of %s has shape %v and %d elements, want shape %v (%s)",
					i, v, got.shape, len(got.data), v.Shape, n.Site)
			}
			values[v] = out[i]
		}
	}
	results := map[string][]float64{}
	for _, o := range g.Outputs {
		results[o.Name] = slices.Clone(values[o.Value].data)
	}
	return results, nil
}

func run(n *graph.Node, values map[*graph.Value]array, inputs map[string][]float64) ([]array, error) {
	switch {
	case n.Op == "Input":
		data, ok := inputs[n.Name]
		if !ok {
			return nil, fmt.Errorf("refeval: input %q is missing", n.Name)
		}
		return []array{{n.Outputs[0].Shape, data}}, nil
	case n.Op == "Constant":
		return constant(n.Outputs[0])
	case ops[n.Op] == nil:
		return nil, fmt.Errorf("refeval: operator %q of scope %q is unknown, want a case in refeval (%s)", n.Op, n.Scope, n.Site)
	}
	in := make([]array, len(n.Inputs))
	for i, v := range n.Inputs {
		if v != nil {
			in[i] = values[v]
		}
	}
	return ops[n.Op](n, in), nil
}

func constant(v *graph.Value) ([]array, error) {
	a := array{shape: v.Shape}
	if floats, ok := v.Floats(); ok {
		for _, x := range floats {
			a.data = append(a.data, float64(x))
		}
	} else if ints, ok := v.Ints(); ok {
		for _, x := range ints {
			a.data = append(a.data, float64(x))
		}
	} else {
		return nil, fmt.Errorf("refeval: constant of type %v, want a float type or int64", v.DType)
	}
	return []array{a}, nil
}

func numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// each calls f with every index of a shape in row-major order. f must not keep
// or change the index.
func each(shape []int, f func(index []int)) {
	index := make([]int, len(shape))
	for range numel(shape) {
		f(index)
		for d := len(shape) - 1; d >= 0; d-- {
			if index[d]++; index[d] < shape[d] {
				break
			}
			index[d] = 0
		}
	}
}

// fill makes an array from a formula for its elements.
func fill(shape []int, f func(index []int) float64) array {
	a := array{shape: shape}
	each(shape, func(index []int) { a.data = append(a.data, f(index)) })
	return a
}

func zeros(shape []int) array { return array{shape, make([]float64, numel(shape))} }

// at points to an element. Broadcasting is reading: of an index that is longer
// than the shape only the last part counts, and along a dimension of 1 every
// index is 0.
func (a array) at(index ...int) *float64 {
	offset := 0
	for d, size := range a.shape {
		i := index[len(index)-len(a.shape)+d]
		if size == 1 {
			i = 0
		}
		offset = offset*size + i
	}
	return &a.data[offset]
}

// ints reads an integer tensor, such as the axes of a reduction.
func (a array) ints() []int {
	list := make([]int, len(a.data))
	for i, x := range a.data {
		list[i] = int(x)
	}
	return list
}

// broadcast is the common shape of two.
func broadcast(x, y []int) []int {
	if len(x) < len(y) {
		x, y = y, x
	}
	shape := slices.Clone(x)
	for i, d := range y {
		if at := len(x) - len(y) + i; shape[at] == 1 {
			shape[at] = d
		}
	}
	return shape
}

// axis resolves a negative axis.
func axis(a, rank int) int {
	if a < 0 {
		return a + rank
	}
	return a
}
