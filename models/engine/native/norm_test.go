package native_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"immiscible/models/onnx"
)

// groupCase is a normalisation of x [n, channels, pixels…].
type groupCase struct {
	n, channels, groups int
	pixels              []int
	silu                bool
	offset              float32 // added to x: a mean that is large against the spread
}

func (g groupCase) attrs() []*onnx.AttributeProto {
	a := []*onnx.AttributeProto{onnx.IntAttr("num_groups", int64(g.groups)), onnx.FloatAttr("epsilon", 1e-3)}
	if g.silu {
		a = append(a, onnx.StringAttr("activation", "silu"))
	}
	return a
}

func (g groupCase) operands() (x, scale, bias, dy *array) {
	shape := append([]int{g.n, g.channels}, g.pixels...)
	x, dy = random(1, shape...), random(2, shape...)
	for i := range x.data {
		x.data[i] += g.offset
	}
	return x, random(3, g.channels), random(4, g.channels), dy
}

// reference computes the operators' definitions in float64. The gradients are
// taken at the given statistics, as the operator has them.
func (g groupCase) reference(x, scale, bias, dy []float32) (y, mean, r, dx, dscale, dbias []float64) {
	pixels := len(x) / g.n / g.channels
	m := g.channels / g.groups * pixels
	y, dx = make([]float64, len(x)), make([]float64, len(x))
	mean, r = make([]float64, g.n*g.groups), make([]float64, g.n*g.groups)
	dscale, dbias = make([]float64, g.channels), make([]float64, g.channels)
	for i := range mean {
		for _, v := range x[i*m : (i+1)*m] {
			mean[i] += float64(v) / float64(m)
		}
		for _, v := range x[i*m : (i+1)*m] {
			r[i] += (float64(v) - mean[i]) * (float64(v) - mean[i]) / float64(m)
		}
		r[i] = 1 / math.Sqrt(r[i]+float64(float32(1e-3)))
		var ones, hats float64
		dz := make([]float64, m)
		for j := range m {
			at, c := i*m+j, (i%g.groups)*(g.channels/g.groups)+j/pixels
			hat := (float64(x[at]) - mean[i]) * r[i]
			z := hat*float64(scale[c]) + float64(bias[c])
			y[at], dz[j] = z, float64(dy[at])
			if g.silu {
				s := 1 / (1 + math.Exp(-z))
				y[at] = z * s
				dz[j] *= s * (1 + z*(1-s))
			}
			dscale[c] += dz[j] * hat
			dbias[c] += dz[j]
			ones += dz[j] * float64(scale[c]) / float64(m)
			hats += dz[j] * float64(scale[c]) * hat / float64(m)
		}
		for j := range m {
			at, c := i*m+j, (i%g.groups)*(g.channels/g.groups)+j/pixels
			hat := (float64(x[at]) - mean[i]) * r[i]
			dx[at] = r[i] * (dz[j]*float64(scale[c]) - ones - hat*hats)
		}
	}
	return y, mean, r, dx, dscale, dbias
}

var groupCases = []groupCase{
	{n: 2, channels: 8, groups: 4, pixels: []int{5, 7}},
	{n: 2, channels: 8, groups: 4, pixels: []int{5, 7}, silu: true},
	{n: 1, channels: 3, groups: 1, pixels: []int{1}, silu: true},
	{n: 3, channels: 32, groups: 32, pixels: []int{4, 4}, silu: true},
	{n: 3, channels: 30, groups: 3, pixels: []int{67}},
	{n: 5, channels: 6, groups: 2, pixels: []int{33, 32}, silu: true},
	{n: 2, channels: 4, groups: 2, pixels: []int{16, 16}, silu: true, offset: 30},
}

func TestGroupNormalization(t *testing.T) {
	for _, level := range levels(t) {
		use(t, level, 0)
		for _, g := range groupCases {
			x, scale, bias, dy := g.operands()
			y, mean, r, dx, dscale, dbias := g.reference(x.data, scale.data, bias.data, dy.data)
			what := fmt.Sprintf("%s %+v: ", level, g)
			stats := zeros(g.n, g.groups, 1)
			got := runOp(t, 2, "GroupNormalization", g.attrs(), []*array{x, scale, bias}, []*array{x, stats, stats})
			// A mean that is k spreads large costs its rounding error, 2⁻²⁴·k.
			if g.offset == 0 {
				compare(t, what+"y", got[0], y)
			} else {
				compareWithin(t, what+"y", got[0], y, 4e-6*float64(g.offset))
			}
			compare(t, what+"mean", got[1], mean)
			compare(t, what+"inv_std_dev", got[2], r)
			alone := runOp(t, 2, "GroupNormalization", g.attrs(), []*array{x, scale, bias}, []*array{x})
			equal(t, what+"without statistics", alone, got[:1])
			forward := got
			got = runOp(t, 2, "GroupNormalizationGrad", g.attrs(), []*array{dy, x, scale, bias, forward[1], forward[2]}, []*array{x, scale, scale})
			if g.offset == 0 {
				compare(t, what+"dx", got[0], dx)
				compare(t, what+"dscale", got[1], dscale)
			} else {
				compareWithin(t, what+"dx", got[0], dx, 4e-6*float64(g.offset))
				compareWithin(t, what+"dscale", got[1], dscale, 4e-6*float64(g.offset))
			}
			compareWithin(t, what+"dbias", got[2], dbias, tolerance*max(1, float64(g.offset)/2))

			// The addend is added to a result that is rounded already.
			addend, sum := random(8, x.shape...), zeros(x.shape...)
			for i, v := range addend.data {
				sum.data[i] = got[0].data[i] + v
			}
			with := runOp(t, 2, "GroupNormalizationGrad", g.attrs(), []*array{dy, x, scale, bias, forward[1], forward[2], addend}, []*array{x, scale, scale})
			equal(t, what+"with an addend", with, []*array{sum, got[1], got[2]})
		}
	}
}

