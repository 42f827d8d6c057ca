package native_test

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/onnx"
)

// onKernels is an engine whose operators compute as on a GPU: on the stand-ins of
// NVIDIA's libraries, which compile the kernels for the processor and run them on
// host memory, or on the GPU itself where tools/gpu/check.sh says so.
func onKernels(t testing.TB) *engine.Engine {
	t.Helper()
	if onGPU() {
		return enginetest.Open(t)
	}
	return enginetest.OnStandIns(t, false)
}

func onGPU() bool { return os.Getenv(enginetest.ProviderEnv) == "cuda" }

// storedAs makes a model of one node hold its operands in storage s, between casts,
// but for those whose bits are set.
func storedAs(m *onnx.ModelProto, s storage, wideInputs, wideOutputs uint) *onnx.ModelProto {
	node := m.Graph.Node[0]
	var before, after []*onnx.NodeProto
	cast := func(from, to string, dtype onnx.TensorProto_DataType) *onnx.NodeProto {
		return &onnx.NodeProto{Name: ptr("cast_" + from), OpType: ptr("Cast"), Input: []string{from}, Output: []string{to}, Attribute: []*onnx.AttributeProto{onnx.IntAttr("to", int64(dtype))}}
	}
	if s.dtype == onnx.TensorProto_FLOAT {
		return m
	}
	for i, name := range node.Input {
		if name != "" && wideInputs>>i&1 == 0 {
			node.Input[i] = name + "_stored"
			before = append(before, cast(name, node.Input[i], s.dtype))
		}
	}
	for i, name := range node.Output {
		if name != "" && wideOutputs>>i&1 == 0 {
			node.Output[i] = name + "_stored"
			after = append(after, cast(node.Output[i], name, onnx.TensorProto_FLOAT))
		}
	}
	m.Graph.Node = append(append(before, node), after...)
	return m
}

func tryKernel(t *testing.T, s storage, op string, attrs []*onnx.AttributeProto, inputs, outputs []*array, wideInputs, wideOutputs uint) ([]*array, error) {
	t.Helper()
	return runModel(t, onKernels(t), storedAs(opModel(op, attrs, inputs, outputs), s, wideInputs, wideOutputs), inputs, outputs)
}

func runKernel(t *testing.T, s storage, op string, attrs []*onnx.AttributeProto, inputs, outputs []*array, wideInputs, wideOutputs uint) []*array {
	t.Helper()
	got, err := tryKernel(t, s, op, attrs, inputs, outputs, wideInputs, wideOutputs)
	if err != nil {
		t.Fatalf("%s in %s: %v", op, s.name, err)
	}
	return got
}

// elementwiseName is the operator whose first outputs, so many of them, are of
// storage s, and whose others are float32.
func elementwiseName(s storage, outputs int) string {
	if s.dtype == onnx.TensorProto_FLOAT {
		return "Elementwise"
	}
	return fmt.Sprintf("Elementwise%sx%d", map[string]string{"float16": "Float16", "bfloat16": "BFloat16"}[s.name], outputs)
}

func expression(text string) []*onnx.AttributeProto {
	return []*onnx.AttributeProto{onnx.StringAttr("expression", text)}
}

// at reads a as if it were broadcast to shape, where index counts its elements.
func (a *array) at(shape []int, index int) float64 {
	place, stride := 0, 1
	for d := len(shape) - 1; d >= 0; d-- {
		i := index % shape[d]
		index /= shape[d]
		if own := d - (len(shape) - len(a.shape)); own >= 0 {
			if a.shape[own] > 1 {
				place += i * stride
			}
			stride *= a.shape[own]
		}
	}
	return float64(a.data[place])
}

// truths are true where a bit pattern says so.
func truths(shape ...int) *array {
	m := zeros(shape...)
	m.truth = true
	for i := range m.data {
		m.data[i] = float32(uint(0x2b4d) >> (i % 15) & 1)
	}
	return m
}

