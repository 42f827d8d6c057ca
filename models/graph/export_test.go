package graph

import (
	"maps"
	"reflect"
	"slices"
	"testing"
)

// RuleNames lists the operators of the derivative table.
func RuleNames() []string { return slices.Sorted(maps.Keys(rules)) }

// LoweringNames lists the composite operators.
func LoweringNames() []string { return slices.Sorted(maps.Keys(lowerings)) }

// HasDerivative tells whether an operator's row is a derivative, and not
// noGrad or once.
func HasDerivative(op string) bool {
	at := func(r rule) uintptr { return reflect.ValueOf(r).Pointer() }
	return at(rules[op]) != at(noGrad) && at(rules[op]) != at(once)
}

// SetRule replaces an operator's derivative for the rest of a test; nil removes
// the row.
func SetRule(t *testing.T, op string, r func(b *Builder, n *Node, dy []*Value) []*Value) {
	old, had := rules[op]
	t.Cleanup(func() {
		delete(rules, op)
		if had {
			rules[op] = old
		}
	})
	rules[op] = r
	if r == nil {
		delete(rules, op)
	}
}

// SetLowering does the same for a composite operator's lowering.
func SetLowering(t *testing.T, op string, f func(b *Builder, n *Node, in []*Value) []*Value) {
	old, had := lowerings[op]
	t.Cleanup(func() {
		delete(lowerings, op)
		if had {
			lowerings[op] = old
		}
	})
	lowerings[op] = f
	if f == nil {
		delete(lowerings, op)
	}
}

// Raw appends a node of any operator with one float32 output.
func (b *Builder) Raw(op, domain string, inputs []*Value, shape ...int) *Value {
	v := b.one(op, inputs, nil, Float32, shape)
	v.Node.Domain = domain
	return v
}

// HalfBits is a constant's rounding to a half type.
var HalfBits = halfBits
