package native_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/onnx"
)

// cudaGroupCases are groups that stay in a block's memory, in vectors of 1 to 8
// elements; the last two are too large for that, backward and both ways.
var cudaGroupCases = append([]groupCase{
	{n: 2, channels: 6, groups: 2, pixels: []int{3, 6}, silu: true},
	{n: 1, channels: 12, groups: 3, pixels: []int{2, 2}},
	{n: 2, channels: 80, groups: 2, pixels: []int{4, 4}, silu: true},
	{n: 1, channels: 20, groups: 2, pixels: []int{32, 32}, silu: true},
	{n: 1, channels: 3, groups: 1, pixels: []int{104, 104}, silu: true},
	{n: 1, channels: 4, groups: 1, pixels: []int{128, 128}, silu: true},
}, groupCases...)

func TestCUDAGroupNormalization(t *testing.T) {
	for _, g := range cudaGroupCases {
		x, scale, bias, dy := g.operands()
		exact(x)
		exact(dy)
		y, mean, r, dx, dscale, dbias := g.reference(x.data, scale.data, bias.data, dy.data)
		for _, s := range storages {
			what := fmt.Sprintf("%+v in %s: ", g, s.name)
			// A mean that is k spreads large costs its rounding error, 2⁻²⁴·k; what is
			// stored is rounded.
			within := tolerance + s.unit + 4e-6*float64(g.offset)
			stats := zeros(g.n, g.groups, 1)
			forward := runKernel(t, s, "GroupNormalization", g.attrs(), []*array{x, scale, bias}, []*array{x, stats, stats}, 0b110, 0b110)
			compareWithin(t, what+"y", forward[0], y, within)
			compare(t, what+"mean", forward[1], mean)
			compare(t, what+"inv_std_dev", forward[2], r)
			alone := runKernel(t, s, "GroupNormalization", g.attrs(), []*array{x, scale, bias}, []*array{x}, 0b110, 0b110)
			equal(t, what+"without statistics", alone, forward[:1])

			inputs := []*array{dy, x, scale, bias, forward[1], forward[2]}
			got := runKernel(t, s, "GroupNormalizationGrad", g.attrs(), inputs, []*array{x, scale, scale}, 0b111100, 0b110)
			compareWithin(t, what+"dx", got[0], dx, within)
			compareWithin(t, what+"dscale", got[1], dscale, tolerance+4e-6*float64(g.offset))
			compareWithin(t, what+"dbias", got[2], dbias, tolerance*max(1, float64(g.offset)/2))
			addend := exact(random(8, x.shape...))
			sum := make([]float64, len(dx))
			for i := range sum {
				sum[i] = dx[i] + float64(addend.data[i])
			}
			with := runKernel(t, s, "GroupNormalizationGrad", g.attrs(), append(inputs, addend), []*array{x, nil, scale}, 0b111100, 0b110)
			compareWithin(t, what+"dx with an addend", with[0], sum, within)
			equal(t, what+"dbias alone", with[2:], got[2:])
		}
	}
}

// layerReference is LayerNormalizationGrad's definition in float64, at the given
// statistics.
func layerReference(dy, x, scale, mean, r *array) (dx, dscale, dbias []float64) {
	d := len(scale.data)
	dx, dscale, dbias = make([]float64, len(x.data)), make([]float64, d), make([]float64, d)
	for row := range mean.data {
		hat := func(i int) float64 {
			return (float64(x.data[row*d+i]) - float64(mean.data[row])) * float64(r.data[row])
		}
		var ones, hats float64
		for i := range d {
			v := float64(dy.data[row*d+i])
			dscale[i] += v * hat(i)
			dbias[i] += v
			ones += v * float64(scale.data[i]) / float64(d)
			hats += v * float64(scale.data[i]) * hat(i) / float64(d)
		}
		for i := range d {
			dx[row*d+i] = float64(r.data[row]) * (float64(dy.data[row*d+i])*float64(scale.data[i]) - ones - hat(i)*hats)
		}
	}
	return dx, dscale, dbias
}

func TestCUDALayerNormalizationGrad(t *testing.T) {
	for _, c := range []struct{ rows, d int }{
		{1, 1}, {3, 5}, {7, 6}, {19, 40}, {5, 300}, {33, 320}, {70, 768}, {3, 1280}, {4, 1281}, {2, 2560}, {1, 9000},
	} {
		x, dy, scale := exact(random(1, 1, c.rows, c.d)), exact(random(2, 1, c.rows, c.d)), random(3, c.d)
		mean, r := random(4, 1, c.rows, 1), random(5, 1, c.rows, 1)
		dx, dscale, dbias := layerReference(dy, x, scale, mean, r)
		for _, s := range storages {
			what := fmt.Sprintf("%d × %d in %s: ", c.rows, c.d, s.name)
			inputs := []*array{dy, x, scale, mean, r}
			got := runKernel(t, s, "LayerNormalizationGrad", nil, inputs, []*array{x, scale, scale}, 0b11100, 0b110)
			compareWithin(t, what+"dx", got[0], dx, tolerance+s.unit)
			compare(t, what+"dscale", got[1], dscale)
			compare(t, what+"dbias", got[2], dbias)
			alone := runKernel(t, s, "LayerNormalizationGrad", nil, inputs, []*array{x}, 0b11100, 0b110)
			equal(t, what+"dx alone", alone, got[:1])
		}
	}
}

