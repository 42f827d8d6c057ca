package refeval

import (
	"math"
	"slices"

	"immiscible/models/graph"
)

// moments are the mean and 1/√(variance + epsilon) of a list.
func moments(xs []float64, epsilon float64) (mu, r float64) {
	mu = mean(xs)
	variance := 0.0
	for _, x := range xs {
		variance += (x - mu) * (x - mu) / float64(len(xs))
	}
	return mu, 1 / math.Sqrt(variance+epsilon)
}

// normalized standardises consecutive rows of m elements and returns them with
// the rows' moments.
func normalized(data []float64, m int, epsilon float64) (hat, mus, rs []float64) {
	for at := 0; at < len(data); at += m {
		row := data[at : at+m]
		mu, r := moments(row, epsilon)
		for _, x := range row {
			hat = append(hat, (x-mu)*r)
		}
		mus, rs = append(mus, mu), append(rs, r)
	}
	return hat, mus, rs
}

// layerNormalization is y = scale·(x − mean)·invStdDev + bias over rows of the
// last dimension.
func layerNormalization(n *graph.Node, in []array) []array {
	x, scale := in[0], in[1]
	d := x.shape[len(x.shape)-1]
	hat, mus, rs := normalized(x.data, d, n.Float("epsilon", 1e-5))
	y := array{shape: x.shape}
	for i, h := range hat {
		v := h * scale.data[i%d]
		if len(in) == 3 {
			v += in[2].data[i%d]
		}
		y.data = append(y.data, v)
	}
	stats := append(append([]int{}, x.shape[:len(x.shape)-1]...), 1)
	return []array{y, {stats, mus}, {stats, rs}}
}

// layerNormalizationGrad multiplies by the transposed Jacobian, in a row of D
// elements ∂y_j/∂x_i = γ_j·r·(δ_ij − 1/D − x̂_i·x̂_j/D).
func layerNormalizationGrad(_ *graph.Node, in []array) []array {
	dy, x, scale, mu, r := in[0], in[1], in[2], in[3], in[4]
	d := len(scale.data)
	dx, dscale, dbias := zeros(x.shape), zeros(scale.shape), zeros(scale.shape)
	for row, r := range r.data {
		hat := func(i int) float64 { return (x.data[row*d+i] - mu.data[row]) * r }
		for j, g := range dy.data[row*d:][:d] {
			dscale.data[j] += g * hat(j)
			dbias.data[j] += g
			dx.data[row*d+j] += g * scale.data[j] * r
			for i := range d {
				dx.data[row*d+i] -= g * scale.data[j] * r * (1 + hat(i)*hat(j)) / float64(d)
			}
		}
	}
	return []array{dx, dscale, dbias}
}

// activationOf is the function that a pass fused into a group normalisation,
// with its derivative: SiLU or, without the attribute, none.
func activationOf(n *graph.Node) (f, derivative func(z float64) float64) {
	if slices.ContainsFunc(n.Attrs, func(a graph.Attr) bool { return a.Name == "activation" && a.Value == "silu" }) {
		return func(z float64) float64 { return z * sigmoid(z) },
			func(z float64) float64 { return sigmoid(z) + z*sigmoid(z)*sigmoid(-z) }
	}
	return func(z float64) float64 { return z }, func(float64) float64 { return 1 }
}

// groupNormalization is y = f(scale_c·(x − mean)·invStdDev + bias_c) over the
// C/groups channels and all positions of an image's group, which lie together.
func groupNormalization(n *graph.Node, in []array) []array {
	x, scale, bias := in[0], in[1], in[2]
	groups := n.Int("num_groups", 1)
	hat, mus, rs := normalized(x.data, len(x.data)/x.shape[0]/groups, n.Float("epsilon", 1e-5))
	h := array{x.shape, hat}
	activation, _ := activationOf(n)
	y := fill(x.shape, func(i []int) float64 { return activation(*h.at(i...)**scale.at(i[1]) + *bias.at(i[1])) })
	stats := []int{x.shape[0], groups, 1}
	return []array{y, {stats, mus}, {stats, rs}}
}

// groupNormalizationGrad multiplies by the transposed Jacobian, within a group
// of M elements ∂z_j/∂x_i = γ_j·r·(δ_ij − 1/M − x̂_i·x̂_j/M) for z = γ·x̂ + β, and
// ∂y_j/∂z_j = f′(z_j).
func groupNormalizationGrad(n *graph.Node, in []array) []array {
	dy, x, scale, bias, mu, r := in[0], in[1], in[2], in[3], in[4], in[5]
	groups := n.Int("num_groups", 1)
	m := len(x.data) / x.shape[0] / groups
	dx, dscale, dbias := zeros(x.shape), zeros(scale.shape), zeros(scale.shape)
	hat := fill(x.shape, func(i []int) float64 {
		group := i[0]*groups + i[1]/(x.shape[1]/groups)
		return (*x.at(i...) - mu.data[group]) * r.data[group]
	})
	_, derivative := activationOf(n)
	dz := fill(x.shape, func(i []int) float64 {
		return *dy.at(i...) * derivative(*hat.at(i...)**scale.at(i[1])+*bias.at(i[1]))
	})
	g := fill(x.shape, func(i []int) float64 { return *dz.at(i...) * *scale.at(i[1]) }) // the gradient of x̂
	for group, r := range r.data {
		g, hat, dx := g.data[group*m:][:m], hat.data[group*m:][:m], dx.data[group*m:][:m]
		meanG, meanGHat := 0.0, 0.0
		for j := range g {
			meanG += g[j] / float64(m)
			meanGHat += g[j] * hat[j] / float64(m)
		}
		for i := range dx {
			dx[i] = r * (g[i] - meanG - hat[i]*meanGHat)
		}
	}
	each(x.shape, func(i []int) {
		*dscale.at(i[1]) += *dz.at(i...) * *hat.at(i...)
		*dbias.at(i[1]) += *dz.at(i...)
	})
	return []array{plus(dx, in, 6), dscale, dbias}
}

// softmax is eˣ/Σeˣ over rows of the last dimension; the row's maximum is taken
// off first, which changes nothing but keeps eˣ finite.
func softmax(_ *graph.Node, in []array) []array {
	x := in[0]
	y := array{shape: x.shape}
	d := x.shape[len(x.shape)-1]
	for at := 0; at < len(x.data); at += d {
		row := x.data[at : at+d]
		most, total := math.Inf(-1), 0.0
		for _, v := range row {
			most = math.Max(most, v)
		}
		for _, v := range row {
			total += math.Exp(v - most)
		}
		for _, v := range row {
			y.data = append(y.data, math.Exp(v-most)/total)
		}
	}
	return []array{y}
}
