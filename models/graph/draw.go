package graph

import "slices"

// Draw says how a mask is drawn: element e of the example at position p is true
// where a word of Philox4x32-10 is below Keep: word e mod 4 of the block with the
// counter (⌊e/4⌋, p), lower halves first, under Key. That is the stream of
// datasets/rng for (seed, name, p), Key being rng.Key(seed, name).
type Draw struct {
	Key  uint64
	Keep uint64 // 1 to 2³²: of 2³² words
}

// DrawMasks is the pass that draws dropout masks where they are read, forward and
// backward alike, for a provider that has a kernel for that (see Native): a mask is
// then neither an input nor ever stored. draw tells of each truth-valued input how it
// is drawn; false leaves it an input, as one stays whose readers are not all dropout.
// Where any is drawn, the graph has a new input "positions", int64 [N]: those of the
// examples, the first dimension of the masks.
func DrawMasks(g *Graph, provider string, draw func(mask string) (Draw, bool)) (*Graph, error) {
	types := kernels[provider]["Dropout"].types
	readers := g.readers()
	n := 0
	gone := map[string]bool{}        // masks
	made := map[*Node]drawnDropout{} // of a Where
	passes := map[*Node]bool{}       // what a Where before it has taken in
	for _, mask := range g.Inputs {
		if mask.DType != Bool || mask.Rank() == 0 || n != 0 && mask.Shape[0] != n || len(readers[mask]) == 0 ||
			slices.ContainsFunc(readers[mask], func(r *Node) bool { return r == nil || !drops(r, mask) || !types.has(r.Outputs[0].DType) }) {
			continue
		}
		d, ok := draw(mask.Node.Name)
		if !ok {
			continue
		}
		n, gone[mask.Node.Name] = mask.Shape[0], true
		for _, r := range readers[mask] {
			x, scale := r.Inputs[1], float32(1)
			if c, ok := factor(x.Node); ok && len(readers[x]) == 1 { // the forward
				x, scale = x.Node.Inputs[0], c
			} else if after := readers[r.Outputs[0]]; len(after) == 1 && after[0] != nil { // the backward
				if c, ok := factor(after[0]); ok {
					passes[after[0]], scale = true, c
				}
			}
			made[r] = drawnDropout{x, []Attr{{"scale", scale}, {"key", int64(d.Key)}, {"keep", int64(d.Keep)}}}
		}
	}
	if n == 0 {
		return g, nil
	}
	var positions *Value
	drawn, err := rebuildWith(g, func(b *Builder, node *Node, twin map[*Value]*Value) []*Value {
		inputs := twins(node, twin)
		d, ok := made[node]
		switch {
		case passes[node]:
			return inputs[:1]
		case !ok:
			return b.copyNode(node, inputs)
		case positions == nil:
			positions = b.Input("positions", Int64, n)
		}
		return b.composite("Dropout", []*Value{twin[d.x], positions}, d.attrs, shapes(node)...)
	})
	if err != nil {
		return nil, err
	}
	drawn.Recomputes = g.Recomputes
	unread := map[*Node]bool{}
	drawn.Inputs = slices.DeleteFunc(drawn.Inputs, func(v *Value) bool {
		unread[v.Node] = gone[v.Node.Name]
		return unread[v.Node]
	})
	drawn.remove(unread)
	return drawn, nil
}

// drawnDropout is what a Where becomes.
type drawnDropout struct {
	x     *Value
	attrs []Attr
}

// drops tells whether a node is Where(mask, x, 0) for an x of the mask's shape.
func drops(n *Node, mask *Value) bool {
	if n.Op != "Where" || n.Inputs[0] != mask || !sameShape(mask.Shape, n.Inputs[1].Shape) {
		return false
	}
	zero, ok := scalar(n.Inputs[2])
	return ok && zero == 0
}

// factor is the constant that a node multiplies its first input by.
func factor(n *Node) (float32, bool) {
	if n.Op != "Mul" {
		return 0, false
	}
	return scalar(n.Inputs[1])
}

// scalar is the content of a constant of a float type and of shape [].
func scalar(v *Value) (float32, bool) {
	x, ok := number(v)
	return float32(x), ok && v.Rank() == 0
}
