package refeval

import (
	"math"
	"slices"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// ops has a case for every operator that a builder can make.
var ops = map[string]op{
	"Add": binary(func(x, y float64) float64 { return x + y }),
	"Sub": binary(func(x, y float64) float64 { return x - y }),
	"Mul": binary(func(x, y float64) float64 { return x * y }),
	"Div": div,
	"Pow": binary(math.Pow), "Max": binary(math.Max), "Min": binary(math.Min),
	"Equal":   binary(func(x, y float64) float64 { return truth(x == y) }),
	"Greater": binary(func(x, y float64) float64 { return truth(x > y) }),
	"Neg":     unary(func(x float64) float64 { return -x }),
	"Relu":    unary(func(x float64) float64 { return math.Max(x, 0) }),
	"Sqrt":    unary(math.Sqrt), "Exp": unary(math.Exp), "Log": unary(math.Log),
	"Sin": unary(math.Sin), "Cos": unary(math.Cos), "Tanh": unary(math.Tanh), "Erf": unary(math.Erf),
	"Sigmoid": unary(sigmoid), "Softplus": unary(softplus), "QuickGelu": quickGelu,
	"QuickGeluGrad": quickGeluGrad,
	"Where":         where, "Cast": cast, "Identity": unary(func(x float64) float64 { return x }),
	"Dropout": dropout, "AdamW": adamw, "Elementwise": elementwiseNode,

	"Gelu": unary(func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }),
	"GeluGrad": binary(func(dy, x float64) float64 { // by x·Φ(x)
		return dy * (math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi))
	}),
	"Abs": unary(math.Abs), "Floor": unary(math.Floor), "Ceil": unary(math.Ceil), "Round": unary(math.RoundToEven),
	"Sign": unary(func(x float64) float64 { return truth(x > 0) - truth(x < 0) }),
	"Tan":  unary(math.Tan), "Asin": unary(math.Asin), "Acos": unary(math.Acos), "Atan": unary(math.Atan),
	"Sinh": unary(math.Sinh), "Cosh": unary(math.Cosh), "Asinh": unary(math.Asinh), "Acosh": unary(math.Acosh), "Atanh": unary(math.Atanh),
	"IsNaN": unary(func(x float64) float64 { return truth(x != x) }),
	"IsInf": unary(func(x float64) float64 { return truth(math.IsInf(x, 0)) }),
	"Not":   unary(func(x float64) float64 { return 1 - x }),
	"Less":  binary(func(x, y float64) float64 { return truth(x < y) }),
	"And":   binary(func(x, y float64) float64 { return x * y }), "Or": binary(math.Max),
	"Xor":            binary(func(x, y float64) float64 { return truth(x != y) }),
	"LessOrEqual":    binary(func(x, y float64) float64 { return truth(x <= y) }),
	"GreaterOrEqual": binary(func(x, y float64) float64 { return truth(x >= y) }),
	"Clip":           clip,

	"ReduceMax": reduction(slices.Max), "ReduceMin": reduction(slices.Min), "ReduceProd": reduction(product),
	"ArgMax": argExtremum(func(x, best float64) bool { return x > best }),
	"ArgMin": argExtremum(func(x, best float64) bool { return x < best }), "CumSum": cumSum, "LogSoftmax": logSoftmax,
	"GatherElements": gatherElements, "ScatterElements": scatterElements, "GatherND": gatherND, "ScatterND": scatterND,
	"MaxPool": maxPool, "MaxPoolGrad": maxPoolGrad,
	"GroupedConv": groupedConv, "GroupedConvTranspose": groupedConvTranspose, "GroupedConvWeightGrad": groupedConvWeightGrad,

	"MatMul": matmul, "FusedMatMul": matmul, "Gemm": gemm, "Attention": attention, "AttentionGrad": attentionGrad,
	"Conv": conv, "ConvTranspose": convInputGrad, "ConvInputGrad": convInputGrad, "ConvWeightGrad": convWeightGrad,
	"ConvBiasGrad": convBiasGrad, "Resize": resize,

	"LayerNormalization": layerNormalization, "LayerNormalizationGrad": layerNormalizationGrad, "Softmax": softmax,
	"GroupNormalization": groupNormalization, "GroupNormalizationGrad": groupNormalizationGrad,

	"ReduceSum": reduction(sum), "ReduceMean": reduction(mean), "ReduceSumSquare": reduction(sumSquare),
	"Reshape": reshape, "Transpose": transpose, "Concat": concat, "Slice": slice, "Split": split,
	"Expand": expand, "Pad": pad, "Gather": gather,
}

func unary(f func(x float64) float64) op {
	return func(_ *graph.Node, in []array) []array {
		return []array{fill(in[0].shape, func(i []int) float64 { return f(*in[0].at(i...)) })}
	}
}

func binary(f func(x, y float64) float64) op {
	return func(_ *graph.Node, in []array) []array {
		return []array{fill(broadcast(in[0].shape, in[1].shape), func(i []int) float64 {
			return f(*in[0].at(i...), *in[1].at(i...))
		})}
	}
}

// div is x/y; integers are cut towards zero.
func div(n *graph.Node, in []array) []array {
	z := binary(func(x, y float64) float64 { return x / y })(n, in)
	if n.Outputs[0].DType == graph.Int64 {
		return unary(math.Trunc)(n, z)
	}
	return z
}

// clip: inputs are x and the two ends.
func clip(n *graph.Node, in []array) []array {
	return unary(func(x float64) float64 { return math.Min(math.Max(x, in[1].data[0]), in[2].data[0]) })(n, in)
}

func truth(x bool) float64 {
	if x {
		return 1
	}
	return 0
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// ln(1 + eˣ), without the overflow of eˣ.
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func quickGelu(n *graph.Node, in []array) []array {
	alpha := n.Float("alpha", 1.702)
	return unary(func(x float64) float64 { return x * sigmoid(alpha*x) })(n, in)
}

// quickGeluGrad is dy·(s + αx·s·(1−s)), s = σ(αx); the third input, y, only saves
// a lowering work.
func quickGeluGrad(n *graph.Node, in []array) []array {
	alpha := n.Float("alpha", 1.702)
	return binary(func(dy, x float64) float64 {
		s := sigmoid(alpha * x)
		return dy * (s + alpha*x*s*(1-s))
	})(n, in[:2])
}

func where(_ *graph.Node, in []array) []array {
	shape := broadcast(in[0].shape, broadcast(in[1].shape, in[2].shape))
	return []array{fill(shape, func(i []int) float64 {
		if *in[0].at(i...) != 0 {
			return *in[1].at(i...)
		}
		return *in[2].at(i...)
	})}
}

func cast(n *graph.Node, in []array) []array {
	switch onnx.TensorProto_DataType(n.Int("to", 0)) {
	case onnx.TensorProto_INT64:
		return unary(math.Trunc)(n, in)
	case onnx.TensorProto_BOOL:
		return unary(func(x float64) float64 { return truth(x != 0) })(n, in)
	}
	return unary(func(x float64) float64 { return x })(n, in)
}