func TestCUDAQuickGeluGrad(t *testing.T) {
	for _, alpha := range []float32{1, 1.702} {
		x, dy := exact(random(1, 3, 1235)), exact(random(2, 3, 1235))
		// The tails, where e^−x overflows float32, and the exact zero.
		copy(x.data, []float32{0, 20, -20, 80, -80, 90, -90, 1e4, -1e4})
		exact(x)
		want := make([]float64, len(x.data))
		for i, v := range x.data {
			z := float64(alpha) * float64(v)
			s := 1 / (1 + math.Exp(-z))
			want[i] = float64(dy.data[i]) * s * (1 + z*(1-s))
		}
		for _, s := range storages {
			attrs := []*onnx.AttributeProto{onnx.FloatAttr("alpha", alpha)}
			compareWithin(t, fmt.Sprint(s.name, " alpha ", alpha), runKernel(t, s, "QuickGeluGrad", attrs, []*array{dy, x}, []*array{x}, 0, 0)[0], want, tolerance+s.unit)
		}
	}
}

// TestCUDAInplace: results that are written over an operand, as where nothing binds
// them, are those of a run that keeps it.
func TestCUDAInplace(t *testing.T) {
	group := groupCase{n: 2, channels: 8, groups: 2, pixels: []int{6, 8}, silu: true}
	x, scale, bias, dy := group.operands()
	stats, rows, d := random(7, 2, 2, 1), random(8, 2, 8, 6, 1), random(9, 8)
	e := onKernels(t)
	for _, c := range []struct {
		op      string
		attrs   []*onnx.AttributeProto
		inputs  []*array
		outputs []*array
	}{
		{"GroupNormalizationGrad", group.attrs(), []*array{dy, x, scale, bias, stats, stats}, []*array{x, scale, scale}},
		{"LayerNormalizationGrad", nil, []*array{dy, x, d, rows, rows}, []*array{x, d, d}},
		{"QuickGeluGrad", nil, []*array{dy, x}, []*array{x}},
		{"Elementwise", expression("y0 = x0 * x1 + x2;"), []*array{dy, x, random(3, 8, 1, 1)}, []*array{x}},
	} {
		got, err := runModel(t, e, negated(opModel(c.op, c.attrs, c.inputs, c.outputs), 0), c.inputs, c.outputs)
		if err != nil {
			t.Fatal(c.op, err)
		}
		minus := zeros(dy.shape...)
		for i, v := range dy.data {
			minus.data[i] = -v
		}
		want := runKernel(t, storages[0], c.op, c.attrs, append([]*array{minus}, c.inputs[1:]...), c.outputs, 0, 0)
		for i, v := range want[0].data {
			want[0].data[i] = float32(math.Abs(float64(v)))
		}
		equal(t, c.op, want, got)
	}
}

// TestCUDAAdamW: one pass in place, as the optimizer's session binds it, and apart.
func TestCUDAAdamW(t *testing.T) {
	e := onKernels(t)
	for _, size := range []int{1, 6, 1000, 40000} {
		inputs, scalars := adamwOperands(size)
		p, m, v, average := adamwReference(inputs, scalars)
		flat := inputs[0]
		outputs := []*array{flat, flat, flat, flat}
		apart := runKernel(t, storages[0], "AdamW", nil, inputs, outputs, 0, 0)
		for i, want := range [][]float64{p, m, v, average} {
			compareWithin(t, fmt.Sprint("AdamW of ", size), apart[i], want, 1e-6)
		}
		equal(t, fmt.Sprint("AdamW of ", size, " in place"), apart, adamwInplace(t, e, inputs, outputs))
	}
}

func adamwInplace(t *testing.T, e *engine.Engine, inputs, outputs []*array) []*array {
	t.Helper()
	data, err := onnx.Marshal(opModel("AdamW", nil, inputs, outputs))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(data, engine.SessionOptions{Name: "adamw"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tensors []*engine.Tensor
	for i, in := range inputs {
		x, err := in.tensor(e)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if err := s.Bind(string(rune('a'+i)), x); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, x)
	}
	places := []int{0, 2, 3, 4}
	for i, place := range places {
		if err := s.Bind(string(rune('z'-i)), tensors[place]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var got []*array
	for i, place := range places {
		got = append(got, &array{shape: outputs[i].shape, data: tensors[place].GetFloat32()})
	}
	return got
}
