package graph

import "slices"

// ConvAttrs are Conv's attributes; the zero value is the specification's
// default: stride 1, no padding.
type ConvAttrs struct {
	Stride int    // both directions; 0 means 1
	Pads   [4]int // top, left, bottom, right
}

func (a ConvAttrs) stride() int { return max(a.Stride, 1) }

// Conv is the two-dimensional cross-correlation of x [N, C, H, W] with
// w [O, C, kh, kw] plus bias [O] or nil (Conv, since opset 11; one group, no
// dilation): [N, O, H', W'].
func (b *Builder) Conv(x, w, bias *Value, a ConvAttrs) *Value {
	if x.Rank() != 4 || w.Rank() != 4 || x.Dim(1) != w.Dim(1) {
		b.fail("Conv", "x %v, w %v: want [N, C, H, W] and [O, C, kh, kw]", x.Shape, w.Shape)
	}
	if x.DType != w.DType || bias != nil && bias.DType != w.DType {
		b.fail("Conv", "x %v, w %v: want x, w and bias of one type", x, w)
	}
	if bias != nil && !sameShape(bias.Shape, w.Shape[:1]) {
		b.fail("Conv", "bias %v for w %v: want [%d]", bias.Shape, w.Shape, w.Dim(0))
	}
	h := (x.Dim(2)+a.Pads[0]+a.Pads[2]-w.Dim(2))/a.stride() + 1
	wd := (x.Dim(3)+a.Pads[1]+a.Pads[3]-w.Dim(3))/a.stride() + 1
	if h < 1 || wd < 1 {
		b.fail("Conv", "x %v with pads %v is smaller than the kernel %v", x.Shape, a.Pads, w.Shape)
	}
	inputs := []*Value{x, w}
	if bias != nil {
		inputs = append(inputs, bias)
	}
	return b.one("Conv", inputs, a.attrs(w.Shape), x.DType, []int{x.Dim(0), w.Dim(0), h, wd})
}

func (a ConvAttrs) attrs(w []int) []Attr {
	return []Attr{
		intsAttr("kernel_shape", w[2:]),
		intsAttr("strides", []int{a.stride(), a.stride()}),
		intsAttr("pads", a.Pads[:]),
	}
}

// convAttrs reads the attributes of a Conv or of one of its derivatives.
func convAttrs(n *Node) ConvAttrs {
	a := ConvAttrs{Stride: n.IntList("strides")[0]}
	copy(a.Pads[:], n.IntList("pads"))
	return a
}

// Y = X ⋆ W + c. dX and dW are composite operators, because which portable
// nodes are fastest depends on shapes and device; dc = Σ over N, H', W'.
func convGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, w := n.Inputs[0], n.Inputs[1]
	a := convAttrs(n).attrs(w.Shape)
	grads := []*Value{
		b.composite("ConvInputGrad", []*Value{dy[0], w}, append(slices.Clone(a), intsAttr("shape", x.Shape)), out{x.DType, x.Shape})[0],
		b.composite("ConvWeightGrad", []*Value{x, dy[0]}, a, out{w.DType, w.Shape})[0],
	}
	if len(n.Inputs) == 3 {
		grads = append(grads, b.composite("ConvBiasGrad", []*Value{dy[0]}, nil, out{w.DType, w.Shape[:1]})[0])
	}
	return grads
}

// lowerConvInputGrad: dX[n,c] = Σ_o dY[n,o] ⋆ flip(W)[c,o], after dY has been
// spread out by the stride, with pads k−1−p. A 1×1 kernel is a plain product.
func lowerConvInputGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy, w := in[0], in[1]
	a, x := convAttrs(n), n.Outputs[0].Shape
	o, c, kh, kw := w.Dim(0), w.Dim(1), w.Dim(2), w.Dim(3)
	if kh == 1 && kw == 1 && a == (ConvAttrs{Stride: 1}) {
		flat := b.Reshape(dy, dy.Dim(0), o, -1)
		dx := b.FusedMatMul(b.Reshape(w, o, c), flat, true, false, 1)
		return []*Value{b.Reshape(dx, x...)}
	}
	dy = b.Dilate(b.Dilate(dy, 2, a.stride()), 3, a.stride())
	reversed := make([]int, kh*kw)
	for i := range reversed {
		reversed[i] = kh*kw - 1 - i
	}
	flipped := b.Reshape(b.Gather(b.Reshape(b.Transpose(w, 1, 0, 2, 3), c, o, kh*kw), b.Ints(reversed...), 2), c, o, kh, kw)
	pads := [4]int{kh - 1 - a.Pads[0], kw - 1 - a.Pads[1]}
	// The far pads make the result exactly H by W, whatever the stride left over.
	pads[2] = x[2] - (dy.Dim(2) + pads[0] - kh + 1)
	pads[3] = x[3] - (dy.Dim(3) + pads[1] - kw + 1)
	dy, pads = b.crop(dy, pads)
	return []*Value{b.Conv(dy, flipped, nil, ConvAttrs{Pads: pads})}
}

