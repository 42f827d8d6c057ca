package native_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"immiscible/models/onnx"
)

// geometry is a convolution; pads are top, left, bottom, right.
type geometry struct {
	n, c, h, w, o, kh, kw, sh, sw int
	pads                          [4]int
}

func (g geometry) out() (oh, ow int) {
	return (g.h+g.pads[0]+g.pads[2]-g.kh)/g.sh + 1, (g.w+g.pads[1]+g.pads[3]-g.kw)/g.sw + 1
}

func (g geometry) String() string {
	return fmt.Sprintf("x [%d %d %d %d], weight [%d %d %d %d], strides %d %d, pads %v", g.n, g.c, g.h, g.w, g.o, g.c, g.kh, g.kw, g.sh, g.sw, g.pads)
}

func (g geometry) attrs() []*onnx.AttributeProto {
	return []*onnx.AttributeProto{
		onnx.IntsAttr("kernel_shape", []int64{int64(g.kh), int64(g.kw)}),
		onnx.IntsAttr("strides", []int64{int64(g.sh), int64(g.sw)}),
		onnx.IntsAttr("pads", []int64{int64(g.pads[0]), int64(g.pads[1]), int64(g.pads[2]), int64(g.pads[3])}),
	}
}

func (g geometry) inputAttrs() []*onnx.AttributeProto {
	return append(g.attrs(), onnx.IntsAttr("shape", []int64{int64(g.n), int64(g.c), int64(g.h), int64(g.w)}))
}

// reference computes y, and the gradients of Σ y·dy, in float64 by the sum's
// definition.
func (g geometry) reference(x, weight, bias, dy []float32) (y, dx, dweight []float64) {
	oh, ow := g.out()
	y, dx, dweight = make([]float64, g.n*g.o*oh*ow), make([]float64, len(x)), make([]float64, len(weight))
	for n := range g.n {
		for o := range g.o {
			for Y := range oh {
				for X := range ow {
					at := ((n*g.o+o)*oh+Y)*ow + X
					if bias != nil {
						y[at] = float64(bias[o])
					}
					for c := range g.c {
						for i := range g.kh {
							for j := range g.kw {
								r, s := Y*g.sh+i-g.pads[0], X*g.sw+j-g.pads[1]
								if r < 0 || r >= g.h || s < 0 || s >= g.w {
									continue
								}
								from, tap := ((n*g.c+c)*g.h+r)*g.w+s, ((o*g.c+c)*g.kh+i)*g.kw+j
								y[at] += float64(x[from]) * float64(weight[tap])
								dx[from] += float64(dy[at]) * float64(weight[tap])
								dweight[tap] += float64(dy[at]) * float64(x[from])
							}
						}
					}
				}
			}
		}
	}
	return y, dx, dweight
}

type kernelCase struct {
	kh, kw, sh, sw int
	pads           [4]int
}

