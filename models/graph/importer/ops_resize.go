package importer

import (
	"math"
	"slices"

	"immiscible/models/graph"
)

// Resize works along one axis after another. Doubling an image by repetition is
// the builder's Resize2x; other repetition a Gather; linear and cubic
// interpolation a product with a matrix of the weights, which is small.
func buildResize(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	mode := c.string("mode", "nearest")
	sizes, scales := c.resized(x.Shape)
	c.must(c.string("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize", "tf_crop_and_resize is not imported")
	if mode == "nearest" && c.doubles(x.Shape, sizes, scales) {
		return single(b.Resize2x(x))
	}
	for a := range x.Shape {
		if sizes[a] == x.Dim(a) && scales[a] == 1 {
			continue
		}
		if mode == "nearest" {
			rows := make([]int, c.listed(sizes[a]))
			for i := range rows {
				rows[i] = c.nearest(i, sizes[a], x.Dim(a), scales[a])
			}
			x = b.Gather(x, b.Ints(rows...), a)
			continue
		}
		c.must(mode == "linear" || mode == "cubic", "mode %q, want nearest, linear or cubic", mode)
		x = alongLast(b, x, a, func(v *graph.Value) *graph.Value {
			return b.MatMul(atLeast2(b, v), b.Const(c.weights(mode, sizes[a], v.Dim(-1), scales[a]), v.Dim(-1), sizes[a]))
		})
	}
	return single(x)
}

func atLeast2(b *graph.Builder, v *graph.Value) *graph.Value {
	if v.Rank() == 1 {
		return b.Reshape(v, 1, v.Dim(0))
	}
	return v
}

// resized are the result's sizes and the scales, of all axes.
func (c *call) resized(x []int) (sizes []int, scales []float64) {
	axes := c.list("axes")
	if axes == nil {
		for i := range x {
			axes = append(axes, i)
		}
	}
	sizes, scales = slices.Clone(x), make([]float64, len(x))
	for i := range scales {
		scales[i] = 1
	}
	if c.im.opset < 11 { // Upsample, and Resize as it was: scales alone
		list := c.tensor(1).data
		c.must(len(list) == len(x), "scales %v of %v", list, x)
		for a, scale := range list {
			scales[a], sizes[a] = scale, int(math.Floor(scale*float64(x[a])))
		}
		return c.claimed(sizes), scales
	}
	given := func(i int) bool { return c.has(i) && numel(c.im.shape(c.entry(i))) > 0 }
	policy := c.string("keep_aspect_ratio_policy", "stretch")
	switch {
	case given(3):
		list := c.claimed(c.ints(3))
		c.must(len(list) == len(axes), "sizes %v for axes %v", list, axes)
		common := 0.0
		for i, a := range axes {
			a = c.axis(a, len(x))
			sizes[a] = list[i]
			scales[a] = float64(list[i]) / float64(x[a])
			if common == 0 || policy == "not_larger" && scales[a] < common || policy == "not_smaller" && scales[a] > common {
				common = scales[a]
			}
		}
		if policy != "stretch" {
			for _, a := range axes {
				a = c.axis(a, len(x))
				scales[a] = common
				sizes[a] = int(math.Floor(common*float64(x[a]) + 0.5))
			}
		}
	case given(2):
		list := c.tensor(2).data
		c.must(len(list) == len(axes), "scales %v for axes %v", list, axes)
		for i, a := range axes {
			a = c.axis(a, len(x))
			scales[a] = list[i]
			sizes[a] = int(math.Floor(list[i] * float64(x[a])))
		}
	default:
		c.im.fail("neither sizes nor scales")
	}
	for _, d := range c.claimed(sizes) {
		c.must(d >= 1, "sizes %v of %v", sizes, x)
	}
	return sizes, scales
}

// doubles tells whether height and width of an image are doubled and every
// pixel is repeated, which each way of rounding does but for those that shift.
func (c *call) doubles(x, sizes []int, scales []float64) bool {
	if len(x) != 4 || sizes[0] != x[0] || sizes[1] != x[1] || sizes[2] != 2*x[2] || sizes[3] != 2*x[3] {
		return false
	}
	for a := 2; a < 4; a++ {
		for i := range c.listed(sizes[a]) {
			if c.nearest(i, sizes[a], x[a], scales[a]) != i/2 {
				return false
			}
		}
	}
	return true
}

// source is the place in the image that element i of the result stems from.
func (c *call) source(i, out, in int, scale float64) float64 {
	x := float64(i)
	usual := "half_pixel"
	if c.im.opset < 11 {
		usual = "asymmetric"
	}
	switch mode := c.string("coordinate_transformation_mode", usual); mode {
	case "asymmetric":
		return x / scale
	case "align_corners":
		// By the size before it was rounded.
		if size := scale * float64(in); size != 1 {
			return x * float64(in-1) / (size - 1)
		}
		return 0
	case "pytorch_half_pixel":
		if out == 1 {
			return 0
		}
		return (x+0.5)/scale - 0.5
	case "half_pixel_symmetric":
		// The result's centre is kept where sizes were rounded.
		adjustment := float64(out) / (scale * float64(in))
		centre := float64(in) / 2
		return centre*(1-adjustment) + (x+0.5)/scale - 0.5
	case "half_pixel":
		return (x+0.5)/scale - 0.5
	default:
		c.im.fail("coordinate_transformation_mode %q", mode)
	}
	return 0
}

func (c *call) nearest(i, out, in int, scale float64) int {
	x := c.source(i, out, in, scale)
	usual := "round_prefer_floor"
	if c.im.opset < 11 {
		usual = "floor"
	}
	switch c.string("nearest_mode", usual) {
	case "floor":
		x = math.Floor(x)
	case "ceil":
		x = math.Ceil(x)
	case "round_prefer_ceil":
		x = math.Floor(x + 0.5)
	default:
		x = math.Ceil(x - 0.5)
	}
	return min(max(int(x), 0), in-1)
}

// weights is the matrix [in, out] of an interpolation: column i holds how much
// of each input element goes into output element i. With antialias a reduction
// widens the filter by the scale.
func (c *call) weights(mode string, out, in int, scale float64) []float32 {
	c.must(in*out <= foldLimit, "an axis from %d to %d elements", in, out)
	stretch := 1.0
	if c.int("antialias", 0) == 1 && scale < 1 {
		stretch = 1 / scale
	}
	filter := func(d float64) float64 { return max(0, 1-math.Abs(d)) }
	reach := 1.0
	if mode == "cubic" {
		a := c.float("cubic_coeff_a", -0.75)
		reach = 2
		filter = func(d float64) float64 { // Keys 1981
			switch d = math.Abs(d); {
			case d <= 1:
				return ((a+2)*d-(a+3))*d*d + 1
			case d < 2:
				return ((a*d-5*a)*d+8*a)*d - 4*a
			}
			return 0
		}
	}
	exclude := c.int("exclude_outside", 0) == 1
	m := make([]float32, in*out)
	for i := range out {
		x := c.source(i, out, in, scale)
		column, total := map[int]float64{}, 0.0
		for k := int(math.Floor(x - reach*stretch)); k <= int(math.Ceil(x+reach*stretch)); k++ {
			w := filter((float64(k) - x) / stretch)
			if exclude && (k < 0 || k >= in) {
				continue
			}
			column[min(max(k, 0), in-1)] += w
			total += w
		}
		for k, w := range column {
			m[k*out+i] = float32(w / total)
		}
	}
	return m
}
