package graph

import (
	"encoding/binary"
	"math"
)

// castMode says in which type an operator of a mixed-precision graph computes.
type castMode int

const (
	castWide   castMode = iota // float32: whatever is not listed
	castHalf                   // the half type: products, where nearly all the time goes
	castFollow                 // the half type where everything it reads is half, else float32
	castShape                  // castFollow for operators that move elements and change none
	castSecond                 // a derivative by input 1: the type of that
)

// castModes is the table of the pass. Products are half. What moves elements, or
// is cheap and keeps its digits, follows its inputs, so that images stay half
// between products. LayerNormalization and Softmax read and write half where
// their input is half: ONNX Runtime's kernels sum in float32 inside, and the
// former's statistics are float32 values by its definition. Sums over many
// elements, means, powers, logarithms, trigonometry and everything that is not
// listed stay float32, and with them the loss and the derivatives of norms.
var castModes = map[string]castMode{
	"Conv": castHalf, "ConvTranspose": castHalf, "MatMul": castHalf, "FusedMatMul": castHalf, "Gemm": castHalf,
	"Add": castFollow, "Sub": castFollow, "Mul": castFollow, "Neg": castFollow, "Max": castFollow, "Min": castFollow, "Where": castFollow,
	"Relu": castFollow, "Sigmoid": castFollow, "Tanh": castFollow, "Abs": castFollow, "Clip": castFollow, "QuickGelu": castFollow, "Gelu": castFollow,
	"LayerNormalization": castFollow, "Softmax": castFollow,
	"Reshape": castShape, "Transpose": castShape, "Concat": castShape, "Slice": castShape, "Split": castShape, "Expand": castShape,
	"Pad": castShape, "Identity": castShape, "Gather": castShape, "Resize": castShape,

	// Composite operators that a provider has kernels for, which sum in float32.
	"ConvInputGrad": castHalf, "ConvWeightGrad": castHalf, "ConvBiasGrad": castHalf, "Attention": castHalf, "AttentionGrad": castHalf,
	"GroupNormalization": castFollow, "GroupNormalizationGrad": castSecond, "LayerNormalizationGrad": castSecond, "QuickGeluGrad": castSecond, "GeluGrad": castSecond,
}

// wideInputs and wideOutputs are the operands and results of operators, a bit
// each, that are float32 beside a half image: parameters as they are and their
// gradients, and statistics.
var (
	wideInputs  = map[string]uint{"GroupNormalization": 0b110, "GroupNormalizationGrad": 0b111100, "LayerNormalizationGrad": 0b11100, "AttentionGrad": 0b100000}
	wideOutputs = map[string]uint{
		"LayerNormalization": 0b110, "GroupNormalization": 0b110, "GroupNormalizationGrad": 0b110, "LayerNormalizationGrad": 0b110,
		"ConvBiasGrad": 0b1, "Attention": 0b10,
	}
)

// withoutBFloat16 are the operators of castModes that ONNX Runtime's CUDA
// provider lacks in bfloat16 at opset 18, or is not known to have, by the
// kernels in the provider's binary (1.29.0). Conv has it from opset 22 on, where
// ConvTranspose may have no kernel at all:
// https://github.com/microsoft/onnxruntime/issues/26393
var withoutBFloat16 = map[string]bool{
	"Conv": true, "ConvTranspose": true, "Resize": true, "Pad": true, "Clip": true, "Gelu": true, "Max": true, "Min": true, "Relu": true,
}

