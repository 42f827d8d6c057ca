package nn

import "immiscible/models/graph"

// Downsample2D halves height and width by a 3×3 convolution of stride 2. A
// padding of 0 means diffusers' own: one row and column of zeros at the bottom
// and the right.
func Downsample2D(b *graph.Builder, x *graph.Value, padding int) *graph.Value {
	pads := [4]int{padding, padding, padding, padding}
	if padding == 0 {
		pads = [4]int{0, 0, 1, 1}
	}
	return Conv2d(b.At("conv"), x, x.Dim(1), 3, graph.ConvAttrs{Stride: 2, Pads: pads})
}

// Upsample2D doubles height and width by repetition, then convolves 3×3; both
// at once, as a transposed convolution.
func Upsample2D(b *graph.Builder, x *graph.Value) *graph.Value {
	b = b.At("conv")
	c := x.Dim(1)
	init := torchUniform(c * 3 * 3)
	y := b.Upsample2xConv(x, b.Param("weight", init, c, c, 3, 3))
	return b.Add(y, b.Reshape(b.Param("bias", init, c), 1, c, 1, 1))
}

// AvgPool2x averages blocks of 2 by 2 pixels; an odd last row or column is
// dropped, as torch.nn.AvgPool2d(2) drops it.
func AvgPool2x(b *graph.Builder, x *graph.Value) *graph.Value {
	n, c, h, w := x.Dim(0), x.Dim(1), x.Dim(2)/2, x.Dim(3)/2
	x = b.Slice(x, []int{2, 3}, []int{0, 0}, []int{2 * h, 2 * w}, []int{1, 1})
	blocks := b.Reshape(x, n, c, h, 2, w, 2)
	return b.ReduceMean(blocks, false, 3, 5)
}
