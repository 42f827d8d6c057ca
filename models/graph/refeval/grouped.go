package refeval

import (
	"math"

	"immiscible/models/graph"
)

// window is where tap (i, j) of output element (r, c) lies in an image, false
// in the padding.
func window(n *graph.Node, image []int, r, c, i, j int) (row, col int, inside bool) {
	strides, dilations, pads := n.IntList("strides"), n.IntList("dilations"), n.IntList("pads")
	row = strides[0]*r + dilations[0]*i - pads[0]
	col = strides[1]*c + dilations[1]*j - pads[1]
	return row, col, row >= 0 && row < image[2] && col >= 0 && col < image[3]
}

// groupedTaps is taps for a convolution in general: output channel o of group g
// reads the input channels of that group alone.
func groupedTaps(n *graph.Node, x, w, y array, visit func(x, w, y *float64)) {
	perGroup := w.shape[0] / n.Int("group", 1)
	each(y.shape, func(q []int) {
		each(w.shape[1:], func(t []int) {
			if row, col, inside := window(n, x.shape, q[2], q[3], t[1], t[2]); inside {
				channel := q[1]/perGroup*w.shape[1] + t[0]
				visit(strict(x, []int{q[0], channel, row, col}), strict(w, []int{q[1], t[0], t[1], t[2]}), strict(y, q))
			}
		})
	})
}

func groupedConv(n *graph.Node, in []array) []array {
	y := zeros(n.Outputs[0].Shape)
	groupedTaps(n, in[0], in[1], y, func(x, w, y *float64) { *y += *x * *w })
	if len(in) == 3 {
		each(y.shape, func(i []int) { *y.at(i...) += in[2].data[i[1]] })
	}
	return []array{y}
}

func groupedConvTranspose(n *graph.Node, in []array) []array {
	dx := zeros(n.Outputs[0].Shape)
	groupedTaps(n, dx, in[1], in[0], func(dx, w, dy *float64) { *dx += *w * *dy })
	return []array{dx}
}

func groupedConvWeightGrad(n *graph.Node, in []array) []array {
	dw := zeros(n.Outputs[0].Shape)
	groupedTaps(n, in[0], dw, in[1], func(x, dw, dy *float64) { *dw += *x * *dy })
	return []array{dw}
}

// largest points to the first largest element of a pooling window.
func largest(n *graph.Node, x array, q []int) *float64 {
	kernel := n.IntList("kernel_shape")
	lowest := math.Inf(-1)
	best := &lowest
	each(kernel, func(t []int) {
		if row, col, inside := window(n, x.shape, q[2], q[3], t[0], t[1]); inside {
			if v := strict(x, []int{q[0], q[1], row, col}); *v > *best {
				best = v
			}
		}
	})
	return best
}

func maxPool(n *graph.Node, in []array) []array {
	return []array{fill(n.Outputs[0].Shape, func(q []int) float64 { return *largest(n, in[0], q) })}
}

func maxPoolGrad(n *graph.Node, in []array) []array {
	dy, x, dx := in[0], in[1], zeros(in[1].shape)
	index := map[*float64]int{}
	for i := range x.data {
		index[&x.data[i]] = i
	}
	each(dy.shape, func(q []int) {
		if i, ok := index[largest(n, x, q)]; ok {
			dx.data[i] += *strict(dy, q)
		}
	})
	return []array{dx}
}