func TestGroupNormalizationBits(t *testing.T) {
	g := groupCase{n: 7, channels: 24, groups: 8, pixels: []int{25, 40}, silu: true}
	x, scale, bias, dy := g.operands()
	stats := zeros(g.n, g.groups, 1)
	stable(t, "GroupNormalization", g.attrs(), []*array{x, scale, bias}, []*array{x, stats, stats})
	stable(t, "GroupNormalizationGrad", g.attrs(), []*array{dy, x, scale, bias, random(5, g.n, g.groups, 1), random(6, g.n, g.groups, 1)}, []*array{x, scale, scale})
	stable(t, "QuickGeluGrad", nil, []*array{dy, x}, []*array{x})
}

func TestQuickGeluGrad(t *testing.T) {
	for _, level := range levels(t) {
		use(t, level, 0)
		for _, alpha := range []float32{1, 1.702} {
			x, dy := random(1, 3, 12345), random(2, 3, 12345)
			// The tails, where e^−x overflows float32, and the exact zero.
			copy(x.data, []float32{0, 20, -20, 80, -80, 90, -90, 1e4, -1e4, 1e20, -1e20})
			want := make([]float64, len(x.data))
			for i, v := range x.data {
				z := float64(alpha) * float64(v)
				s := 1 / (1 + math.Exp(-z))
				want[i] = float64(dy.data[i]) * s
				if s > 0 && s < 1 {
					want[i] *= 1 + z*(1-s)
				}
			}
			var attrs []*onnx.AttributeProto
			if alpha != 1 {
				attrs = append(attrs, onnx.FloatAttr("alpha", alpha))
			}
			compare(t, fmt.Sprintf("%s alpha %g", level, alpha), runOp(t, 2, "QuickGeluGrad", attrs, []*array{dy, x}, []*array{x})[0], want)
		}
	}
}

// TestNormNaN: a NaN reaches everything that is computed from it.
func TestNormNaN(t *testing.T) {
	g := groupCase{n: 2, channels: 4, groups: 2, pixels: []int{19}, silu: true}
	nan := float32(math.NaN())
	for _, level := range levels(t) {
		use(t, level, 0)
		for operand := range 4 {
			x, scale, bias, dy := g.operands()
			[]*array{x, scale, bias, dy}[operand].data[1] = nan
			y, mean, r, dx, dscale, dbias := g.reference(x.data, scale.data, bias.data, dy.data)
			stats := zeros(g.n, g.groups, 1)
			forward := runOp(t, 2, "GroupNormalization", g.attrs(), []*array{x, scale, bias}, []*array{x, stats, stats})
			backward := runOp(t, 2, "GroupNormalizationGrad", g.attrs(), []*array{dy, x, scale, bias, forward[1], forward[2]}, []*array{x, scale, scale})
			for i, want := range [][]float64{y, mean, r, dx, dscale, dbias} {
				for j, w := range want {
					got := append(append([]*array{}, forward...), backward...)[i].data[j]
					if math.IsNaN(w) && !math.IsNaN(float64(got)) {
						t.Fatalf("%s: NaN in operand %d, output %d, element %d: got %g, want NaN", level, operand, i, j, got)
					}
				}
			}
		}
		x, dy := random(1, 50), random(2, 50)
		x.data[20], dy.data[30], x.data[49] = nan, nan, nan
		got := runOp(t, 2, "QuickGeluGrad", nil, []*array{dy, x}, []*array{x})[0]
		for _, i := range []int{20, 30, 49} {
			if !math.IsNaN(float64(got.data[i])) {
				t.Errorf("%s: QuickGeluGrad element %d: got %g, want NaN", level, i, got.data[i])
			}
		}
	}
}

func TestNormRefuses(t *testing.T) {
	x, c, stats := zeros(2, 6, 5), zeros(6), zeros(2, 3, 1)
	groups := onnx.IntAttr("num_groups", 3)
	for _, v := range []struct {
		op      string
		attrs   []*onnx.AttributeProto
		inputs  []*array
		outputs []*array
		want    string
	}{
		{"GroupNormalization", nil, []*array{x, c, c}, []*array{x}, "num_groups"},
		{"GroupNormalization", []*onnx.AttributeProto{onnx.IntAttr("num_groups", 4)}, []*array{x, c, c}, []*array{x}, "num_groups"},
		{"GroupNormalization", []*onnx.AttributeProto{groups}, []*array{x, zeros(5), c}, []*array{x}, "scale"},
		{"GroupNormalization", []*onnx.AttributeProto{groups, onnx.StringAttr("activation", "relu")}, []*array{x, c, c}, []*array{x}, "activation"},
		{"GroupNormalizationGrad", []*onnx.AttributeProto{groups}, []*array{x, x, c, c, stats, zeros(2, 3)}, []*array{x, c, c}, "inv_std_dev"},
		{"GroupNormalizationGrad", []*onnx.AttributeProto{groups}, []*array{x, x, c, c, stats, stats, zeros(2, 6, 1)}, []*array{x, c, c}, "addend"},
		{"QuickGeluGrad", nil, []*array{x, c}, []*array{x}, "dy"},
	} {
		if _, err := tryOp(t, 1, v.op, v.attrs, v.inputs, v.outputs); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s %v: got error %v, want one that names %s", v.op, v.attrs, err, v.want)
		}
	}
}
