package importer

import (
	"fmt"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// has tells whether an optional input is given.
func (c *call) has(i int) bool { return i < len(c.in) && c.in[i] != nil }

// entry is input i, which must be given.
func (c *call) entry(i int) *entry {
	if !c.has(i) {
		c.im.fail("input %d is missing", i)
	}
	return c.in[i]
}

// x is input i as a value of the graph.
func (c *call) x(i int) *graph.Value { return c.im.value(c.entry(i)) }

// optional is input i, or nil where it is left out.
func (c *call) optional(i int) *graph.Value {
	if !c.has(i) {
		return nil
	}
	return c.x(i)
}

// all are the inputs as values.
func (c *call) all() []*graph.Value {
	list := make([]*graph.Value, len(c.in))
	for i := range c.in {
		list[i] = c.x(i)
	}
	return list
}

// known are the inputs as tensors, where all are; left-out ones are nil.
func (c *call) known() ([]*tensor, bool) {
	list := make([]*tensor, len(c.in))
	for i, e := range c.in {
		if e == nil {
			continue
		}
		if i == 1 && c.n.GetOpType() == "CastLike" {
			continue // its type counts alone
		}
		if e.known == nil && (e.init == nil || e.param || numel(c.im.shape(e)) > foldLimit) {
			return nil, false
		}
		list[i] = c.im.known(e)
	}
	return list, true
}

// tensor is input i, which must be known at import.
func (c *call) tensor(i int) *tensor {
	e := c.entry(i)
	t := c.im.known(e)
	if t == nil {
		c.im.fail("input %d (%q) is computed at run time, want a constant: sizes, axes and bounds must be known at import", i, c.n.Input[i])
	}
	return t
}

// ints and float read input i, which must be known.
func (c *call) ints(i int) []int { return c.tensor(i).ints() }

func (c *call) scalar(i int) float64 {
	t := c.tensor(i)
	if len(t.data) != 1 {
		c.im.fail("input %d has shape %v, want a single element", i, t.shape)
	}
	return t.data[0]
}

// attr is the attribute of that name, or nil.
func (c *call) attr(name string) *onnx.AttributeProto {
	for _, a := range c.n.Attribute {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

func (c *call) int(name string, otherwise int) int {
	if a := c.attr(name); a != nil {
		return int(a.GetI())
	}
	return otherwise
}

func (c *call) float(name string, otherwise float64) float64 {
	if a := c.attr(name); a != nil {
		return float64(a.GetF())
	}
	return otherwise
}

func (c *call) string(name, otherwise string) string {
	if a := c.attr(name); a != nil {
		return string(a.GetS())
	}
	return otherwise
}

// list is an attribute of integers; nil where there is none.
func (c *call) list(name string) []int {
	a := c.attr(name)
	if a == nil {
		return nil
	}
	list := make([]int, len(a.Ints))
	for i, x := range a.Ints {
		list[i] = int(x)
	}
	return list
}

// axes are the attribute "axes", or input i where the opset has them there; ok
// is false where neither is given.
func (c *call) axes(i int) (axes []int, ok bool) {
	if c.attr("axes") != nil {
		return c.list("axes"), true
	}
	if c.has(i) {
		return c.ints(i), true
	}
	return nil, false
}

// with is the map with one more entry.
func with(m map[int][]int, i int, shape []int) map[int][]int {
	if m == nil {
		m = map[int][]int{}
	}
	m[i] = shape
	return m
}

// axis makes a possibly negative axis non-negative and checks it.
func (c *call) axis(axis, rank int) int {
	a := axis
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		c.im.fail("axis %d of a value with %d dimensions", axis, rank)
	}
	return a
}

// listed stops where a list of n numbers would have to be written into the graph
// and n is nothing that a model means.
func (c *call) listed(n int) int {
	c.must(n <= foldLimit, "a list of %d positions, want at most %d", n, foldLimit)
	return n
}

// must stops where a condition for what this package can build does not hold.
func (c *call) must(ok bool, format string, args ...any) {
	if !ok {
		c.im.fail("%s", fmt.Sprintf(format, args...))
	}
}

// dimensions is Shape (with its start and end, since opset 15) or Size.
func (c *call) dimensions() *tensor {
	shape := c.im.shape(c.entry(0))
	if c.n.GetOpType() == "Size" {
		return &tensor{graph.Int64, nil, []float64{float64(numel(shape))}}
	}
	rank := len(shape)
	clamp := func(i int) int {
		if i < 0 {
			i += rank
		}
		return min(max(i, 0), rank)
	}
	start, end := clamp(c.int("start", 0)), clamp(c.int("end", rank))
	return intsTensor(shape[start:max(start, end)]...)
}
