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
}

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
// keep their types, so that gradients are written in float32; composite
// operators are lowered first, since each of their parts has its own type.
//
// A half value that a float32 operator reads is widened once for the forward and
// once more for the backward. Only the half one then waits for the backward; a
// session must not merge the two casts, which Recomputes says.
func MixedPrecision(g *Graph, half DType) (*Graph, error) {
	lowered, err := Lower(g)
	if err != nil {
		return nil, err
	}
	c := &caster{half: half, weak: map[*Value]bool{}, cast: map[castKey]*Value{}}
	mixed, err := rebuild(lowered, c.node)
	if err != nil {
		return nil, err
	}
	// Outputs have the types that they had.
	for i, o := range lowered.Outputs {
		made := &mixed.Outputs[i].Value
		*made = c.as(&Builder{graph: mixed, backward: true}, *made, o.Value.DType)
	}
	if mixed, err = Lower(mixed); err != nil { // without the casts that nobody reads
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
	half DType
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
	if n.Op == "Cast" { // from a truth value or a whole number: exact in any type
		made := b.copyNode(n, inputs)
		c.weak[made[0]] = inputs[0].DType == Bool
		return made
	}
	strong, wide, weak := false, false, true
	for _, in := range inputs {
		if in == nil || !c.float(in) {
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
		if twins[i] = in; in != nil && c.float(in) && !(n.Op == "Resize" && i > 0) {
			twins[i] = c.as(b, in, to)
		}
	}
	outs := make([]out, len(n.Outputs))
	for i, o := range n.Outputs {
		outs[i] = out{o.DType, o.Shape}
		if o.DType == Float32 && !(n.Op == "LayerNormalization" && i > 0) {
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
