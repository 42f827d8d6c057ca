package importer

import (
	"slices"

	"immiscible/models/graph"
)

// window are the attributes that convolutions and pools share, for two spatial
// dimensions; of one, the other is 1.
type window struct {
	kernel, strides, dilations [2]int
	pads                       [4]int
}

// window reads them for an image [N, C, H, W]. ceil_mode and the auto_pad modes
// become explicit pads.
func (c *call) window(image, kernel []int, spatial int) window {
	w := window{kernel: [2]int{1, 1}, strides: [2]int{1, 1}, dilations: [2]int{1, 1}}
	first := 2 - spatial
	fill := func(to []int, name string, length int) {
		if list := c.list(name); list != nil {
			c.must(len(list) == length, "%s %v for %d spatial dimensions", name, list, spatial)
			for _, x := range list {
				c.must(x >= 0 && x < 1<<24, "%s %v", name, list)
			}
			copy(to, list)
		}
	}
	copy(w.kernel[first:], kernel)
	fill(w.strides[first:], "strides", spatial)
	fill(w.dilations[first:], "dilations", spatial)
	pads := make([]int, 2*spatial)
	fill(pads, "pads", 2*spatial)
	copy(w.pads[first:2], pads[:spatial])
	copy(w.pads[2+first:], pads[spatial:])
	c.listed(max(w.kernel[0], w.kernel[1]))
	c.listed(w.kernel[0] * w.kernel[1])
	for i := range 2 {
		c.must(w.kernel[i] >= 1 && w.strides[i] >= 1 && w.dilations[i] >= 1, "kernel %v, strides %v, dilations %v: want at least 1", w.kernel, w.strides, w.dilations)
	}
	switch mode := c.string("auto_pad", "NOTSET"); mode {
	case "NOTSET":
	case "VALID":
		w.pads = [4]int{}
	case "SAME_UPPER", "SAME_LOWER":
		for i := range 2 {
			size := image[2+i]
			out := (size + w.strides[i] - 1) / w.strides[i]
			total := max(0, (out-1)*w.strides[i]+w.dilations[i]*(w.kernel[i]-1)+1-size)
			w.pads[i], w.pads[i+2] = total/2, total-total/2
			if mode == "SAME_LOWER" {
				w.pads[i], w.pads[i+2] = w.pads[i+2], w.pads[i]
			}
		}
	default:
		c.im.fail("auto_pad %q", mode)
	}
	return w
}

// image is x as [N, C, H, W], and how many of the last two are real.
func (c *call) image(x *graph.Value) (*graph.Value, int) {
	switch x.Rank() {
	case 3:
		return c.b.Reshape(x, x.Dim(0), x.Dim(1), 1, x.Dim(2)), 1
	case 4:
		return x, 2
	}
	c.im.fail("x %v: one or two spatial dimensions are imported", x.Shape)
	return nil, 0
}

// flat undoes image.
func (c *call) flat(y *graph.Value, spatial int) *graph.Value {
	if spatial == 1 {
		return c.b.Reshape(y, y.Dim(0), y.Dim(1), y.Dim(3))
	}
	return y
}

func buildConv(c *call) []*graph.Value {
	b := c.b
	x, spatial := c.image(c.x(0))
	c.must(c.x(1).Rank() == 2+spatial, "w %v for x %v", c.x(1).Shape, c.x(0).Shape)
	w, _ := c.image(c.x(1))
	s := c.window(x.Shape, w.Shape[2+2-spatial:], spatial)
	groups := c.int("group", 1)
	var y *graph.Value
	if groups == 1 && s.dilations == [2]int{1, 1} && s.strides[0] == s.strides[1] {
		y = b.Conv(x, w, c.optional(2), graph.ConvAttrs{Stride: s.strides[0], Pads: s.pads})
	} else {
		y = b.GroupedConv(x, w, c.optional(2), graph.GroupedConvAttrs{Groups: groups, Strides: s.strides, Dilations: s.dilations, Pads: s.pads})
	}
	return single(c.flat(y, spatial))
}

// ConvTranspose's size is stride·(in − 1) + output_padding + dilation·(k − 1) + 1
// − pads, or the pads follow from output_shape.
func buildConvTranspose(c *call) []*graph.Value {
	b := c.b
	x, spatial := c.image(c.x(0))
	c.must(c.x(1).Rank() == 2+spatial, "w %v for x %v", c.x(1).Shape, c.x(0).Shape)
	w, _ := c.image(c.x(1))
	mode := c.string("auto_pad", "NOTSET")
	s := c.window([]int{0, 0, 1 << 30, 1 << 30}, w.Shape[2+2-spatial:], spatial)
	var extra, size [2]int
	copy(extra[2-spatial:], c.list("output_padding"))
	wanted := c.list("output_shape")
	if len(wanted) > spatial {
		wanted = wanted[len(wanted)-spatial:]
	}
	c.must(wanted == nil || len(wanted) == spatial, "output_shape %v", wanted)
	for i := range size {
		size[i] = s.strides[i]*(x.Dim(2+i)-1) + extra[i] + s.dilations[i]*(w.Dim(2+i)-1) + 1
		total := s.pads[i] + s.pads[i+2]
		real := i >= 2-spatial
		switch {
		case real && wanted != nil:
			total = size[i] - wanted[i-(2-spatial)]
		case real && (mode == "SAME_UPPER" || mode == "SAME_LOWER"):
			total = size[i] - x.Dim(2+i)*s.strides[i]
		default:
			size[i] -= total
			continue
		}
		if total < 0 { // larger than every product reaches: more output_padding
			size[i] -= total
			s.pads[i], s.pads[i+2] = 0, 0
			continue
		}
		size[i] -= total
		s.pads[i], s.pads[i+2] = total-total/2, total/2
		if mode == "SAME_UPPER" {
			s.pads[i], s.pads[i+2] = total/2, total-total/2
		}
	}
	groups := c.int("group", 1)
	var y *graph.Value
	if groups == 1 && s.dilations == [2]int{1, 1} && s.strides[0] == s.strides[1] {
		y = b.ConvTranspose(x, w, graph.ConvAttrs{Stride: s.strides[0], Pads: s.pads}, size[0], size[1])
	} else {
		y = b.GroupedConvTranspose(x, w, graph.GroupedConvAttrs{Groups: groups, Strides: s.strides, Dilations: s.dilations, Pads: s.pads}, size[0], size[1])
	}
	if c.has(2) {
		y = b.Add(y, b.Reshape(c.x(2), y.Dim(1), 1, 1))
	}
	return single(c.flat(y, spatial))
}

