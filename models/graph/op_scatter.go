package graph

import "slices"

// Operators that pick elements by tensors of indices, and put them back.

// Int64s is an int64 constant of the given shape.
func (b *Builder) Int64s(data []int, shape ...int) *Value {
	flat := b.Ints(data...)
	return b.constant(Int64, flat.Node.Data, shape)
}

// GatherElements takes y[i…] = x[…, indices[i…], …] along an axis (GatherElements,
// since opset 13): y has the indices' shape, which is x's but for that axis.
func (b *Builder) GatherElements(x, indices *Value, axis int) *Value {
	axis = b.axis("GatherElements", axis, x.Rank())
	b.elementIndices("GatherElements", x, indices)
	return b.one("GatherElements", []*Value{x, indices}, []Attr{intAttr("axis", axis)}, x.DType, indices.Shape)
}

// ScatterElements is x with updates put where GatherElements would read
// (ScatterElements, since opset 18): over what is there (reduction "none";
// indices that repeat give an undefined order) or added to it ("add").
func (b *Builder) ScatterElements(x, indices, updates *Value, axis int, reduction string) *Value {
	axis = b.axis("ScatterElements", axis, x.Rank())
	b.elementIndices("ScatterElements", x, indices)
	b.reduction("ScatterElements", x, updates, indices.Shape, reduction)
	attrs := []Attr{intAttr("axis", axis), {"reduction", reduction}}
	return b.one("ScatterElements", []*Value{x, indices, updates}, attrs, x.DType, x.Shape)
}

func (b *Builder) elementIndices(op string, x, indices *Value) {
	if indices.DType != Int64 || indices.Rank() != x.Rank() {
		b.fail(op, "indices %v for %v: want int64 of as many dimensions", indices, x)
	}
}

func (b *Builder) reduction(op string, x, updates *Value, want []int, reduction string) {
	if !sameShape(updates.Shape, want) || updates.DType != x.DType {
		b.fail(op, "updates %v for %v, want shape %v", updates, x, want)
	}
	if reduction != "none" && reduction != "add" {
		b.fail(op, "reduction %q, want none or add", reduction)
	}
}

// GatherND takes the slices of x that the rows of indices [..., k] name:
// y[i…] = x[indices[i…, 0], …, indices[i…, k−1], …] (GatherND, since opset 13,
// without batch dimensions).
func (b *Builder) GatherND(x, indices *Value) *Value {
	return b.one("GatherND", []*Value{x, indices}, nil, x.DType, b.sliceShape("GatherND", x, indices))
}

// ScatterND is x with updates put where GatherND would read (ScatterND, since
// opset 18); reduction as in ScatterElements.
func (b *Builder) ScatterND(x, indices, updates *Value, reduction string) *Value {
	b.reduction("ScatterND", x, updates, b.sliceShape("ScatterND", x, indices), reduction)
	return b.one("ScatterND", []*Value{x, indices, updates}, []Attr{{"reduction", reduction}}, x.DType, x.Shape)
}

func (b *Builder) sliceShape(op string, x, indices *Value) []int {
	if indices.DType != Int64 || indices.Rank() < 1 || indices.Dim(-1) > x.Rank() {
		b.fail(op, "indices %v for %v: want int64 [..., k] with k at most %d", indices, x, x.Rank())
	}
	return slices.Concat(indices.Shape[:indices.Rank()-1], x.Shape[indices.Dim(-1):])
}

// What was read several times gets the sum.
func gatherElementsGrad(b *Builder, n *Node, dy []*Value) []*Value {
	x, indices := n.Inputs[0], n.Inputs[1]
	return []*Value{b.ScatterElements(b.zeros(x), indices, dy[0], n.Int("axis", 0), "add"), nil}
}

func gatherNDGrad(b *Builder, n *Node, dy []*Value) []*Value {
	return []*Value{b.ScatterND(b.zeros(n.Inputs[0]), n.Inputs[1], dy[0], "add"), nil}
}

// An update gets the gradient from where it was put; x gets what is left: all
// of it if the update was added, nothing there if it was put over x.
func scatterElementsGrad(b *Builder, n *Node, dy []*Value) []*Value {
	indices, axis, dx := n.Inputs[1], n.Int("axis", 0), dy[0]
	if !n.has("reduction", "add") {
		dx = b.ScatterElements(dx, indices, b.zeros(n.Inputs[2]), axis, "none")
	}
	return []*Value{dx, nil, b.GatherElements(dy[0], indices, axis)}
}

func scatterNDGrad(b *Builder, n *Node, dy []*Value) []*Value {
	indices, dx := n.Inputs[1], dy[0]
	if !n.has("reduction", "add") {
		dx = b.ScatterND(dx, indices, b.zeros(n.Inputs[2]), "none")
	}
	return []*Value{dx, nil, b.GatherND(dy[0], indices)}
}

// has tells whether a node has an attribute of this value.
func (n *Node) has(name string, value any) bool { return slices.Contains(n.Attrs, Attr{name, value}) }
