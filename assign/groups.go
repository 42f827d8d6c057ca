package assign

import "fmt"

// Pair permutes the noises of a pool: image i takes noise perm[i], at the least total cost. x and noise are [n, dim].
//
// With labels [n], noise j belongs to the class of image j, and noises move within their class only. Pairing
// across classes makes the noise predict the class, which sampling, where the two are independent, then lacks
// (C²OT, arXiv 2503.10636). Equal labels are one class, whatever their value; a class of one keeps its noise.
//
// product is called once, or once a class with that class's rows; nil stands for MatrixProduct. Squared L2 is
// solved as −x·n, which differs by constants of the rows and columns: l2sq and dot give the same permutation.
func Pair(x, noise []float32, n, dim int, labels []int64, cost Cost, product Product) (perm []int, err error) {
	if err := checkRows("x", x, n, dim); err != nil {
		return nil, err
	}
	if err := checkRows("noise", noise, n, dim); err != nil {
		return nil, err
	}
	if err := cost.check(); err != nil {
		return nil, err
	}
	if cost == CostL2Sq {
		cost = CostDot
	}
	if labels == nil {
		return pairAll(x, noise, n, dim, cost, product)
	}
	if len(labels) != n {
		return nil, fmt.Errorf("assign: %d labels for %d images, want one each", len(labels), n)
	}
	perm = make([]int, n)
	for _, members := range groups(labels) {
		m := len(members)
		if m == 1 {
			perm[members[0]] = members[0]
			continue
		}
		within, err := pairAll(gather(x, members, dim), gather(noise, members, dim), m, dim, cost, product)
		if err != nil {
			return nil, fmt.Errorf("%w (among the %d images of class %d)", err, m, labels[members[0]])
		}
		for i, j := range within {
			perm[members[i]] = members[j]
		}
	}
	return perm, nil
}

// pairAll is Pair without classes.
func pairAll(x, noise []float32, n, dim int, cost Cost, product Product) ([]int, error) {
	matrix, err := CostMatrix(x, noise, n, n, dim, cost, product)
	if err != nil {
		return nil, err
	}
	return Linear(matrix, n, n)
}

// groups lists the positions of each label, labels in the order in which they first appear.
func groups(labels []int64) [][]int {
	var members [][]int
	at := make(map[int64]int)
	for i, label := range labels {
		g, ok := at[label]
		if !ok {
			g = len(members)
			at[label] = g
			members = append(members, nil)
		}
		members[g] = append(members[g], i)
	}
	return members
}

// gather copies the chosen rows of x [·, dim].
func gather(x []float32, rows []int, dim int) []float32 {
	out := make([]float32, 0, len(rows)*dim)
	for _, i := range rows {
		out = append(out, vector(x, i, dim)...)
	}
	return out
}