// MixedPrecision is the pass that computes a training graph's products in half,
// which is Float16 or BFloat16, as autocast does: Micikevicius et al. 2018,
// arXiv 1710.03740. Parameters stay float32 inputs and are cast once; outputs
// keep their types, so that gradients are written in float32. Composite operators
// that the provider has no kernels for in half are lowered first, since each of
// their parts has its own type: for "" all are.
//
// A half value that a float32 operator reads is widened once for the forward and
// once more for the backward. Only the half one then waits for the backward; a
// session must not merge the two casts, which Recomputes says.
func MixedPrecision(g *Graph, half DType, provider string) (*Graph, error) {
	lowered, err := rebuild(g, func(b *Builder, n *Node, inputs []*Value) []*Value {
		if n.Domain == Domain && !has(provider, n, half) {
			return b.lower(n, inputs)
		}
		return b.copyNode(n, inputs)
	})
	if err != nil {
		return nil, err
	}
	c := &caster{half: half, provider: provider, weak: map[*Value]bool{}, cast: map[castKey]*Value{}}
	mixed, err := rebuild(lowered, c.node)
	if err != nil {
		return nil, err
	}
	// Outputs have the types that they had.
	for i, o := range lowered.Outputs {
		made := &mixed.Outputs[i].Value
		*made = c.as(&Builder{graph: mixed, backward: true}, *made, o.Value.DType)
	}
	if mixed, err = rebuild(mixed, (*Builder).copyNode); err != nil { // without the casts that nobody reads
		return nil, err
	}
	mixed.Recomputes = true
	return mixed, nil
}

// Has reports whether any value of the graph is of a type.
func (g *Graph) Has(dtype DType) bool {
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v.DType == dtype {
				return true
			}
		}
	}
	return false
}

type castKey struct {
	v        *Value
	to       DType
	backward bool
}

// caster holds what the pass knows of the new graph's values.
type caster struct {
	half     DType
	provider string
	// weak values have no type of their own: parameters, constants, truth values
	// as numbers, and what only moves these. They take the type of what they meet.
	weak map[*Value]bool
	cast map[castKey]*Value
}

// node makes a node's twin in the type that its mode gives.
func (c *caster) node(b *Builder, n *Node, inputs []*Value) []*Value {
	mode := castModes[n.Op]
	if c.half == BFloat16 && withoutBFloat16[n.Op] {
		mode = castWide
	}
	switch n.Op {
	case "Cast": // from a truth value or a whole number: exact in any type
		made := b.copyNode(n, inputs)
		c.weak[made[0]] = inputs[0].DType == Bool
		return made
	case "ReduceSum":
		if sum := c.sum(b, n, inputs[0]); sum != nil {
			return []*Value{sum}
		}
	}
	strong, wide, weak := false, false, true
	for i, in := range inputs {
		if in == nil || !c.float(in) || wideInputs[n.Op]>>i&1 == 1 || mode == castSecond && i != 1 {
			continue
		}
		if c.isWeak(in) {
			wide = wide || mode != castHalf && !c.fits(in)
			continue
		}
		strong, weak = true, false
		wide = wide || in.DType == Float32
	}
	to := Float32
	if mode == castHalf || mode != castWide && strong && !wide {
		to = c.half
	}
	twins := make([]*Value, len(inputs))
	for i, in := range inputs {
		switch twins[i] = in; {
		case in == nil || !c.float(in) || n.Op == "Resize" && i > 0:
		case wideInputs[n.Op]>>i&1 == 1:
			twins[i] = c.as(b, in, Float32)
		default:
			twins[i] = c.as(b, in, to)
		}
	}
	outs := make([]out, len(n.Outputs))
	for i, o := range n.Outputs {
		outs[i] = out{o.DType, o.Shape}
		if o.DType == Float32 && wideOutputs[n.Op]>>i&1 == 0 {
			outs[i].dtype = to
		}
	}
	made := b.node(n.Op, twins, n.Attrs, outs...)
	made.Domain, made.Site = n.Domain, n.Site
	if mode == castShape && weak {
		for _, o := range made.Outputs {
			c.weak[o] = c.float(o)
		}
	}
	return made.Outputs
}

// sum is a ReduceSum over the first or the last dimensions of a half value as
// ConvBiasGrad, which adds up in float32 what it reads in half; nil where the
// provider has no kernel for it.
func (c *caster) sum(b *Builder, n *Node, x *Value) *Value {
	axes, _ := n.Inputs[1].Ints()
	y := n.Outputs[0]
	first, last := true, true
	for i, a := range axes {
		first, last = first && a == i, last && a == x.Rank()-len(axes)+i
	}
	if x.DType != c.half || c.isWeak(x) || !first && !last || !has(c.provider, &Node{Op: "ConvBiasGrad"}, c.half) {
		return nil
	}
	flat := []int{1, y.Numel(), x.Numel() / y.Numel()}
	if first {
		flat = []int{x.Numel() / y.Numel(), y.Numel()}
	}
	sum := b.composite("ConvBiasGrad", []*Value{b.Reshape(x, flat...)}, nil, out{Float32, []int{y.Numel()}})[0]
	return b.Reshape(sum, y.Shape...)
}

