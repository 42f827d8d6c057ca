package refeval

import "immiscible/models/graph"

// taps visits every product of a convolution
//
//	y[n,o,r,c] = Σ_{k,i,j} x[n,k, s·r+i−top, s·c+j−left]·w[o,k,i,j]
//
// with pointers to its three elements. What is summed into which of them makes
// it the convolution or one of its derivatives.
func taps(n *graph.Node, x, w, y array, visit func(x, w, y *float64)) {
	strides, pads := n.IntList("strides"), n.IntList("pads")
	each(y.shape, func(q []int) {
		each(w.shape[1:], func(t []int) {
			row := strides[0]*q[2] + t[1] - pads[0]
			col := strides[1]*q[3] + t[2] - pads[1]
			if row < 0 || row >= x.shape[2] || col < 0 || col >= x.shape[3] {
				return // padding
			}
			visit(x.at(q[0], t[0], row, col), w.at(q[1], t[0], t[1], t[2]), y.at(q...))
		})
	})
}

func conv(n *graph.Node, in []array) []array {
	if n.IntList("dilations") != nil {
		return groupedConv(n, in)
	}
	x, w := in[0], in[1]
	strides, pads := n.IntList("strides"), n.IntList("pads")
	y := zeros([]int{x.shape[0], w.shape[0],
		(x.shape[2]+pads[0]+pads[2]-w.shape[2])/strides[0] + 1,
		(x.shape[3]+pads[1]+pads[3]-w.shape[3])/strides[1] + 1})
	taps(n, x, w, y, func(x, w, y *float64) { *y += *x * *w })
	if len(in) > 2 && in[2].data != nil {
		each(y.shape, func(i []int) { *y.at(i...) += *in[2].at(i[1]) })
	}
	return []array{plus(y, in, 3)}
}

// plus adds the addend that a pass made input i of a node, if it did.
func plus(y array, in []array, i int) array {
	if i < len(in) {
		each(y.shape, func(at []int) { *y.at(at...) += *in[i].at(at...) })
	}
	return y
}

func convInputGrad(n *graph.Node, in []array) []array {
	if n.IntList("dilations") != nil {
		return groupedConvTranspose(n, in)
	}
	dx := zeros(n.Outputs[0].Shape)
	taps(n, dx, in[1], in[0], func(dx, w, dy *float64) { *dx += *w * *dy })
	return []array{plus(dx, in, 2)}
}

func convWeightGrad(n *graph.Node, in []array) []array {
	dw := zeros(n.Outputs[0].Shape)
	taps(n, in[0], dw, in[1], func(x, dw, dy *float64) { *dw += *x * *dy })
	return []array{dw}
}

func convBiasGrad(_ *graph.Node, in []array) []array {
	dc := zeros(in[0].shape[1:2])
	each(in[0].shape, func(i []int) { *dc.at(i[1]) += *in[0].at(i...) })
	return []array{dc}
}

// resize repeats elements: nearest, with coordinates rounded down.
func resize(_ *graph.Node, in []array) []array {
	x, scales := in[0], in[2]
	shape := make([]int, len(x.shape))
	for d := range shape {
		shape[d] = int(float64(x.shape[d]) * scales.data[d])
	}
	return []array{fill(shape, func(index []int) float64 {
		from := make([]int, len(index))
		for d, i := range index {
			from[d] = int(float64(i) / scales.data[d])
		}
		return *x.at(from...)
	})}
}
