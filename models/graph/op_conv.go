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

// ConvTranspose is the adjoint of Conv with the same attributes: x [N, O, H', W']
// and w [O, C, kh, kw] to [N, C, h, w], where Conv would map [h, w] to [H', W']
// (ConvTranspose, since opset 11; one group, no dilation).
func (b *Builder) ConvTranspose(x, w *Value, a ConvAttrs, h, wd int) *Value {
	if x.Rank() != 4 || w.Rank() != 4 || x.Dim(1) != w.Dim(0) || x.DType != w.DType {
		b.fail("ConvTranspose", "x %v, w %v: want [N, O, H, W] and [O, C, kh, kw] of one type", x, w)
	}
	size := []int{h, wd}
	extra := make([]int, 2)
	for i := range extra {
		extra[i] = size[i] - (a.stride()*(x.Dim(2+i)-1) + w.Dim(2+i) - a.Pads[i] - a.Pads[i+2])
		if extra[i] < 0 || extra[i] >= a.stride() {
			b.fail("ConvTranspose", "x %v with kernel %v, stride %d and pads %v cannot give %d×%d", x.Shape, w.Shape, a.stride(), a.Pads, h, wd)
		}
	}
	attrs := append(a.attrs(w.Shape), intsAttr("output_padding", extra))
	return b.one("ConvTranspose", []*Value{x, w}, attrs, x.DType, []int{x.Dim(0), w.Dim(1), h, wd})
}

// Y = Wᵀ-conv X is linear in both: dX is the convolution of dY, and dW that of
// a convolution with the roles of image and gradient exchanged.
func convTransposeGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, w := n.Inputs[0], n.Inputs[1]
	a := convAttrs(n)
	dw := b.composite("ConvWeightGrad", []*Value{dy[0], x}, a.attrs(w.Shape), out{w.DType, w.Shape})[0]
	return []*Value{b.Conv(dy[0], w, nil, a), dw}
}

// Upsample2xConv is Conv(Resize2x(x), w) with a 3×3 kernel and pads 1, for w
// [O, C, 3, 3], as one transposed convolution of stride 2 with 4×4 kernels. Row
// 2i+p of the doubled image's convolution reads rows of x through
//
//	p = 0:  w0·x[i−1] + (w1+w2)·x[i]        p = 1:  (w0+w1)·x[i] + w2·x[i+1]
//
// so the transposed kernel's row is v = (w2, w1+w2, w0+w1, w0), and columns
// alike: 16 numbers that are sums of w's nine, 4 taps a pixel instead of 9, and
// no doubled image to store.
func (b *Builder) Upsample2xConv(x, w *Value) *Value {
	if x.Rank() != 4 || w.Rank() != 4 || x.Dim(1) != w.Dim(1) || w.Dim(2) != 3 || w.Dim(3) != 3 {
		b.fail("Upsample2xConv", "x %v, w %v: want [N, C, H, W] and [O, C, 3, 3]", x.Shape, w.Shape)
	}
	o, c := w.Dim(0), w.Dim(1)
	rows := [4][3]float32{{0, 0, 1}, {0, 1, 1}, {1, 1, 0}, {1, 0, 0}} // v from (w0, w1, w2)
	spread := make([]float32, 9*16)
	for i, vi := range rows {
		for j, vj := range rows {
			for k := range 9 {
				spread[k*16+i*4+j] = vi[k/3] * vj[k%3]
			}
		}
	}
	v := b.MatMul(b.Reshape(b.Transpose(w, 1, 0, 2, 3), c*o, 9), b.Const(spread, 9, 16))
	a := ConvAttrs{Stride: 2, Pads: [4]int{1, 1, 1, 1}}
	return b.ConvTranspose(x, b.Reshape(v, c, o, 4, 4), a, 2*x.Dim(2), 2*x.Dim(3))
}

// lowerConvInputGrad: dX[n,c] = Σ_o dY[n,o] ⋆ flip(W)[c,o] with pads k−1−p, or
// a ConvTranspose where a stride would have dY spread out with zeros first. A
// 1×1 kernel is a plain product.
func lowerConvInputGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy, w := in[0], in[1]
	a, x := convAttrs(n), n.Outputs[0].Shape
	o, c, kh, kw := w.Dim(0), w.Dim(1), w.Dim(2), w.Dim(3)
	if kh == 1 && kw == 1 && a == (ConvAttrs{Stride: 1}) {
		flat := b.Reshape(dy, dy.Dim(0), o, -1)
		dx := b.FusedMatMul(b.Reshape(w, o, c), flat, true, false, 1)
		return []*Value{b.Reshape(dx, x...)}
	}
	if a.stride() > 1 {
		return []*Value{b.evenConvTranspose(dy, w, a, x[2], x[3])}
	}
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

// evenConvTranspose is ConvTranspose with equal pads on both sides, the larger one
// done by a slice of a larger result: ONNX Runtime's CUDA provider leaves a
// ConvTranspose with unequal pads to the CPU. diffusers' downsample_padding 0 has them.
func (b *Builder) evenConvTranspose(x, w *Value, a ConvAttrs, h, wd int) *Value {
	even, size := a, [2]int{h, wd}
	var from [2]int
	for i := range size {
		p := min(a.Pads[i], a.Pads[i+2])
		from[i] = a.Pads[i] - p
		size[i] += a.Pads[i] + a.Pads[i+2] - 2*p
		even.Pads[i], even.Pads[i+2] = p, p
	}
	y := b.ConvTranspose(x, w, even, size[0], size[1])
	if even == a {
		return y
	}
	return b.Slice(y, []int{2, 3}, from[:], []int{from[0] + h, from[1] + wd}, []int{1, 1})
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

// lowerConvBiasGrad sums the innermost axis first: ORT's fast path. Of a matrix
// [N, O], which is Gemm's, it adds the rows.
func lowerConvBiasGrad(b *Builder, n *Node, in []*Value) []*Value {
	dy := in[0]
	if dy.Rank() == 2 {
		return []*Value{b.ReduceSum(dy, false, 0)}
	}
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
