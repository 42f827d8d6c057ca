package graph

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Unreached lists the parameters of g that have no gradient of the value v: it
// does not depend on them, or through operators without a gradient alone.
func (g *Graph) Unreached(v *Value) []*Value {
	wanted := map[*Value]bool{v: true}
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(y *Value) bool { return wanted[y] }) || n.Op != "Input" && Stops(n.Op) {
			continue
		}
		for _, in := range n.Inputs {
			if in != nil && (in.DType == Float32 || in.DType == Float16) {
				wanted[in] = true
			}
		}
	}
	return slices.DeleteFunc(g.Params(), func(p *Value) bool { return wanted[p] })
}

// Live lists the nodes that the outputs need, in their order.
func (g *Graph) Live() []*Node {
	live := g.live()
	return slices.DeleteFunc(slices.Clone(g.Nodes), func(n *Node) bool { return !live[n] })
}

// Dot is a picture of the nodes at a scope or below it ("" is the whole graph),
// in the language of Graphviz: a box an operator, an arrow a value with its
// shape. What comes from outside the scope is an ellipse; constants are left out.
func (g *Graph) Dot(scope string) string {
	within := func(n *Node) bool {
		return n.Op != "Input" && (scope == "" || n.Scope == scope || strings.HasPrefix(n.Scope, scope+".") || strings.HasPrefix(n.Scope, scope+"/"))
	}
	var b strings.Builder
	b.WriteString("digraph {\n rankdir=TB; node [shape=box, fontsize=10]; edge [fontsize=8];\n")
	outside := map[*Value]bool{}
	for _, n := range g.Live() {
		if n.Op == "Constant" || !within(n) {
			continue
		}
		label := n.Op
		if n.Scope != scope {
			label += "\n" + n.Scope
		}
		fmt.Fprintf(&b, " n%d [label=%q];\n", n.index, label)
		for _, in := range n.Inputs {
			if in == nil || in.Node.Op == "Constant" {
				continue
			}
			if !within(in.Node) && !outside[in] {
				outside[in] = true
				name := in.Node.Name
				if in.Node.Op != "Input" {
					name = join(in.Node.Scope, in.Node.Op)
				}
				fmt.Fprintf(&b, " n%d [label=%q, shape=ellipse];\n", in.Node.index, name)
			}
			fmt.Fprintf(&b, " n%d -> n%d [label=%q];\n", in.Node.index, n.index, fmt.Sprint(in.Shape))
		}
	}
	for i, o := range g.Outputs {
		if within(o.Value.Node) {
			fmt.Fprintf(&b, " o%d [label=%q, shape=ellipse];\n n%d -> o%d;\n", i, o.Name, o.Value.Node.index, i)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// Stops tells whether an operator passes no gradient on.
func Stops(op string) bool {
	r, ok := rules[op]
	return !ok || reflect.ValueOf(r).Pointer() == reflect.ValueOf(noGrad).Pointer()
}
