package refeval

import (
	"math"
	"slices"

	"immiscible/models/graph"
)

// elementOf is where GatherElements reads x, and ScatterElements writes it, for
// an element of the indices.
func elementOf(n *graph.Node, x, indices array, index []int) *float64 {
	a := axis(n.Int("axis", 0), len(x.shape))
	from := slices.Clone(index)
	from[a] = axis(int(*indices.at(index...)), x.shape[a])
	return strict(x, from)
}

// strict is at without broadcasting.
func strict(x array, index []int) *float64 {
	offset := 0
	for d, size := range x.shape {
		offset = offset*size + index[d]
	}
	return &x.data[offset]
}

func gatherElements(n *graph.Node, in []array) []array {
	x, indices := in[0], in[1]
	return []array{fill(indices.shape, func(i []int) float64 { return *elementOf(n, x, indices, i) })}
}

func scatterElements(n *graph.Node, in []array) []array {
	y, indices, updates := array{in[0].shape, slices.Clone(in[0].data)}, in[1], in[2]
	each(indices.shape, func(i []int) { put(n, elementOf(n, y, indices, i), *strict(updates, i)) })
	return []array{y}
}

// put writes or adds, as the node's reduction says.
func put(n *graph.Node, to *float64, x float64) {
	if slices.Contains(n.Attrs, graph.Attr{Name: "reduction", Value: "add"}) {
		x += *to
	}
	*to = x
}

// sliceOf is the slice of x that a row of the indices names: its elements.
func sliceOf(x, indices array, row int) []float64 {
	k := indices.shape[len(indices.shape)-1]
	offset, size := 0, 1
	for d, dim := range x.shape {
		if d < k {
			offset = offset*dim + axis(int(indices.data[row*k+d]), dim)
		} else {
			size *= dim
		}
	}
	return x.data[offset*size:][:size]
}

func gatherND(_ *graph.Node, in []array) []array {
	x, indices := in[0], in[1]
	last := len(indices.shape) - 1
	y := array{shape: slices.Concat(indices.shape[:last], x.shape[indices.shape[last]:])}
	for row := range numel(indices.shape[:last]) {
		y.data = append(y.data, sliceOf(x, indices, row)...)
	}
	return []array{y}
}

func scatterND(n *graph.Node, in []array) []array {
	y, indices, updates := array{in[0].shape, slices.Clone(in[0].data)}, in[1], in[2]
	at := 0
	for row := range numel(indices.shape[:len(indices.shape)-1]) {
		part := sliceOf(y, indices, row)
		for i := range part {
			put(n, &part[i], updates.data[at])
			at++
		}
	}
	return []array{y}
}

func product(xs []float64) float64 {
	total := 1.0
	for _, x := range xs {
		total *= x
	}
	return total
}

// argExtremum is the index of the first element that beats those before it.
func argExtremum(beats func(x, best float64) bool) op {
	return func(n *graph.Node, in []array) []array {
		x, a := in[0], axis(n.Int("axis", 0), len(in[0].shape))
		kept := slices.Clone(x.shape)
		kept[a] = 1
		y := fill(kept, func(index []int) float64 {
			i, best := slices.Clone(index), 0
			for k := range x.shape[a] {
				i[a] = best
				champion := *strict(x, i)
				if i[a] = k; beats(*strict(x, i), champion) {
					best = k
				}
			}
			return float64(best)
		})
		if n.Int("keepdims", 1) == 0 {
			y.shape = slices.Delete(kept, a, a+1)
		}
		return []array{y}
	}
}

// cumSum adds up to an element, or from it on; without it if exclusive.
func cumSum(n *graph.Node, in []array) []array {
	x, a := in[0], axis(int(in[1].data[0]), len(in[0].shape))
	return []array{fill(x.shape, func(index []int) float64 {
		total, i := 0.0, slices.Clone(index)
		for k := range x.shape[a] {
			i[a] = k
			before, own := k < index[a], k == index[a]
			if n.Int("reverse", 0) == 1 {
				before = k > index[a]
			}
			if before || own && n.Int("exclusive", 0) == 0 {
				total += *strict(x, i)
			}
		}
		return total
	})}
}

func logSoftmax(n *graph.Node, in []array) []array {
	x := in[0]
	d := x.shape[len(x.shape)-1]
	y := array{shape: x.shape}
	for at := 0; at < len(x.data); at += d {
		row := x.data[at : at+d]
		most, total := slices.Max(row), 0.0
		for _, v := range row {
			total += math.Exp(v - most)
		}
		for _, v := range row {
			y.data = append(y.data, v-most-math.Log(total))
		}
	}
	return []array{y}
}
