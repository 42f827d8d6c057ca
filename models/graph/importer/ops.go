package importer

import "immiscible/models/graph"

// builds has a row for every operator that is imported; com.microsoft's carry
// their domain. Rows that use the same builder operation differ in where ONNX's
// opsets put axes and settings.
var builds = map[string]build{
	// elementwise (ops_elementwise.go)
	"Add": variadic((*graph.Builder).Add), "Sub": variadic((*graph.Builder).Sub), "Mul": variadic((*graph.Builder).Mul), "Div": variadic((*graph.Builder).Div),
	"Max": variadic((*graph.Builder).Max), "Min": variadic((*graph.Builder).Min), "Sum": variadic((*graph.Builder).Add), "Mean": buildMean,
	"Pow": buildPow, "Mod": buildMod, "PRelu": buildPRelu,
	"Equal": variadic((*graph.Builder).Equal), "Greater": variadic((*graph.Builder).Greater), "Less": variadic((*graph.Builder).Less),
	"GreaterOrEqual": variadic((*graph.Builder).GreaterOrEqual), "LessOrEqual": variadic((*graph.Builder).LessOrEqual),
	"And": variadic((*graph.Builder).And), "Or": variadic((*graph.Builder).Or), "Xor": variadic((*graph.Builder).Xor),
	"Not": unary((*graph.Builder).Not), "IsNaN": unary((*graph.Builder).IsNaN), "IsInf": buildIsInf, "Where": buildWhere,
	"Neg": buildNeg, "Abs": buildAbs, "Sign": unary((*graph.Builder).Sign),
	"Floor": unary((*graph.Builder).Floor), "Ceil": unary((*graph.Builder).Ceil), "Round": unary((*graph.Builder).Round),
	"Sqrt": unary((*graph.Builder).Sqrt), "Exp": unary((*graph.Builder).Exp), "Log": unary((*graph.Builder).Log),
	"Sin": unary((*graph.Builder).Sin), "Cos": unary((*graph.Builder).Cos), "Tan": unary((*graph.Builder).Tan),
	"Asin": unary((*graph.Builder).Asin), "Acos": unary((*graph.Builder).Acos), "Atan": unary((*graph.Builder).Atan),
	"Sinh": unary((*graph.Builder).Sinh), "Cosh": unary((*graph.Builder).Cosh), "Tanh": unary((*graph.Builder).Tanh),
	"Asinh": unary((*graph.Builder).Asinh), "Acosh": unary((*graph.Builder).Acosh), "Atanh": unary((*graph.Builder).Atanh),
	"Erf": unary((*graph.Builder).Erf), "Sigmoid": unary((*graph.Builder).Sigmoid), "Softplus": unary((*graph.Builder).Softplus),
	"Relu": unary((*graph.Builder).Relu), "Mish": unary((*graph.Builder).Mish), "Swish": buildSwish,
	"Reciprocal": buildReciprocal, "Clip": buildClip, "Cast": buildCast, "CastLike": buildCast, "Dropout": buildDropout,

	// activations (ops_activation.go)
	"Gelu": buildGelu, "com.microsoft.Gelu": unary((*graph.Builder).FusedGELU), "com.microsoft.FastGelu": buildFastGelu,
	"com.microsoft.QuickGelu": buildQuickGelu, "com.microsoft.BiasGelu": buildBiasGelu,
	"LeakyRelu": buildLeakyRelu, "ThresholdedRelu": buildThresholdedRelu, "Elu": buildElu, "Selu": buildElu, "Celu": buildElu,
	"HardSigmoid": buildHardSigmoid, "HardSwish": buildHardSwish, "Softsign": buildSoftsign, "Shrink": buildShrink,

	// products and convolutions (ops_matmul.go, ops_conv.go)
	"MatMul": buildMatMul, "Gemm": buildGemm, "com.microsoft.FusedMatMul": buildFusedMatMul, "Einsum": buildEinsum,
	"Conv": buildConv, "ConvTranspose": buildConvTranspose, "MaxPool": buildMaxPool, "AveragePool": buildAveragePool,
	"GlobalAveragePool": buildGlobalPool, "GlobalMaxPool": buildGlobalPool,

	// norms (ops_norm.go)
	"BatchNormalization": buildBatchNorm, "InstanceNormalization": buildInstanceNorm, "LayerNormalization": buildLayerNorm,
	"GroupNormalization": buildGroupNorm, "RMSNormalization": buildRMSNorm, "MeanVarianceNormalization": buildMeanVarianceNorm,
	"LpNormalization": buildLpNorm, "Softmax": buildSoftmax, "LogSoftmax": buildSoftmax,

	// reductions (ops_reduce.go)
	"ReduceSum": buildReduce, "ReduceMean": buildReduce, "ReduceMax": buildReduce, "ReduceMin": buildReduce, "ReduceProd": buildReduce,
	"ReduceL1": buildReduce, "ReduceL2": buildReduce, "ReduceSumSquare": buildReduce, "ReduceLogSum": buildReduce, "ReduceLogSumExp": buildReduce,
	"ArgMax": buildArgExtremum, "ArgMin": buildArgExtremum, "CumSum": buildCumSum,

	// shapes (ops_shape.go)
	"Reshape": buildReshape, "Flatten": buildReshape, "Squeeze": buildReshape, "Unsqueeze": buildReshape,
	"Transpose": buildTranspose, "Concat": buildConcat, "Split": buildSplit, "Slice": buildSlice, "Expand": buildExpand,
	"Tile": buildTile, "Pad": buildPad, "DepthToSpace": buildDepthToSpace, "SpaceToDepth": buildSpaceToDepth, "Trilu": buildTrilu,

	// indices (ops_index.go)
	"Gather": buildGather, "GatherElements": buildGatherElements, "GatherND": buildGatherND,
	"ScatterElements": buildScatterElements, "ScatterND": buildScatterND, "OneHot": buildOneHot, "EyeLike": buildEyeLike,
	"Resize": buildResize, "Upsample": buildResize,
}

// Operators lists what is imported, folds included; sorted.
func Operators() []string {
	all := map[string]bool{"Identity": true, "Shape": true, "Size": true, "If": true}
	for op := range builds {
		all[op] = true
	}
	for op := range folds {
		all[op] = true
	}
	return sortedKeys(all)
}
