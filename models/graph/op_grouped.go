package graph

import "slices"

// GroupedConvAttrs are the attributes of a convolution in general.
type GroupedConvAttrs struct {
	Groups             int
	Strides, Dilations [2]int
	Pads               [4]int // top, left, bottom, right
}

// size is the output's height (i = 0) or width (i = 1).
func (a GroupedConvAttrs) size(x, kernel, i int) int {
	return (x+a.Pads[i]+a.Pads[i+2]-a.Dilations[i]*(kernel-1)-1)/a.Strides[i] + 1
}

func (a GroupedConvAttrs) attrs(kernel []int) []Attr {
	return []Attr{intAttr("group", a.Groups), intsAttr("kernel_shape", kernel), intsAttr("strides", a.Strides[:]),
		intsAttr("dilations", a.Dilations[:]), intsAttr("pads", a.Pads[:])}
}

func groupedAttrs(n *Node) GroupedConvAttrs {
	a := GroupedConvAttrs{Groups: n.Int("group", 1)}
	copy(a.Strides[:], n.IntList("strides"))
	copy(a.Dilations[:], n.IntList("dilations"))
	copy(a.Pads[:], n.IntList("pads"))
	return a
}

func (b *Builder) checkGrouped(op string, x, w *Value, channels int, a GroupedConvAttrs) {
	if x.Rank() != 4 || w.Rank() != 4 || x.DType != w.DType {
		b.fail(op, "x %v, w %v: want four dimensions each, of one type", x, w)
	}
	for _, least := range slices.Concat([]int{a.Groups}, a.Strides[:], a.Dilations[:]) {
		if least < 1 {
			b.fail(op, "groups %d, strides %v, dilations %v: want at least 1", a.Groups, a.Strides, a.Dilations)
		}
	}
	if x.Dim(1) != channels || w.Dim(0)%a.Groups != 0 {
		b.fail(op, "x %v, w %v, %d groups do not fit", x.Shape, w.Shape, a.Groups)
	}
}

// GroupedConv is Conv with groups, dilations and a stride of each direction: x
// [N, C, H, W], w [O, C/groups, kh, kw], bias [O] or nil (composite; lowered to
// Conv, since opset 11). What Conv can do is Conv's, which has faster kernels.
func (b *Builder) GroupedConv(x, w, bias *Value, a GroupedConvAttrs) *Value {
	b.checkGrouped("GroupedConv", x, w, w.Dim(1)*a.Groups, a)
	if bias != nil && !sameShape(bias.Shape, w.Shape[:1]) {
		b.fail("GroupedConv", "bias %v for w %v: want [%d]", bias.Shape, w.Shape, w.Dim(0))
	}
	h, wd := a.size(x.Dim(2), w.Dim(2), 0), a.size(x.Dim(3), w.Dim(3), 1)
	if h < 1 || wd < 1 {
		b.fail("GroupedConv", "x %v with pads %v is smaller than the kernel %v", x.Shape, a.Pads, w.Shape)
	}
	inputs := []*Value{x, w}
	if bias != nil {
		inputs = append(inputs, bias)
	}
	return b.composite("GroupedConv", inputs, a.attrs(w.Shape[2:]), out{x.DType, []int{x.Dim(0), w.Dim(0), h, wd}})[0]
}

// GroupedConvTranspose is the adjoint of GroupedConv with the same attributes:
// x [N, O, H', W'] and w [O, C/groups, kh, kw] to [N, C, h, wd], where
// GroupedConv would map [h, wd] to [H', W'] (composite; lowered to
// ConvTranspose, since opset 11).
func (b *Builder) GroupedConvTranspose(x, w *Value, a GroupedConvAttrs, h, wd int) *Value {
	b.checkGrouped("GroupedConvTranspose", x, w, w.Dim(0), a)
	if h < 1 || wd < 1 || a.size(h, w.Dim(2), 0) != x.Dim(2) || a.size(wd, w.Dim(3), 1) != x.Dim(3) {
		b.fail("GroupedConvTranspose", "x %v with kernel %v, strides %v and pads %v cannot give %d×%d", x.Shape, w.Shape, a.Strides, a.Pads, h, wd)
	}
	shape := []int{x.Dim(0), w.Dim(1) * a.Groups, h, wd}
	return b.composite("GroupedConvTranspose", []*Value{x, w}, a.attrs(w.Shape[2:]), out{x.DType, shape})[0]
}

