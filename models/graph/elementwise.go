package graph

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An Elementwise node (domain immiscible) stands for a cluster of elementwise
// nodes. Its attribute expression holds C statements that compute an element of
// each output from one of each input x0, x1, …, all float, through temporaries:
//
//	float t0 = x0 * x1; float t1 = 1.0f / (1.0f + expf(-t0)); y0 = t1;
//
// with + − * /, comparisons, ?: and the functions expf logf sqrtf tanhf erff fabsf
// powf sinf cosf. Inputs are of any float type or bool, and broadcast as NumPy does;
// outputs have the shape that the inputs broadcast to together. Nothing is rounded
// to a half type in between.
//
// The outputs of a half type come first. ONNX Runtime knows the types of a custom
// operator's outputs by its name: see elementwiseName.
const (
	maxElementwiseInputs  = 15
	maxElementwiseOutputs = 8
)

// formula is a node's value as a C expression of its operands $0, $1, …; $k is the
// node's constant.
type formula struct {
	text string
	k    func(n *Node) float64
}

func attribute(name string, def float64) func(n *Node) float64 {
	return func(n *Node) float64 { return n.Float(name, def) }
}

// formulas are the operators that can be parts of an Elementwise node. Extrema and
// cuts keep what is not a number, so that a gradient that overflows is noticed.
var formulas = map[string]formula{
	"Add": {text: "$0 + $1"}, "Sub": {text: "$0 - $1"}, "Mul": {text: "$0 * $1"}, "Div": {text: "$0 / $1"}, "Pow": {text: "powf($0, $1)"},
	"Max": {text: "$0 != $0 ? $0 : $0 > $1 ? $0 : $1"}, "Min": {text: "$0 != $0 ? $0 : $0 < $1 ? $0 : $1"},
	"Where": {text: "$0 != 0.0f ? $1 : $2"},
	"Neg":   {text: "-$0"}, "Abs": {text: "fabsf($0)"}, "Sqrt": {text: "sqrtf($0)"}, "Exp": {text: "expf($0)"}, "Log": {text: "logf($0)"},
	"Sin": {text: "sinf($0)"}, "Cos": {text: "cosf($0)"}, "Tanh": {text: "tanhf($0)"}, "Erf": {text: "erff($0)"},
	"Sigmoid": {text: "1.0f / (1.0f + expf(-$0))"}, "Softplus": {text: "($0 > 0.0f ? $0 : 0.0f) + logf(1.0f + expf(-fabsf($0)))"},
	"Relu": {text: "$0 < 0.0f ? 0.0f : $0"}, "Clip": {text: "$0 < $1 ? $1 : $0 > $2 ? $2 : $0"},
	"QuickGelu":     {"$0 / (1.0f + expf(-$k * $0))", attribute("alpha", 1.702)},
	"QuickGeluGrad": {"$0 * ((1.0f + $k * $1 - $k * $1 / (1.0f + expf(-$k * $1))) / (1.0f + expf(-$k * $1)))", attribute("alpha", 1.702)},
	"Gelu":          {text: "0.5f * $0 * (1.0f + erff($0 * 0.7071067811865476f))"},
	"GeluGrad":      {text: "$0 * (0.5f + 0.5f * erff($1 * 0.7071067811865476f) + $1 * 0.3989422804014327f * expf(-0.5f * $1 * $1))"},
	"Cast":          {text: "$0"}, "Identity": {text: "$0"},
	"Equal": {text: "$0 == $1 ? 1.0f : 0.0f"}, "Greater": {text: "$0 > $1 ? 1.0f : 0.0f"}, "Less": {text: "$0 < $1 ? 1.0f : 0.0f"},
	"GreaterOrEqual": {text: "$0 >= $1 ? 1.0f : 0.0f"}, "LessOrEqual": {text: "$0 <= $1 ? 1.0f : 0.0f"},
	"And": {text: "$0 * $1"}, "Not": {text: "1.0f - $0"},
}

// elementwise tells whether a node can be a part of an Elementwise node.
func elementwise(n *Node) bool {
	if _, ok := formulas[n.Op]; !ok || len(n.Outputs) != 1 || n.Op == "Cast" && !isFloat(n.Outputs[0]) {
		return false
	}
	for _, in := range n.Inputs {
		if in == nil || !isFloat(in) && in.DType != Bool {
			return false
		}
	}
	return true
}

