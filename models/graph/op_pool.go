package graph

import "math"

// PoolAttrs are MaxPool's attributes.
type PoolAttrs struct {
	Kernel, Strides, Dilations [2]int
	Pads                       [4]int // top, left, bottom, right
}

// MaxPool is the largest element of each window of x [N, C, H, W] (MaxPool,
// since opset 12). Of equal ones the first, row by row, gets the gradient, as
// in PyTorch.
func (b *Builder) MaxPool(x *Value, a PoolAttrs) *Value {
	if x.Rank() != 4 {
		b.fail("MaxPool", "x %v: want [N, C, H, W]", x.Shape)
	}
	shape := []int{x.Dim(0), x.Dim(1), 0, 0}
	for i := range 2 {
		if a.Kernel[i] < 1 || a.Strides[i] < 1 || a.Dilations[i] < 1 || a.Pads[i] < 0 || a.Pads[i+2] < 0 {
			b.fail("MaxPool", "kernel %v, strides %v, dilations %v, pads %v: want at least 1, pads at least 0", a.Kernel, a.Strides, a.Dilations, a.Pads)
		}
		room := x.Dim(2+i) + a.Pads[i] + a.Pads[i+2] - a.Dilations[i]*(a.Kernel[i]-1) - 1
		if room < 0 {
			b.fail("MaxPool", "x %v with pads %v is smaller than the kernel %v", x.Shape, a.Pads, a.Kernel)
		}
		shape[2+i] = room/a.Strides[i] + 1
	}
	attrs := []Attr{intsAttr("kernel_shape", a.Kernel[:]), intsAttr("strides", a.Strides[:]),
		intsAttr("dilations", a.Dilations[:]), intsAttr("pads", a.Pads[:])}
	return b.one("MaxPool", []*Value{x}, attrs, x.DType, shape)
}

// dX is a composite operator of dY, X and Y.
func maxPoolGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x := n.Inputs[0]
	return b.composite("MaxPoolGrad", []*Value{dy[0], x, n.Outputs[0]}, n.Attrs, out{x.DType, x.Shape})
}

// lowerMaxPoolGrad visits the kernel's taps in row order. A tap's slice of the
// padded image that equals y, where no tap before it did, takes dy; each tap's
// share is spread to the stride, shifted to its place and added.
func lowerMaxPoolGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy, x, y := in[0], in[1], in[2]
	kernel, strides, dilations, pads := n.IntList("kernel_shape"), n.IntList("strides"), n.IntList("dilations"), n.IntList("pads")
	h, w := x.Dim(2)+pads[0]+pads[2], x.Dim(3)+pads[1]+pads[3]
	// Padding is −∞ in the forward: the lowest float32 stands for it, and loses
	// every comparison but with itself.
	low := b.Scalar(-math.MaxFloat32)
	around := []int{0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]}
	padded := x
	if !sameShape([]int{h, w}, x.Shape[2:]) {
		padded = b.one("Pad", []*Value{x, b.Ints(around...), low}, nil, x.DType, []int{x.Dim(0), x.Dim(1), h, w})
	}
	rows, cols := y.Dim(2), y.Dim(3)
	spanH, spanW := strides[0]*(rows-1)+1, strides[1]*(cols-1)+1
	var taken, total *Value
	for i := range kernel[0] {
		for j := range kernel[1] {
			top, left := i*dilations[0], j*dilations[1]
			tap := b.Slice(padded, []int{2, 3}, []int{top, left}, []int{top + spanH, left + spanW}, strides)
			hit := b.Equal(tap, y)
			if taken != nil {
				hit = b.And(hit, b.Not(taken))
				taken = b.Or(taken, hit)
			} else {
				taken = hit
			}
			share := b.Dilate(b.Dilate(b.Where(hit, dy, b.Scalar(0)), 2, strides[0]), 3, strides[1])
			share = b.SliceAxis(b.SliceAxis(share, 2, 0, spanH), 3, 0, spanW)
			share = b.Pad(share, 0, 0, top, left, 0, 0, h-top-spanH, w-left-spanW)
			if total == nil {
				total = share
			} else {
				total = b.Add(total, share)
			}
		}
	}
	total = b.SliceAxis(total, 2, pads[0], pads[0]+x.Dim(2))
	return []*Value{b.SliceAxis(total, 3, pads[1], pads[1]+x.Dim(3))}
}
