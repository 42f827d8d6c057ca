package importer

import (
	"slices"
	"strings"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// call is a node that is visited: its inputs, and the builder at its scope.
type call struct {
	im *importer
	n  *onnx.NodeProto
	b  *graph.Builder
	in []*entry // nil where an optional input is left out

	empty map[int][]int // outputs without elements, with their shapes: build gives nil for them
}

// build makes a node's outputs from its inputs; fold computes them at import.
type (
	build = func(c *call) []*graph.Value
	fold  = func(c *call, in []*tensor) []*tensor
)

// nodes visits a list of nodes.
func (im *importer) nodes(list []*onnx.NodeProto, scope *names) {
	for _, n := range list {
		im.node = n
		if im.result.Nodes++; im.result.Nodes > maxNodes {
			im.fail("more than %d nodes, functions inlined", maxNodes)
		}
		c := &call{im: im, n: n, b: im.root.At(scopeOf(n))}
		for _, name := range n.Input {
			var e *entry
			if name != "" {
				if e = scope.find(name); e == nil {
					im.fail("input %q is not produced before", name)
				}
			}
			c.in = append(c.in, e)
		}
		for i, e := range im.visit(c, scope) {
			if i < len(n.Output) && n.Output[i] != "" && e != nil {
				scope.own[n.Output[i]] = e
			}
		}
		for _, name := range n.Output {
			if name != "" && scope.own[name] == nil {
				im.fail("its output %q is not supported", name)
			}
		}
	}
}

// visit makes a node's outputs, by the first way that fits.
func (im *importer) visit(c *call, scope *names) []*entry {
	op, domain := c.n.GetOpType(), c.n.GetDomain()
	if f := im.functions[functionKey(domain, op, c.n.GetOverload())]; f != nil {
		return im.inline(c, f)
	}
	if domain == "com.microsoft" {
		op = domain + "." + op
	} else if domain != "" && domain != "ai.onnx" {
		im.fail("operators of domain %q are not imported", domain)
	}
	switch op {
	case "If":
		return im.branch(c, scope)
	case "Identity":
		return []*entry{im.untied(c.n, c.entry(0))}
	case "Shape", "Size":
		im.result.Folded++
		return []*entry{{known: c.dimensions()}}
	}
	c.arity(op)
	if f, ok := folds[op]; ok {
		if in, all := c.known(); all {
			if out := f(c, in); out != nil {
				im.result.Folded++
				list := make([]*entry, len(out))
				for i, t := range out {
					list[i] = &entry{known: t}
				}
				return list
			}
		}
	}
	f, ok := builds[op]
	if !ok {
		others := slices.DeleteFunc(im.file.Unsupported(), func(name string) bool { return name == op })
		if len(others) > 0 {
			im.fail("%s; nor are these of the file: %s", refusal(op), strings.Join(others, ", "))
		}
		im.fail("%s", refusal(op))
	}
	var list []*entry
	for i, v := range f(c) {
		switch shape, ok := c.empty[i]; {
		case v != nil:
			list = append(list, &entry{value: v})
		case ok:
			list = append(list, &entry{known: &tensor{dtype: c.im.typed(c.entry(0)), shape: shape}})
		default:
			list = append(list, nil)
		}
	}
	return list
}

// required is how many inputs an operator cannot do without, where it is not
// one: they are its first.
var required = map[string]int{
	"Constant": 0, "Add": 2, "Sub": 2, "Mul": 2, "Div": 2, "Mod": 2, "Pow": 2, "PRelu": 2, "Equal": 2, "Greater": 2, "Less": 2,
	"GreaterOrEqual": 2, "LessOrEqual": 2, "And": 2, "Or": 2, "Xor": 2, "Where": 3, "Range": 3, "CastLike": 2, "CumSum": 2,
	"Gather": 2, "GatherND": 2, "GatherElements": 2, "ScatterND": 3, "ScatterElements": 3, "Expand": 2, "Tile": 2, "OneHot": 3,
	"MatMul": 2, "Gemm": 2, "com.microsoft.FusedMatMul": 2, "com.microsoft.BiasGelu": 2, "Conv": 2, "ConvTranspose": 2,
	"BatchNormalization": 5, "InstanceNormalization": 3, "LayerNormalization": 2, "GroupNormalization": 3, "RMSNormalization": 2,
}

// arity checks that a node has the inputs that it needs. Operators of any number
// of inputs can leave none out.
func (c *call) arity(op string) {
	n, ok := required[op]
	if !ok {
		n = 1
	}
	for i := range n {
		c.entry(i)
	}
	if slices.Contains([]string{"Concat", "Max", "Min", "Sum", "Mean", "Einsum"}, op) {
		for i := range c.in {
			c.entry(i)
		}
	}
}

// Unsupported lists the operators of the file, its functions included, that have
// no rule; sorted.
func (f *File) Unsupported() []string {
	defined, missing := map[string]bool{}, map[string]bool{}
	for _, fn := range f.Model.Functions {
		defined[fn.GetDomain()+"."+fn.GetName()] = true
	}
	known := map[string]bool{}
	for _, op := range Operators() {
		known[op] = true
	}
	visit := func(list []*onnx.NodeProto) {
		for _, n := range list {
			op := n.GetOpType()
			if defined[n.GetDomain()+"."+op] {
				continue
			}
			if d := n.GetDomain(); d != "" && d != "ai.onnx" {
				op = d + "." + op
			}
			if !known[op] {
				missing[op] = true
			}
		}
	}
	visit(f.Model.Graph.Node)
	for _, fn := range f.Model.Functions {
		visit(fn.Node)
	}
	return sortedKeys(missing)
}

// refusal says why an operator is not imported.
func refusal(op string) string {
	switch {
	case slices.Contains([]string{"Loop", "Scan"}, op):
		return "loops are not imported: export the model with fixed sizes, so that the exporter unrolls them"
	case slices.Contains([]string{"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}, op):
		return "it draws random numbers: export the model in eval mode, without dropout"
	case slices.Contains([]string{"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}, op):
		return "quantised models are not trained: export the model in float32"
	}
	if _, ok := folds[op]; ok {
		return "it is imported only where its inputs are constants or shapes"
	}
	return "the operator has no rule: it is not imported"
}

// branch inlines the branch that a known condition takes.
func (im *importer) branch(c *call, scope *names) []*entry {
	cond := im.known(c.entry(0))
	if cond == nil || len(cond.data) != 1 {
		im.fail("the condition is computed at run time: control flow over data is not imported")
	}
	name := "else_branch"
	if cond.data[0] != 0 {
		name = "then_branch"
	}
	a := c.attr(name)
	if a == nil || a.G == nil {
		im.fail("no attribute %s", name)
	}
	return im.body(c, a.G.Node, a.G.Initializer, a.G.Output, scope)
}

func (im *importer) body(c *call, nodes []*onnx.NodeProto, inits []*onnx.TensorProto, outputs []*onnx.ValueInfoProto, outer *names) []*entry {
	if im.depth++; im.depth > 64 {
		im.fail("functions and branches are nested more than 64 deep")
	}
	scope := &names{own: map[string]*entry{}, outer: outer}
	for _, t := range inits {
		scope.own[t.GetName()] = &entry{init: t}
	}
	im.nodes(nodes, scope)
	im.node = c.n
	im.depth--
	var list []*entry
	for _, o := range outputs {
		e := scope.find(o.GetName())
		if e == nil {
			im.fail("output %q of its body is not produced", o.GetName())
		}
		list = append(list, e)
	}
	return list
}

func functionKey(domain, name, overload string) string {
	return domain + "\x00" + name + "\x00" + overload
}

// inline visits a function's body with the caller's inputs and attributes.
func (im *importer) inline(c *call, f *onnx.FunctionProto) []*entry {
	scope := &names{own: map[string]*entry{}}
	for i, name := range f.Input {
		if i < len(c.in) && c.in[i] != nil {
			scope.own[name] = c.in[i]
		}
	}
	given := map[string]*onnx.AttributeProto{}
	for _, a := range f.AttributeProto {
		given[a.GetName()] = a
	}
	for _, a := range c.n.Attribute {
		given[a.GetName()] = a
	}
	nodes := make([]*onnx.NodeProto, len(f.Node))
	for i, n := range f.Node {
		// An input that the caller left out is left out within.
		inputs := slices.Clone(n.Input)
		for k, name := range inputs {
			if at := slices.Index(f.Input, name); at >= 0 && scope.own[name] == nil {
				inputs[k] = ""
			}
		}
		nodes[i] = &onnx.NodeProto{Input: inputs, Output: n.Output, OpType: n.OpType, Domain: n.Domain, Overload: n.Overload,
			Attribute: substituted(n.Attribute, given), Name: n.Name, MetadataProps: n.MetadataProps}
		if len(n.MetadataProps) == 0 {
			nodes[i].Name = c.n.Name // the place of the call says more than a name within a library
			nodes[i].MetadataProps = c.n.MetadataProps
		}
	}
	outputs := make([]*onnx.ValueInfoProto, len(f.Output))
	for i, name := range f.Output {
		outputs[i] = &onnx.ValueInfoProto{Name: &name}
	}
	opset := im.opset
	if len(f.OpsetImport) > 0 {
		if im.opset = opsetOf(f.OpsetImport); im.opset < minOpset || im.opset > maxOpset {
			im.fail("function %s uses opset %d, want %d to %d", f.GetName(), im.opset, minOpset, maxOpset)
		}
	}
	list := im.body(c, nodes, nil, outputs, scope)
	im.opset = opset
	return list
}

// substituted replaces references to a function's attributes.
func substituted(list []*onnx.AttributeProto, given map[string]*onnx.AttributeProto) []*onnx.AttributeProto {
	var out []*onnx.AttributeProto
	for _, a := range list {
		if a.GetRefAttrName() == "" {
			out = append(out, a)
			continue
		}
		if g := given[a.GetRefAttrName()]; g != nil {
			name := a.GetName()
			out = append(out, &onnx.AttributeProto{Name: &name, Type: g.Type, F: g.F, I: g.I, S: g.S, T: g.T, G: g.G,
				Floats: g.Floats, Ints: g.Ints, Strings: g.Strings, Tensors: g.Tensors, Graphs: g.Graphs})
		}
	}
	return out
}
