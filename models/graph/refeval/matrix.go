package refeval

import (
	"slices"

	"immiscible/models/graph"
)

// matmul is z[…, i, j] = alpha·Σ_k x[…, i, k]·y[…, k, j], with x or y read
// transposed where the node (FusedMatMul) says so.
func matmul(n *graph.Node, in []array) []array {
	x, y := in[0], in[1]
	if n.Int("transA", 0) == 1 {
		x = swapped(x)
	}
	if n.Int("transB", 0) == 1 {
		y = swapped(y)
	}
	alpha := n.Float("alpha", 1)
	rx, ry := len(x.shape), len(y.shape)
	shape := append(broadcast(x.shape[:rx-2], y.shape[:ry-2]), x.shape[rx-2], y.shape[ry-1])
	return []array{fill(shape, func(index []int) float64 {
		last := len(index) - 2
		total := 0.0
		for k := range x.shape[rx-1] {
			left, right := slices.Clone(index), slices.Clone(index)
			left[last+1], right[last] = k, k
			total += *x.at(left...) * *y.at(right...)
		}
		return alpha * total
	})}
}

// swapped is a with its last two dimensions exchanged.
func swapped(a array) array {
	r := len(a.shape)
	shape := slices.Clone(a.shape)
	shape[r-2], shape[r-1] = shape[r-1], shape[r-2]
	return fill(shape, func(index []int) float64 {
		i := slices.Clone(index)
		i[r-2], i[r-1] = i[r-1], i[r-2]
		return *a.at(i...)
	})
}

// gemm is alpha·x·y + beta·c.
func gemm(n *graph.Node, in []array) []array {
	z := matmul(n, in)[0]
	if len(in) < 3 {
		return []array{z}
	}
	beta := n.Float("beta", 1)
	return []array{fill(z.shape, func(i []int) float64 { return *z.at(i...) + beta**in[2].at(i...) })}
}