// TestCUDAElementwise: every way in which shapes broadcast, vectors of all lengths,
// and storages beside each other.
func TestCUDAElementwise(t *testing.T) {
	for _, shapes := range [][][]int{
		{{3, 8}, {3, 8}, {3, 8}},
		{{2, 3, 5, 7}, {2, 3, 5, 7}, {}},           // one number; no two elements a vector
		{{2, 6, 3, 4}, {1, 6, 1, 1}, {2, 6, 1, 1}}, // by channel, and by image and channel
		{{2, 6, 4, 4}, {6, 1, 1}, {2, 1, 4, 4}},
		{{7, 40}, {7, 1}, {40}},           // by row, and by column
		{{4, 1, 6}, {1, 5, 1}, {4, 5, 6}}, // an outer product
		{{1}, {1, 1}, {1, 1, 1}},
		{{3, 1, 2, 1, 8}, {1, 4, 1, 5, 1}, {}}, // nobody has the result's shape
		{{2, 1, 3, 1, 2, 1, 2, 1}, {1, 3, 1, 2, 1, 2, 1, 4}, {2, 3, 3, 2, 2, 2, 2, 4}},
		{{300, 128}, {300, 128}, {128}}, // more than a block of threads, and a loop of them
		{{1, 5, 1, 6}, {2, 5, 4, 6}, {1, 5, 1, 1}},
	} {
		for _, s := range storages {
			var inputs []*array
			rank := 0
			for i, shape := range shapes {
				inputs = append(inputs, exact(random(uint64(i), shape...)))
				rank = max(rank, len(shape))
			}
			inputs[2] = truths(shapes[2]...)
			shape := make([]int, rank)
			for _, in := range shapes {
				for d, n := range in {
					shape[rank-len(in)+d] = max(n, shape[rank-len(in)+d])
				}
			}
			out := zeros(shape...)
			// The middle operand stays float32, and so does the last result.
			got := runKernel(t, s, elementwiseName(s, 2), expression("float t0 = x0 + x1; y0 = x2 != 0.0f ? t0 : 2.0f; y1 = t0 * x1; y2 = t0 * 3.0f + x2;"),
				inputs, []*array{out, out, out}, 0b110, 0b100)
			var y0, y1, y2 []float64
			for i := range out.data {
				a, b, c := inputs[0].at(shape, i), inputs[1].at(shape, i), inputs[2].at(shape, i)
				y0, y1, y2 = append(y0, 2), append(y1, (a+b)*b), append(y2, (a+b)*3+c)
				if c != 0 {
					y0[i] = a + b
				}
			}
			what := fmt.Sprint(shapes, " in ", s.name)
			compareWithin(t, what+" y0", got[0], y0, s.unit)
			compareWithin(t, what+" y1", got[1], y1, s.unit)
			compareWithin(t, what+" y2", got[2], y2, 0x1p-22)
		}
	}
}

// TestCUDAElementwiseFunctions: what an expression may call, against the same
// functions in float64, at 2⁻²¹ of the largest: a few units in the last place.
func TestCUDAElementwiseFunctions(t *testing.T) {
	x, y := random(1, 1000), random(2, 1000)
	for text, f := range map[string]func(a, b float64) float64{
		"x0 / x1":                           func(a, b float64) float64 { return a / b },
		"1.0f / (1.0f + expf(-x0))":         func(a, b float64) float64 { return 1 / (1 + math.Exp(-a)) },
		"logf(fabsf(x0)) + sqrtf(x0 * x0)":  func(a, b float64) float64 { return math.Log(math.Abs(a)) + math.Abs(a) },
		"tanhf(x0) + erff(x1)":              func(a, b float64) float64 { return math.Tanh(a) + math.Erf(b) },
		"fminf(x0, x1) - 2 * fmaxf(x0, x1)": func(a, b float64) float64 { return min(a, b) - 2*max(a, b) },
		"powf(fabsf(x0), x1)":               func(a, b float64) float64 { return math.Pow(math.Abs(a), b) },
		"sinf(x0) * cosf(x1)":               func(a, b float64) float64 { return math.Sin(a) * math.Cos(b) },
		"x0 >= x1 ? x0 : -x1": func(a, b float64) float64 {
			if a >= b {
				return a
			}
			return -b
		},
	} {
		want := make([]float64, len(x.data))
		for i := range want {
			want[i] = f(float64(x.data[i]), float64(y.data[i]))
		}
		compareWithin(t, text, runKernel(t, storages[0], "Elementwise", expression("y0 = "+text+";"), []*array{x, y}, []*array{x}, 0, 0)[0], want, 0x1p-21)
	}
}

// TestCUDAElementwiseLimits: as many operands as there may be.
func TestCUDAElementwiseLimits(t *testing.T) {
	var inputs, outputs []*array
	text := "float t0 = 0"
	want := make([]float64, 24)
	for i := range 15 {
		shape := []int{2, 12}
		if i%3 == 1 {
			shape = []int{12}
		} else if i%3 == 2 {
			shape = nil
		}
		in := exact(random(uint64(i), shape...))
		inputs = append(inputs, in)
		text += fmt.Sprintf(" + x%d", i)
		for j := range want {
			want[j] += in.at([]int{2, 12}, j)
		}
	}
	for i := range 8 {
		outputs = append(outputs, zeros(2, 12))
		text += fmt.Sprintf("; y%d = %d * t0", i, i+1)
	}
	for i, got := range runKernel(t, storages[0], "Elementwise", expression(text+";"), inputs, outputs, 0, 0) {
		scaled := make([]float64, len(want))
		for j := range want {
			scaled[j] = float64(i+1) * want[j]
		}
		compare(t, fmt.Sprint("y", i), got, scaled)
	}
}

