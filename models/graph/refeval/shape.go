package refeval

import (
	"math"
	"slices"

	"immiscible/models/graph"
)

// reduction applies f to the elements that differ in the reduced axes only; no
// axes means all.
func reduction(f func(xs []float64) float64) op {
	return func(n *graph.Node, in []array) []array {
		x := in[0]
		kept := slices.Clone(x.shape)
		var short []int
		axes := in[1].ints()
		for d := range kept {
			if len(axes) == 0 || slices.Contains(axes, d) {
				kept[d] = 1
			} else {
				short = append(short, kept[d])
			}
		}
		lists := map[*float64][]float64{}
		y := zeros(kept)
		each(x.shape, func(i []int) { lists[y.at(i...)] = append(lists[y.at(i...)], *x.at(i...)) })
		for p, xs := range lists {
			*p = f(xs)
		}
		if n.Int("keepdims", 1) == 0 {
			y.shape = short
		}
		return []array{y}
	}
}

func sum(xs []float64) float64 {
	total := 0.0
	for _, x := range xs {
		total += x
	}
	return total
}

func mean(xs []float64) float64 { return sum(xs) / float64(len(xs)) }

func sumSquare(xs []float64) float64 {
	total := 0.0
	for _, x := range xs {
		total += x * x
	}
	return total
}

func reshape(_ *graph.Node, in []array) []array { return []array{{in[1].ints(), in[0].data}} }

// transpose: dimension d of the result is dimension perm[d] of x.
func transpose(n *graph.Node, in []array) []array {
	x, perm := in[0], n.IntList("perm")
	shape := make([]int, len(perm))
	for d, p := range perm {
		shape[d] = x.shape[p]
	}
	return []array{fill(shape, func(index []int) float64 {
		from := make([]int, len(perm))
		for d, p := range perm {
			from[p] = index[d]
		}
		return *x.at(from...)
	})}
}

func concat(n *graph.Node, in []array) []array {
	a := axis(n.Int("axis", 0), len(in[0].shape))
	shape := slices.Clone(in[0].shape)
	for _, x := range in[1:] {
		shape[a] += x.shape[a]
	}
	return []array{fill(shape, func(index []int) float64 {
		from, part := slices.Clone(index), 0
		for from[a] >= in[part].shape[a] {
			from[a] -= in[part].shape[a]
			part++
		}
		return *in[part].at(from...)
	})}
}

func split(n *graph.Node, in []array) []array {
	x := in[0]
	a := axis(n.Int("axis", 0), len(x.shape))
	var parts []array
	start := 0
	for _, size := range in[1].ints() {
		shape := slices.Clone(x.shape)
		shape[a] = size
		parts = append(parts, fill(shape, func(index []int) float64 {
			from := slices.Clone(index)
			from[a] += start
			return *x.at(from...)
		}))
		start += size
	}
	return parts
}

// slice: inputs are x, starts, ends, axes and steps.
func slice(_ *graph.Node, in []array) []array {
	x, starts, ends, steps := in[0], in[1].ints(), in[2].ints(), in[4].ints()
	first, step, shape := make([]int, len(x.shape)), make([]int, len(x.shape)), slices.Clone(x.shape)
	for d := range step {
		step[d] = 1
	}
	for i, a := range in[3].ints() {
		a = axis(a, len(x.shape))
		first[a], step[a], shape[a] = starts[i], steps[i], 0
		for at := starts[i]; at < ends[i]; at += steps[i] {
			shape[a]++
		}
	}
	return []array{fill(shape, func(index []int) float64 {
		from := make([]int, len(index))
		for d, i := range index {
			from[d] = first[d] + i*step[d]
		}
		return *x.at(from...)
	})}
}

func expand(_ *graph.Node, in []array) []array {
	return []array{fill(broadcast(in[0].shape, in[1].ints()), func(i []int) float64 { return *in[0].at(i...) })}
}

// pad: zeros before and after each dimension.
func pad(_ *graph.Node, in []array) []array {
	x, pads, rank := in[0], in[1].ints(), len(in[0].shape)
	shape := slices.Clone(x.shape)
	for d := range shape {
		shape[d] += pads[d] + pads[rank+d]
	}
	return []array{fill(shape, func(index []int) float64 {
		from := slices.Clone(index)
		for d := range from {
			if from[d] -= pads[d]; from[d] < 0 || from[d] >= x.shape[d] {
				return 0
			}
		}
		return *x.at(from...)
	})}
}

// gather: y[before, i, after] = x[before, indices[i], after]. A negative index
// counts from the end; one out of range, which ONNX forbids, gives NaN.
func gather(n *graph.Node, in []array) []array {
	x, indices := in[0], in[1]
	a := axis(n.Int("axis", 0), len(x.shape))
	shape := slices.Concat(x.shape[:a], indices.shape, x.shape[a+1:])
	return []array{fill(shape, func(index []int) float64 {
		after := a + len(indices.shape)
		pick := axis(int(*indices.at(index[a:after]...)), x.shape[a])
		if pick < 0 || pick >= x.shape[a] {
			return math.NaN()
		}
		return *x.at(slices.Concat(index[:a], []int{pick}, index[after:])...)
	})}
}