func TestConv(t *testing.T) {
	kernels := []kernelCase{
		{3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{3, 3, 2, 2, [4]int{0, 0, 1, 1}},
		{3, 3, 2, 2, [4]int{1, 1, 1, 1}},
		{1, 1, 1, 1, [4]int{}},
		{1, 1, 2, 2, [4]int{}},
		{5, 5, 1, 1, [4]int{2, 2, 2, 2}},
		{2, 4, 1, 3, [4]int{1, 0, 2, 1}},
	}
	images := [][3]int{{1, 8, 8}, {3, 7, 5}, {2, 4, 4}, {1, 19, 17}}
	channels := [][2]int{{1, 1}, {3, 1}, {1, 3}, {16, 64}, {17, 33}, {40, 3}, {70, 16}, {33, 80}}
	for _, level := range levels(t) {
		use(t, level, 0)
		for i, ch := range channels {
			for j, k := range kernels {
				im := images[(i+j)%len(images)]
				g := geometry{im[0], ch[0], im[1], im[2], ch[1], k.kh, k.kw, k.sh, k.sw, k.pads}
				checkConv(t, level, g, (i+j)%2 == 0)
			}
		}
	}
}

// TestConvLarge has every size at which work is cut: several chunks of source
// channels, blocks of lanes, runs of rows inside an image and across images,
// and a batch in shares; Winograd's tiles and the direct sums.
func TestConvLarge(t *testing.T) {
	for _, g := range []geometry{
		{2, 20, 40, 37, 150, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{19, 150, 7, 5, 20, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{9, 130, 9, 8, 70, 1, 1, 1, 1, [4]int{}},
		{3, 30, 33, 34, 40, 3, 3, 2, 2, [4]int{0, 0, 1, 1}},
		{2, 270, 5, 6, 280, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{1, 16, 60, 61, 16, 3, 3, 1, 1, [4]int{0, 2, 2, 0}},
		{3, 24, 10, 12, 20, 4, 4, 2, 2, [4]int{1, 1, 1, 1}},
	} {
		checkConv(t, "best", g, true)
		checkConv(t, "best", g, false)
	}
}

// checkConv runs the three operators with (extras) or without their optional
// operands.
func checkConv(t *testing.T, level string, g geometry, extras bool) {
	t.Helper()
	oh, ow := g.out()
	x, weight, dy := random(1, g.n, g.c, g.h, g.w), random(2, g.o, g.c, g.kh, g.kw), random(3, g.n, g.o, oh, ow)
	y, dx, dweight := g.reference(x.data, weight.data, nil, dy.data)
	forward, backward := []*array{x, weight}, []*array{dy, weight}
	if extras {
		bias, each, every := random(4, g.o), random(5, g.n, g.o, oh, ow), random(6, g.n, g.c, 1, 1)
		if g.h%2 == 1 { // one for all images
			every = random(6, 1, g.c, 1, 1)
		}
		if g.w%2 == 1 { // one for all channels
			each = random(5, g.n, 1, oh, ow)
		}
		forward, backward = append(forward, bias, each), append(backward, every)
		for i := range y {
			y[i] += float64(bias.data[i/(oh*ow)%g.o]) + float64(each.data[i/(oh*ow)/(g.o/each.shape[1])*(oh*ow)+i%(oh*ow)])
		}
		for i := range dx {
			dx[i] += float64(every.data[i/(g.h*g.w)%len(every.data)])
		}
	}
	what := fmt.Sprintf("%s: %v: ", level, g)
	compare(t, what+"Conv", runOp(t, 2, "Conv", g.attrs(), forward, []*array{dy})[0], y)
	compare(t, what+"ConvInputGrad", runOp(t, 2, "ConvInputGrad", g.inputAttrs(), backward, []*array{x})[0], dx)
	compare(t, what+"ConvWeightGrad", runOp(t, 2, "ConvWeightGrad", g.attrs(), []*array{x, dy}, []*array{weight})[0], dweight)
}

func TestConvBits(t *testing.T) {
	for _, g := range []geometry{
		{6, 20, 20, 11, 70, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{4, 10, 20, 21, 70, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{5, 35, 10, 9, 7, 3, 3, 2, 2, [4]int{0, 0, 1, 1}},
	} {
		oh, ow := g.out()
		x, weight, dy := random(1, g.n, g.c, g.h, g.w), random(2, g.o, g.c, g.kh, g.kw), random(3, g.n, g.o, oh, ow)
		stable(t, "Conv", g.attrs(), []*array{x, weight, random(4, g.o), random(5, g.n, g.o, oh, ow)}, []*array{dy})
		stable(t, "ConvInputGrad", g.inputAttrs(), []*array{dy, weight, random(6, g.n, g.c, 1, 1)}, []*array{x})
		stable(t, "ConvWeightGrad", g.attrs(), []*array{x, dy}, []*array{weight})
	}
}

// TestConvNaN: wherever the definition multiplies by NaN, the result is NaN.
func TestConvNaN(t *testing.T) {
	for _, g := range []geometry{
		{2, 5, 6, 7, 4, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{2, 20, 6, 7, 18, 3, 3, 1, 1, [4]int{1, 1, 1, 1}},
		{2, 20, 6, 7, 18, 3, 3, 2, 2, [4]int{1, 1, 1, 1}},
	} {
		oh, ow := g.out()
		nan := float32(math.NaN())
		for _, level := range levels(t) {
			use(t, level, 0)
			x, weight, dy, bias := random(1, g.n, g.c, g.h, g.w), random(2, g.o, g.c, g.kh, g.kw), random(3, g.n, g.o, oh, ow), random(4, g.o)
			x.data[60], weight.data[100], dy.data[77], bias.data[1] = nan, nan, nan, nan
			y, dx, dweight := g.reference(x.data, weight.data, bias.data, dy.data)
			keepsNaN(t, level+" Conv", runOp(t, 2, "Conv", g.attrs(), []*array{x, weight, bias}, []*array{dy})[0], y)
			keepsNaN(t, level+" ConvInputGrad", runOp(t, 2, "ConvInputGrad", g.inputAttrs(), []*array{dy, weight}, []*array{x})[0], dx)
			keepsNaN(t, level+" ConvWeightGrad", runOp(t, 2, "ConvWeightGrad", g.attrs(), []*array{x, dy}, []*array{weight})[0], dweight)
		}
	}
}

func keepsNaN(t *testing.T, what string, got *array, want []float64) {
	t.Helper()
	found := false
	for i, w := range want {
		if math.IsNaN(w) {
			found = true
			if g := float64(got.data[i]); !math.IsNaN(g) {
				t.Fatalf("%s: element %d: got %g, want NaN", what, i, g)
			}
		}
	}
	if !found {
		t.Fatalf("%s: the reference has no NaN, so this shows nothing", what)
	}
}

func TestConvRefuses(t *testing.T) {
	g := geometry{1, 4, 6, 6, 8, 3, 3, 1, 1, [4]int{1, 1, 1, 1}}
	x, y := zeros(1, 4, 6, 6), zeros(1, 8, 6, 6)
	for _, c := range []struct {
		op     string
		attrs  []*onnx.AttributeProto
		inputs []*array
		output *array
		want   string
	}{
		{"Conv", g.attrs(), []*array{x, zeros(8, 5, 3, 3)}, y, "weight"},
		{"Conv", g.attrs(), []*array{x, zeros(8, 4, 3, 3), zeros(7)}, y, "bias"},
		{"Conv", g.attrs(), []*array{x, zeros(8, 4, 3, 3), nil, zeros(1, 8, 1, 6)}, y, "addend"},
		{"Conv", g.attrs(), []*array{x, zeros(8, 4, 3, 3), nil, zeros(8, 6, 6)}, y, "addend"},
		{"ConvInputGrad", g.inputAttrs(), []*array{y, zeros(8, 4, 3, 3), zeros(1, 5, 1, 1)}, x, "addend"},
		{"Conv", []*onnx.AttributeProto{onnx.IntsAttr("kernel_shape", []int64{3, 3}), onnx.IntsAttr("strides", []int64{17, 1})}, []*array{x, zeros(8, 4, 3, 3)}, y, "strides"},
		{"Conv", g.attrs()[:0], []*array{x, zeros(8, 4, 3, 3)}, y, "weight"},
		{"ConvInputGrad", g.attrs(), []*array{y, zeros(8, 4, 3, 3)}, x, "weight"},
		{"ConvWeightGrad", g.attrs(), []*array{x, zeros(1, 8, 5, 6)}, zeros(8, 4, 3, 3), "dy"},
		{"Conv", []*onnx.AttributeProto{onnx.IntsAttr("pads", []int64{1})}, []*array{x, zeros(8, 4, 3, 3)}, y, "pads"},
	} {
		if _, err := tryOp(t, 1, c.op, c.attrs, c.inputs, []*array{c.output}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: got error %v, want one that names %s", c.op, c.attrs, err, c.want)
		}
	}
}