// pool reads a pool's window. With ceil_mode the last window may hang over the
// edge, but must start within the image or the padding before it.
func (c *call) pool(x *graph.Value, spatial int) (w window, hanging [2]int) {
	kernel := c.list("kernel_shape")
	c.must(len(kernel) == spatial, "kernel_shape %v for %d spatial dimensions", kernel, spatial)
	w = c.window(x.Shape, kernel, spatial)
	if c.int("ceil_mode", 0) == 1 {
		for i := range 2 {
			size := x.Dim(2+i) + w.pads[i] + w.pads[i+2]
			reach := w.dilations[i]*(w.kernel[i]-1) + 1
			out := (size-reach+w.strides[i]-1)/w.strides[i] + 1
			if (out-1)*w.strides[i] >= x.Dim(2+i)+w.pads[i] {
				out--
			}
			hanging[i] = max(0, (out-1)*w.strides[i]+reach-size)
		}
	}
	return w, hanging
}

func buildMaxPool(c *call) []*graph.Value {
	c.must(len(c.n.Output) == 1 || c.n.Output[1] == "", "the indices of the largest elements are not imported")
	x, spatial := c.image(c.x(0))
	w, hanging := c.pool(x, spatial)
	w.pads[2] += hanging[0]
	w.pads[3] += hanging[1]
	y := c.b.MaxPool(c.b.Cast(x, graph.Float32), graph.PoolAttrs{Kernel: w.kernel, Strides: w.strides, Dilations: w.dilations, Pads: w.pads})
	return single(c.flat(c.b.Cast(y, x.DType), spatial))
}

// AveragePool is a convolution with a kernel of ones on each channel alone,
// divided by the elements in each window: those of the image, or with
// count_include_pad also those of the pads, but never those that hang over.
func buildAveragePool(c *call) []*graph.Value {
	b := c.b
	x, spatial := c.image(c.x(0))
	w, hanging := c.pool(x, spatial)
	pads := w.pads
	pads[2] += hanging[0]
	pads[3] += hanging[1]
	a := graph.GroupedConvAttrs{Groups: 1, Strides: w.strides, Dilations: w.dilations, Pads: pads}
	ones := b.Full(1, 1, 1, w.kernel[0], w.kernel[1])
	planes := b.Reshape(x, x.Dim(0)*x.Dim(1), 1, x.Dim(2), x.Dim(3))
	sum := b.GroupedConv(planes, ones, nil, a)
	var counts [2][]float64
	for i := range counts {
		low, high := 0, x.Dim(2+i)
		if c.int("count_include_pad", 0) == 1 {
			low, high = -w.pads[i], high+w.pads[i+2]
		}
		c.listed(max(sum.Dim(2+i)*w.kernel[i], sum.Dim(2)*sum.Dim(3)))
		for r := range sum.Dim(2 + i) {
			n := 0
			for k := range w.kernel[i] {
				at := r*w.strides[i] + k*w.dilations[i] - w.pads[i]
				n += truth(at >= low && at < high)
			}
			counts[i] = append(counts[i], float64(n))
		}
	}
	share := make([]float32, 0, len(counts[0])*len(counts[1]))
	for _, rows := range counts[0] {
		for _, cols := range counts[1] {
			share = append(share, float32(1/(rows*cols)))
		}
	}
	y := b.Mul(sum, b.Const(share, len(counts[0]), len(counts[1])))
	return single(c.flat(b.Reshape(y, x.Dim(0), x.Dim(1), y.Dim(2), y.Dim(3)), spatial))
}

func buildGlobalPool(c *call) []*graph.Value {
	x := c.x(0)
	c.must(x.Rank() >= 3, "x %v, want [N, C, ...]", x.Shape)
	var axes []int
	for a := 2; a < x.Rank(); a++ {
		axes = append(axes, a)
	}
	if c.n.GetOpType() == "GlobalMaxPool" {
		return single(c.b.ReduceMax(x, true, axes...))
	}
	return single(c.b.ReduceMean(x, true, slices.Clone(axes)...))
}