// As convGrad, group by group: dX is the adjoint, dW a composite.
func groupedConvGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, w := n.Inputs[0], n.Inputs[1]
	grads := []*Value{
		b.GroupedConvTranspose(dy[0], w, groupedAttrs(n), x.Dim(2), x.Dim(3)),
		b.composite("GroupedConvWeightGrad", []*Value{x, dy[0]}, n.Attrs, out{w.DType, w.Shape})[0],
	}
	if len(n.Inputs) == 3 {
		grads = append(grads, b.composite("ConvBiasGrad", []*Value{dy[0]}, nil, out{w.DType, w.Shape[:1]})[0])
	}
	return grads
}

// As convTransposeGrad: image and gradient exchange their roles.
func groupedConvTransposeGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, w := n.Inputs[0], n.Inputs[1]
	dw := b.composite("GroupedConvWeightGrad", []*Value{dy[0], x}, n.Attrs, out{w.DType, w.Shape})[0]
	return []*Value{b.GroupedConv(dy[0], w, nil, groupedAttrs(n)), dw}
}

func lowerGroupedConv(b *Builder, n *Node, in []*Value) []*Value {
	return []*Value{b.one("Conv", in, n.Attrs, n.Outputs[0].DType, n.Outputs[0].Shape)}
}

func lowerGroupedConvTranspose(b *Builder, n *Node, in []*Value) []*Value {
	a, x, w, y := groupedAttrs(n), in[0], in[1], n.Outputs[0]
	extra := make([]int, 2)
	for i := range extra {
		extra[i] = y.Dim(2+i) - (a.Strides[i]*(x.Dim(2+i)-1) + a.Dilations[i]*(w.Dim(2+i)-1) + 1 - a.Pads[i] - a.Pads[i+2])
	}
	attrs := append(slices.Clone(n.Attrs), intsAttr("output_padding", extra))
	return []*Value{b.one("ConvTranspose", in, attrs, y.DType, y.Shape)}
}

// lowerGroupedConvWeightGrad is lowerConvWeightGrad with the groups as a batch
// of products: for each tap dYᵗ [G, O/G, NH'W'] · slice [G, NH'W', C/G].
func lowerGroupedConvWeightGrad(b *Builder, n *Node, in []*Value) []*Value {
	x, dy, a, w := in[0], in[1], groupedAttrs(n), n.Outputs[0].Shape
	groups, o, c := a.Groups, w[0]/a.Groups, w[1]
	batch, h, wd := x.Dim(0), dy.Dim(2), dy.Dim(3)
	dyt := b.Transpose(b.Reshape(dy, batch, groups, o, h*wd), 1, 2, 0, 3)
	dyt = b.Reshape(dyt, groups, o, batch*h*wd)
	image := b.Transpose(b.Reshape(x, batch, groups, c, x.Dim(2), x.Dim(3)), 1, 0, 3, 4, 2) // [G, N, H, W, C/G]
	image = b.Pad(image, 0, 0, a.Pads[0], a.Pads[1], 0, 0, 0, a.Pads[2], a.Pads[3], 0)
	var taps []*Value
	for i := range w[2] {
		for j := range w[3] {
			top, left := i*a.Dilations[0], j*a.Dilations[1]
			window := b.Slice(image, []int{2, 3}, []int{top, left},
				[]int{top + a.Strides[0]*(h-1) + 1, left + a.Strides[1]*(wd-1) + 1}, a.Strides[:])
			tap := b.MatMul(dyt, b.Reshape(window, groups, -1, c))
			taps = append(taps, b.Reshape(tap, w[0], c, 1))
		}
	}
	return []*Value{b.Reshape(b.Concat(2, taps...), w...)}
}
