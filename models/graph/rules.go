package graph

// A rule is an operator's derivative: dy holds one gradient per output of n, nil
// where the loss does not depend on it; the result holds one gradient per input
// of n, nil where there is none. A gradient has the input's shape, or a shape
// that the input was broadcast to: the walker sums it back.
type rule func(b *Builder, n *Node, dy []*Value) []*Value

// noGrad is the derivative of what does not depend smoothly on its inputs.
func noGrad(_ *Builder, n *Node, _ []*Value) []*Value { return make([]*Value, len(n.Inputs)) }

// once is the row of an operator that stands in derivatives only: a second
// derivative is refused by name.
func once(b *Builder, n *Node, _ []*Value) []*Value {
	b.fail(n.Op, "a second derivative is not defined here")
	return nil
}

// rules has a row for every operator that a builder can make.
var rules = map[string]rule{
	"Add": addGrad, "Sub": subGrad, "Mul": mulGrad, "Div": divGrad, "Pow": powGrad,
	"Max": extremumGrad, "Min": extremumGrad, "Where": whereGrad,
	"Equal": noGrad, "Greater": noGrad,
	"Neg": negGrad, "Sqrt": sqrtGrad, "Exp": expGrad, "Log": logGrad, "Sin": sinGrad, "Cos": cosGrad,
	"Sigmoid": sigmoidGrad, "Tanh": tanhGrad, "Erf": erfGrad, "Softplus": softplusGrad, "Relu": reluGrad,
	"QuickGelu": quickGeluGrad, "Cast": castGrad,
	"MatMul": matmulGrad, "FusedMatMul": matmulGrad, "Gemm": gemmGrad,
	"Conv": convGrad, "ConvTranspose": convTransposeGrad, "Resize": resizeGrad,
	"LayerNormalization": layerNormalizationGrad, "GroupNormalization": groupNormalizationGrad, "Softmax": softmaxGrad,
	"ReduceSum": reduceSumGrad, "ReduceMean": reduceMeanGrad, "ReduceSumSquare": reduceSumSquareGrad,
	"Reshape": reshapeGrad, "Transpose": transposeGrad, "Concat": concatGrad, "Slice": sliceGrad, "Split": splitGrad,
	"Expand": expandGrad, "Pad": padGrad, "Identity": identityGrad, "Gather": gatherGrad,
	"ConvInputGrad": once, "ConvWeightGrad": once, "ConvBiasGrad": once, "GroupNormalizationGrad": once, "LayerNormalizationGrad": once, "QuickGeluGrad": once, "GeluGrad": once,
	"Abs": absGrad, "Clip": clipGrad, "Gelu": geluGrad, "Tan": tanGrad, "Sinh": sinhGrad, "Cosh": coshGrad,
	"Asin": inverseGrad, "Acos": inverseGrad, "Atan": inverseGrad, "Asinh": inverseGrad, "Acosh": inverseGrad, "Atanh": inverseGrad,
	"Sign": noGrad, "Floor": noGrad, "Ceil": noGrad, "Round": noGrad, "IsNaN": noGrad, "IsInf": noGrad,
	"Less": noGrad, "LessOrEqual": noGrad, "GreaterOrEqual": noGrad, "And": noGrad, "Or": noGrad, "Xor": noGrad, "Not": noGrad,
	"ReduceMax": reduceExtremumGrad, "ReduceMin": reduceExtremumGrad, "ReduceProd": reduceProdGrad, "CumSum": cumSumGrad,
	"ArgMax": noGrad, "ArgMin": noGrad, "LogSoftmax": logSoftmaxGrad,
	"GatherElements": gatherElementsGrad, "GatherND": gatherNDGrad, "ScatterElements": scatterElementsGrad, "ScatterND": scatterNDGrad,
	"MaxPool": maxPoolGrad, "MaxPoolGrad": once,
	"GroupedConv": groupedConvGrad, "GroupedConvTranspose": groupedConvTransposeGrad, "GroupedConvWeightGrad": once,
	"Attention": attentionGrad, "AttentionGrad": once,
	"AdamW": noGrad, "Input": noGrad, "Constant": noGrad,
}

// lowerings turns each composite operator into portable ONNX nodes.
var lowerings = map[string]func(b *Builder, n *Node, inputs []*Value) []*Value{
	"ConvInputGrad": lowerConvInputGrad, "ConvWeightGrad": lowerConvWeightGrad, "ConvBiasGrad": lowerConvBiasGrad,
	"GroupNormalization": lowerGroupNormalization, "GroupNormalizationGrad": lowerGroupNormalizationGrad,
	"LayerNormalizationGrad": lowerLayerNormalizationGrad,
	"Attention":              lowerAttention, "AttentionGrad": lowerAttentionGrad,
	"QuickGeluGrad": lowerQuickGeluGrad, "GeluGrad": lowerGeluGrad, "AdamW": lowerAdamW, "MaxPoolGrad": lowerMaxPoolGrad,
	"GroupedConv": lowerGroupedConv, "GroupedConvTranspose": lowerGroupedConvTranspose, "GroupedConvWeightGrad": lowerGroupedConvWeightGrad,
}