// crop replaces negative pads by slices.
func (b *Builder) crop(x *Value, pads [4]int) (*Value, [4]int) {
	for i, p := range pads {
		if p >= 0 {
			continue
		}
		axis := 2 + i%2
		if i < 2 {
			x = b.SliceAxis(x, axis, -p, x.Dim(axis))
		} else {
			x = b.SliceAxis(x, axis, 0, x.Dim(axis)+p)
		}
		pads[i] = 0
	}
	return x, pads
}

// lowerConvWeightGrad: dW[o,c,i,j] = Σ_{n,y,x} dY[n,o,y,x]·Xpad[n,c,s·y+i,s·x+j]:
// for each of the kh·kw taps one slice of the padded image and one product in
// which the batch is folded: dYᵗ [O, NH'W'] · slice [NH'W', C].
func lowerConvWeightGrad(b *Builder, n *Node, in []*Value) []*Value {
	x, dy := in[0], in[1]
	a, w := convAttrs(n), n.Outputs[0].Shape
	o, c, kh, kw := w[0], w[1], w[2], w[3]
	s, h, wd := a.stride(), dy.Dim(2), dy.Dim(3)
	dyt := b.Reshape(b.Transpose(dy, 1, 0, 2, 3), o, -1)
	nhwc := b.Transpose(x, 0, 2, 3, 1)
	nhwc = b.Pad(nhwc, 0, a.Pads[0], a.Pads[1], 0, 0, a.Pads[2], a.Pads[3], 0)
	var taps []*Value
	for i := range kh {
		for j := range kw {
			window := b.Slice(nhwc, []int{1, 2}, []int{i, j}, []int{i + s*(h-1) + 1, j + s*(wd-1) + 1}, []int{s, s})
			tap := b.MatMul(dyt, b.Reshape(window, -1, c))
			taps = append(taps, b.Reshape(tap, o, c, 1))
		}
	}
	return []*Value{b.Reshape(b.Concat(2, taps...), w...)}
}

// lowerConvBiasGrad sums the innermost axis first: ORT's fast path.
func lowerConvBiasGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy := in[0]
	rows := b.ReduceSum(b.Reshape(dy, dy.Dim(0), dy.Dim(1), -1), false, 2)
	return []*Value{b.ReduceSum(rows, false, 0)}
}

// Resize2x doubles height and width of x [N, C, H, W] by repetition (Resize,
// mode nearest, since opset 18): torch's interpolate with scale_factor 2.
func (b *Builder) Resize2x(x *Value) *Value {
	if x.Rank() != 4 {
		b.fail("Resize", "x %v: want [N, C, H, W]", x.Shape)
	}
	shape := slices.Clone(x.Shape)
	shape[2], shape[3] = 2*shape[2], 2*shape[3]
	attrs := []Attr{
		{"mode", "nearest"}, {"nearest_mode", "floor"},
		{"coordinate_transformation_mode", "asymmetric"},
	}
	scales := b.Const([]float32{1, 1, 2, 2}, 4)
	return b.one("Resize", []*Value{x, nil, scales}, attrs, x.DType, shape)
}

// Every input element was used four times.
func resizeGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x := n.Inputs[0].Shape
	blocks := b.Reshape(dy[0], x[0]*x[1]*x[2], 2, x[3], 2)
	sum := b.ReduceSum(b.ReduceSum(blocks, false, 3), false, 1)
	return []*Value{b.Reshape(sum, x...), nil, nil}
}