// TestCUDARounding: what is stored in 16 bits is the nearest number, ties to even,
// beyond the range infinite, and NaN stays NaN, as ONNX Runtime's Cast has it.
func TestCUDARounding(t *testing.T) {
	x := zeros(2000)
	for i := range x.data {
		x.data[i] = math.Float32frombits(uint32(i) * 2147485) // all exponents
	}
	copy(x.data, []float32{0, 1 + 0x1p-11, 1 + 3*0x1p-11, 1 + 0x1p-8, 1 + 3*0x1p-8, 65504, 65519, 65520, 0x1p-24, 0x1p-25, 3 * 0x1p-25, float32(math.Inf(-1)), float32(math.NaN()), 3.4e38})
	for _, s := range storages[1:] {
		cast := opModel("Cast", []*onnx.AttributeProto{onnx.IntAttr("to", int64(s.dtype))}, []*array{x}, []*array{x})
		cast.Graph.Node[0].Domain = nil
		want, err := runModel(t, onKernels(t), storedAs(cast, s, 1, 0), []*array{x}, []*array{x})
		if err != nil {
			t.Fatal(err)
		}
		got := runKernel(t, s, elementwiseName(s, 1), expression("y0 = x0;"), []*array{x}, []*array{x}, 1, 0)
		for i, v := range want[0].data {
			if g := got[0].data[i]; g != v && !(g != g && v != v) {
				t.Errorf("%s: %g: got %g, want %g", s.name, x.data[i], g, v)
			}
		}
	}
}

func TestCUDABiasGrad(t *testing.T) {
	for _, shape := range [][]int{
		{2, 3, 5, 7}, {3, 5, 8, 8}, {1, 2, 64, 64}, {4, 7, 1, 1}, {5, 3, 2, 2},
		{1, 1, 96, 96},      // a channel is more than one team's
		{9, 33}, {1000, 40}, // rows of a matrix, and more than one chunk of them
	} {
		dy := exact(random(1, shape...))
		pixels, want := 1, make([]float64, shape[1])
		for _, d := range shape[2:] {
			pixels *= d
		}
		for i, v := range dy.data {
			want[i/pixels%shape[1]] += float64(v)
		}
		for _, s := range storages { // a sum is float32 whatever it is of
			compare(t, fmt.Sprint(shape, " in ", s.name), runKernel(t, s, "ConvBiasGrad", nil, []*array{dy}, []*array{zeros(shape[1])}, 0, 1)[0], want)
		}
	}
}

// TestCUDAArchitecture: a device that the compiler is too old for gets PTX.
func TestCUDAArchitecture(t *testing.T) {
	t.Setenv("FAKEGPU_CAPABILITY", "103")
	x := exact(random(1, 4))
	equal(t, "y", runKernel(t, storages[0], "Elementwise", expression("y0 = x0 + 0.0f;"), []*array{x}, []*array{x}, 0, 0), []*array{x})
	if onGPU() {
		return // it is what it is
	}
	t.Setenv("FAKEGPU_CAPABILITY", "50")
	if _, err := tryKernel(t, storages[0], "Elementwise", expression("y0 = x0 + 1.0f;"), []*array{x}, []*array{x}, 0, 0); err == nil || !strings.Contains(err.Error(), "sm_50") {
		t.Errorf("a device before the oldest: got %v, want an error that names sm_50", err)
	}
}

func TestCUDAKernelRefuses(t *testing.T) {
	x, c, stats := zeros(2, 6), zeros(6), zeros(2, 1)
	for _, v := range []struct {
		op      string
		attrs   []*onnx.AttributeProto
		inputs  []*array
		outputs []*array
		want    string
	}{
		{"Elementwise", nil, []*array{x}, []*array{x}, "expression"},
		{"Elementwise", expression("y0 = x0 + nonsense;"), []*array{x}, []*array{x}, "nonsense"},
		{"Elementwise", expression("y0 = x0 + x1;"), []*array{x, zeros(2, 5)}, []*array{x}, "broadcast"},
		{"ConvBiasGrad", nil, []*array{c}, []*array{c}, "[N, C, …]"},
		{"LayerNormalizationGrad", nil, []*array{zeros(2, 5), x, c, stats, stats}, []*array{x, c, c}, "dy"},
		{"LayerNormalizationGrad", nil, []*array{x, x, zeros(5), stats, stats}, []*array{x, c, c}, "scale"},
		{"LayerNormalizationGrad", nil, []*array{x, x, c, stats, zeros(2)}, []*array{x, c, c}, "inv_std_dev"},
		{"LayerNormalizationGrad", nil, []*array{zeros(1, 80000), zeros(1, 80000), zeros(80000), zeros(1, 1), zeros(1, 1)}, []*array{zeros(1, 80000), nil, nil}, "too long"},
	} {
		if _, err := tryKernel(t, storages[0], v.op, v.attrs, v.inputs, v.outputs, 0, 0); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: got error %v, want one that names %s", v.op, err, v.want)
		}
	}
}
