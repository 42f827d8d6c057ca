package graph

import "slices"

// nativeOps have kernels of our own on the CPU provider (models/engine/native),
// registered with ONNX Runtime as custom operators: it has no operator that
// computes a convolution's weight gradient, normalisation and activation in one
// pass over the image, or an optimizer's update in one pass over memory.
var nativeOps = map[string]bool{
	"Conv": true, "ConvInputGrad": true, "ConvWeightGrad": true,
	"GroupNormalization": true, "GroupNormalizationGrad": true, "QuickGeluGrad": true,
	"Attention": true, "AttentionGrad": true, "AdamW": true,
}

// Native is the pass that keeps the operators with kernels of our own as custom
// operators, lets them take in their neighbours' work, and lowers the rest. The
// result runs on the CPU provider of models/engine only.
func Native(g *Graph) (*Graph, error) {
	fused := findFusions(g)
	g, err := rebuild(g, func(b *Builder, n *Node, inputs []*Value) []*Value {
		if f, ok := fused[n]; ok {
			return f(b, n, inputs)
		}
		ours := n.Outputs[0].DType == Float32 // the kernels' type
		switch {
		case n.Domain == Domain && !(ours && nativeOps[n.Op]):
			return b.lower(n, inputs)
		case !ours:
			return b.copyNode(n, inputs)
		case n.Op == "ConvTranspose":
			attrs := append(convAttrs(n).attrs(n.Inputs[1].Shape), intsAttr("shape", n.Outputs[0].Shape))
			return b.composite("ConvInputGrad", inputs, attrs, shapes(n)...)
		case n.Op == "Attention": // what comes after the statistics is the lowering's
			return b.composite(n.Op, inputs, n.Attrs, shapes(n)[:2]...)
		case n.Op == "AttentionGrad":
			return b.composite(n.Op, inputs[:6], n.Attrs, shapes(n)...)
		case n.Op == "QuickGeluGrad":
			return b.composite(n.Op, inputs[:2], n.Attrs, shapes(n)...)
		case nativeOps[n.Op]:
			return b.composite(n.Op, inputs, n.Attrs, shapes(n)...)
		}
		return b.copyNode(n, inputs)
	})
	if err != nil {
		return nil, err
	}
	fuseAddends(g)
	fuseDropout(g)
	return g, nil
}

// shapes describes a node's outputs for its twin.
func shapes(n *Node) []out {
	outs := make([]out, len(n.Outputs))
	for i, o := range n.Outputs {
		outs[i] = out{o.DType, o.Shape}
	}
	return outs
}

// readers lists the nodes that read each value, once a use; nil stands for a
// graph output. Nodes that no output needs are left out.
func (g *Graph) readers() map[*Value][]*Node {
	live := g.live()
	readers := map[*Value][]*Node{}
	for _, n := range g.Nodes {
		if live[n] {
			for _, in := range n.Inputs {
				if in != nil {
					readers[in] = append(readers[in], n)
				}
			}
		}
	}
	for _, o := range g.Outputs {
		readers[o.Value] = append(readers[o.Value], nil)
	}
	return readers
}

type twinOf func(b *Builder, n *Node, inputs []*Value) []*Value

// findFusions looks for z = GroupNormalization(x), y = SiLU(z) where nothing
// else reads z, and for the same pair's derivatives. Fused, neither z nor its
// gradient is ever stored.
func findFusions(g *Graph) map[*Node]twinOf {
	readers := g.readers()
	silu := Attr{"activation", "silu"}
	fused := map[*Node]twinOf{}
	for _, norm := range g.Nodes {
		if norm.Op != "GroupNormalization" || len(readers[norm.Outputs[0]]) == 0 {
			continue
		}
		var act, actGrad, normGrad *Node
		fits := true
		for _, r := range readers[norm.Outputs[0]] {
			switch {
			case r != nil && r.Op == "QuickGelu" && r.Float("alpha", 0) == 1 && act == nil:
				act = r
			case r != nil && r.Op == "QuickGeluGrad" && r.Inputs[1] == norm.Outputs[0] && actGrad == nil:
				actGrad = r
			default:
				fits = false
			}
		}
		if !fits || act == nil {
			continue
		}
		if actGrad != nil {
			users := readers[actGrad.Outputs[0]]
			if len(users) != 1 || users[0] == nil || users[0].Op != "GroupNormalizationGrad" || users[0].Inputs[1] != norm.Inputs[0] {
				continue
			}
			normGrad = users[0]
		}
		withSiLU := func(b *Builder, n *Node, inputs []*Value) []*Value {
			return b.composite(n.Op, inputs, append(slices.Clone(n.Attrs), silu), shapes(n)...)
		}
		fused[norm] = withSiLU
		// SiLU's twin is the fused node's output, which stands for z.
		fused[act] = func(_ *Builder, _ *Node, inputs []*Value) []*Value { return inputs }
		if actGrad != nil {
			// The activation's gradient passes its dy on; the norm's takes it.
			fused[actGrad] = func(_ *Builder, _ *Node, inputs []*Value) []*Value { return inputs[:1] }
			fused[normGrad] = withSiLU
		}
	}
	return fused
}