func isFloat(v *Value) bool { return v.DType == Float32 || v.DType == Float16 || v.DType == BFloat16 }

// read is where a cluster reads a value: before it was widened, which is exact,
// and, with spread, before it was broadcast.
func read(v *Value, spread bool) *Value {
	for {
		switch n := v.Node; {
		case n.Op == "Cast" && v.DType == Float32 && isFloat(n.Inputs[0]), spread && n.Op == "Expand":
			v = n.Inputs[0]
		default:
			return v
		}
	}
}

// literal is a constant of one element in C.
func literal(v *Value) (string, bool) {
	x, ok := number(v)
	if !ok || math.IsNaN(x) || math.IsInf(x, 0) {
		return "", false
	}
	return cFloat(x), true
}

// cFloat is the nearest float in C, with the digits of a double.
func cFloat(x float64) string {
	text := strconv.FormatFloat(float64(float32(x)), 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	if text += "f"; text[0] == '-' {
		text = "(" + text + ")"
	}
	return text
}

// asElementwise is the node that computes a cluster, whose nodes are in topological
// order and of one shape; it is to give outputs, which are sorted. It is nil where that
// shape does not follow from the inputs.
func asElementwise(nodes []*Node, outputs []*Value) *Node {
	slices.SortStableFunc(outputs, func(x, y *Value) int { return cmp.Compare(x.DType.Size(), y.DType.Size()) })
	last := nodes[len(nodes)-1]
	shape := last.Outputs[0].Shape
	for _, spread := range []bool{true, false} {
		inputs, text := express(nodes, outputs, spread)
		together, fits := []int{}, true
		for _, in := range inputs {
			wider, ok := broadcastShapes(together, in.Shape)
			together, fits = wider, fits && ok
		}
		if fits && sameShape(together, shape) && len(inputs) > 0 && len(inputs) <= maxElementwiseInputs {
			return &Node{Op: "Elementwise", Domain: Domain, Inputs: inputs, Attrs: []Attr{{"expression", text}},
				Scope: last.Scope, Backward: last.Backward, Site: last.Site}
		}
	}
	return nil
}

// elementwiseName is the operator of an Elementwise node as it is written: with the
// type and number of its outputs of a half type, as ElementwiseFloat16x2.
func elementwiseName(n *Node) string {
	half := 0
	for _, y := range n.Outputs {
		if y.DType != Float32 {
			half++
		}
	}
	switch n.Outputs[0].DType {
	case Float16:
		return fmt.Sprint(n.Op, "Float16x", half)
	case BFloat16:
		return fmt.Sprint(n.Op, "BFloat16x", half)
	}
	return n.Op
}

// express writes the statements of a cluster, and lists what they read. Names
// follow the order of use alone: equal clusters have equal texts.
func express(nodes []*Node, outputs []*Value, spread bool) (inputs []*Value, text string) {
	var statements []string
	names := map[*Value]string{}
	operand := func(v *Value) string {
		if name, ok := names[v]; ok {
			return name
		}
		source := read(v, spread)
		if number, ok := literal(read(v, true)); ok {
			return number
		}
		if _, ok := names[source]; !ok {
			names[source] = fmt.Sprint("x", len(inputs))
			inputs = append(inputs, source)
		}
		return names[source]
	}
	temporaries := 0
	for _, n := range nodes {
		f, y := formulas[n.Op], n.Outputs[0]
		if f.text == "$0" {
			names[y] = operand(n.Inputs[0])
			continue
		}
		var replace []string
		for i, in := range n.Inputs {
			replace = append(replace, fmt.Sprint("$", i), operand(in))
		}
		if f.k != nil {
			replace = append(replace, "$k", cFloat(f.k(n)))
		}
		if n.Op == "Pow" && operand(n.Inputs[1]) == "2.0f" {
			f = formulas["Mul"]
			replace[3] = replace[1]
		}
		names[y] = fmt.Sprint("t", temporaries)
		statements = append(statements, fmt.Sprintf("float t%d = %s;", temporaries, strings.NewReplacer(replace...).Replace(f.text)))
		temporaries++
	}
	for i, y := range outputs {
		statements = append(statements, fmt.Sprintf("y%d = %s;", i, names[y]))
	}
	return inputs, strings.Join(statements, " ")
}
