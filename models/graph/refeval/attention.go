package refeval

import (
	"math"

	"immiscible/models/graph"
)

// heads visits the heads of attention's rows: visit gets a head's number, and
// where its queries, its keys and the rows of scores begin.
func heads(n *graph.Node, q, k array, visit func(head, pitch, d, t, s, query, key int)) {
	batch, count := n.Int("batch", 1), n.Int("num_heads", 1)
	c := q.shape[1]
	t, s := q.shape[0]/batch, k.shape[0]/batch
	for i := range batch * count {
		column := i % count * (c / count)
		visit(i, c, c/count, t, s, i/count*t*c+column, i/count*s*c+column)
	}
}

// attention gives y, the logarithms of the softmax's denominators, its weights,
// and the heads of q, k and v.
func attention(n *graph.Node, in []array) []array {
	q, k, v := in[0], in[1], in[2]
	y, stats := zeros(q.shape), zeros(n.Outputs[1].Shape)
	weights := zeros(append(append([]int{}, stats.shape...), k.shape[0]/n.Int("batch", 1)))
	heads(n, q, k, func(head, pitch, d, t, s, query, key int) {
		for i := range t {
			row := weights.data[(head*t+i)*s : (head*t+i+1)*s]
			sum := 0.0
			for j := range row {
				for c := range d {
					row[j] += n.Float("scale", 1) * q.data[query+i*pitch+c] * k.data[key+j*pitch+c]
				}
				sum += math.Exp(row[j])
			}
			stats.data[head*t+i] = math.Log(sum)
			for j := range row {
				row[j] = math.Exp(row[j]) / sum
				for c := range d {
					y.data[query+i*pitch+c] += row[j] * v.data[key+j*pitch+c]
				}
			}
		}
	})
	return []array{y, stats, weights, headsOf(n, q), headsOf(n, k), headsOf(n, v)}[:len(n.Outputs)]
}

// headsOf makes [N, heads, T, d] of [N·T, C].
func headsOf(n *graph.Node, x array) array {
	batch, count := n.Int("batch", 1), n.Int("num_heads", 1)
	t, d := x.shape[0]/batch, x.shape[1]/count
	return fill([]int{batch, count, t, d}, func(i []int) float64 { return *x.at(i[0]*t+i[2], i[1]*d+i[3]) })
}

// attentionGrad takes dy, q, k and v; what the forward kept, it computes again.
func attentionGrad(n *graph.Node, in []array) []array {
	dy, q, k, v := in[0], in[1], in[2], in[3]
	dq, dk, dv := zeros(q.shape), zeros(k.shape), zeros(v.shape)
	scale := n.Float("scale", 1)
	heads(n, q, k, func(_, pitch, d, t, s, query, key int) {
		for i := range t {
			p, dp := make([]float64, s), make([]float64, s)
			sum, delta := 0.0, 0.0
			for j := range s {
				for c := range d {
					p[j] += scale * q.data[query+i*pitch+c] * k.data[key+j*pitch+c]
					dp[j] += dy.data[query+i*pitch+c] * v.data[key+j*pitch+c]
				}
				p[j] = math.Exp(p[j])
				sum += p[j]
			}
			for j := range p {
				p[j] /= sum
				delta += p[j] * dp[j]
			}
			for j := range p {
				ds := scale * p[j] * (dp[j] - delta)
				for c := range d {
					at, to := query+i*pitch+c, key+j*pitch+c
					dq.data[at] += ds * k.data[to]
					dk.data[to] += ds * q.data[at]
					dv.data[to] += p[j] * dy.data[at]
				}
			}
		}
	})
	return []array{dq, dk, dv}
}