func (c *caster) float(v *Value) bool { return v.DType == Float32 || v.DType == c.half }

func (c *caster) isWeak(v *Value) bool {
	return v.Node.Op == "Constant" || v.Node.Param || c.weak[v]
}

// fits tells whether half can hold every element of a weak value without losing
// more than its rounding: normal numbers, and 0. Parameters have none to lose.
func (c *caster) fits(v *Value) bool {
	data, constant := v.Float32s()
	if !constant {
		for _, in := range v.Node.Inputs {
			if in != nil && c.float(in) && !c.fits(in) {
				return false
			}
		}
		return true
	}
	for _, x := range data {
		if a := math.Abs(float64(x)); c.half == Float16 && a != 0 && !(a >= 0x1p-14 && a <= 65504) {
			return false
		}
	}
	return true
}

// as is a value in another float type, made once. A parameter that is reshaped
// is reshaped in both types rather than cast twice.
func (c *caster) as(b *Builder, v *Value, to DType) *Value {
	if v.DType == to {
		return v
	}
	// What is narrowed is shared; what is widened is not kept for the backward.
	key := castKey{v, to, b.backward && to == Float32}
	if made, ok := c.cast[key]; ok {
		return made
	}
	// A twin stands where the value does, not where it is first read.
	at := &Builder{graph: b.graph, scope: v.Node.Scope, backward: v.Node.Backward}
	if to == Float32 {
		at.backward = b.backward
	}
	data, constant := v.Float32s()
	var made *Value
	switch {
	case constant:
		raw := make([]byte, 0, 2*len(data))
		for _, x := range data {
			raw = binary.LittleEndian.AppendUint16(raw, halfBits(x, to))
		}
		made = at.constant(to, raw, v.Shape)
	case c.weak[v] && v.Node.Op == "Cast":
		made = at.Cast(v.Node.Inputs[0], to)
	case c.weak[v]:
		n := v.Node
		inputs := make([]*Value, len(n.Inputs))
		for i, in := range n.Inputs {
			if inputs[i] = in; in != nil && c.float(in) {
				inputs[i] = c.as(b, in, to)
			}
		}
		outs := shapes(n)
		for i := range outs {
			outs[i].dtype = to
		}
		twin := at.node(n.Op, inputs, n.Attrs, outs...)
		twin.Domain, twin.Site = n.Domain, n.Site
		made = twin.Outputs[v.Index]
	default:
		made = at.Cast(v, to)
	}
	c.cast[key] = made
	return made
}

// halfBits rounds x to the nearest number of a half type, ties to even, and
// gives its bits. Beyond float16's range it is infinite.
func halfBits(x float32, to DType) uint16 {
	bits := math.Float32bits(x)
	if to == BFloat16 {
		if x != x {
			return uint16(bits>>16) | 0x40
		}
		return uint16((bits + 0x7fff + bits>>16&1) >> 16)
	}
	sign, magnitude := uint16(bits>>16&0x8000), math.Abs(float64(x))
	switch {
	case x != x:
		return sign | 0x7e00
	case magnitude >= 65520: // half of the last place above the largest number
		return sign | 0x7c00
	case magnitude < 0x1p-14: // multiples of 2⁻²⁴; 1024 of them are the first normal number
		return sign | uint16(math.RoundToEven(magnitude*0x1p24))
	}
	fraction, exponent := math.Frexp(magnitude) // fraction in [½, 1)
	return sign | uint16((exponent+14)<<10+int(math.RoundToEven(fraction*2048))-1024)
}

// halfValue is the number that bits stand for.
func halfValue(bits uint16, from DType) float32 {
	if from == BFloat16 {
		return math.Float32frombits(uint32(bits) << 16)
	}
	sign, exponent, fraction := 1-2*float64(bits>>15), int(bits>>10&31), float64(bits&1023)
	switch exponent {
	case 0:
		return float32(sign * fraction * 0x1p-24)
	case 31:
		if fraction != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	}
	return float32(sign * math.Ldexp(1024+fraction, exponent-25))
}
