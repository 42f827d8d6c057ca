package graph

import "slices"

// types are element types that a kernel takes.
type types int

const (
	single types = 1 << iota // float32
	halves                   // float16 and bfloat16
)

func (t types) has(d DType) bool {
	return d == Float32 && t&single != 0 || (d == Float16 || d == BFloat16) && t&halves != 0
}

// kernel says of which nodes of an operator there is a kernel of our own: those
// whose input 0 is of these types, and that fit.
type kernel struct {
	types types
	fits  func(n *Node) bool // nil: all do
}

// kernels are, by provider, the operators that have kernels of our own
// (models/engine/native), registered with ONNX Runtime as custom operators: it
// has no operator that computes a convolution's weight gradient, normalisation
// and activation in one pass over the image, or an optimizer's update in one
// pass over memory. On a GPU the forward convolution is ONNX Runtime's, which is
// cuDNN's too. Dropout and Elementwise are made by passes, see DrawMasks and
// fuseElementwise; GeluGrad becomes a part of the latter.
var kernels = map[string]map[string]kernel{
	"cpu": {
		"Conv": {types: single}, "ConvInputGrad": {types: single}, "ConvWeightGrad": {types: single},
		"GroupNormalization": {types: single}, "GroupNormalizationGrad": {types: single}, "QuickGeluGrad": {types: single},
		"Attention": {types: single}, "AttentionGrad": {types: single}, "AdamW": {types: single}, "Dropout": {types: single},
	},
	"cuda": {
		"ConvInputGrad": {single | halves, notPointwise}, "ConvWeightGrad": {types: single | halves}, "ConvBiasGrad": {types: single | halves},
		"GroupNormalization": {types: single | halves}, "GroupNormalizationGrad": {types: single | halves},
		"LayerNormalizationGrad": {types: single | halves},
		"Attention":              {halves, attentionFits}, "AttentionGrad": {halves, attentionFits}, "AdamW": {types: single},
		"QuickGeluGrad": {types: single | halves}, "GeluGrad": {types: single | halves}, "Dropout": {types: single | halves}, "Elementwise": {types: single | halves},
	},
}

// addends say where a kernel takes an addend: a value that is added to its first
// output on its way out.
var addends = map[string]map[string]int{
	"cpu":  {"Conv": 3, "ConvInputGrad": 2, "GroupNormalizationGrad": 6},
	"cuda": {"GroupNormalizationGrad": 6},
}

// has tells whether a provider has a kernel for a node whose input 0 is of a type.
func has(provider string, n *Node, dtype DType) bool {
	k, ok := kernels[provider][n.Op]
	return ok && k.types.has(dtype) && (k.fits == nil || k.fits(n))
}

// attentionFits tells whether cuDNN's attention takes a node: heads of at most 128
// columns, in eights. Wider ones have a backward on compute capability 9 only
// (tools/gpu/plans.txt), and stand where there are few tokens.
// https://docs.nvidia.com/deeplearning/cudnn/frontend/latest/operations/Attention.html
func attentionFits(n *Node) bool {
	k := n.Inputs[1] // of Attention and of AttentionGrad alike as wide as q
	d := k.Dim(1) / n.Int("num_heads", 1)
	return d%8 == 0 && d <= 128
}

// notPointwise leaves out kernels of one tap, whose gradient is a product of
// matrices as they lie: cuDNN copies an image to channels-last order and back.
func notPointwise(n *Node) bool {
	size := n.IntList("kernel_shape")
	return size[0]*size[1] > 1 || convAttrs(n) != ConvAttrs{Stride: 1}
}

// Native is the pass that keeps the operators with kernels of our own for a
// provider, "cpu" or "cuda", as custom operators, lets them take in their
// neighbours' work, and lowers the rest. Another provider has none: the result is
// Lower's. It runs on that provider of models/engine only.
func Native(g *Graph, provider string) (*Graph, error) {
	fused := findFusions(g, provider)
	g, err := rebuild(g, func(b *Builder, n *Node, inputs []*Value) []*Value {
		if f, ok := fused[n]; ok {
			return f(b, n, inputs)
		}
		ours := len(inputs) > 0 && has(provider, n, inputs[0].DType)
		switch {
		case n.Op == "ConvTranspose" && n.Int("group", 1) == 1 && n.IntList("dilations") == nil:
			attrs := append(convAttrs(n).attrs(n.Inputs[1].Shape), intsAttr("shape", n.Outputs[0].Shape))
			twin := &Node{Op: "ConvInputGrad", Inputs: n.Inputs, Attrs: attrs}
			if has(provider, twin, inputs[0].DType) {
				return b.composite(twin.Op, inputs, attrs, shapes(n)...)
			}
		case n.Domain == Domain && !ours:
			return b.lower(n, inputs)
		case !ours:
		case n.Op == "Attention": // what comes after the statistics is the lowering's
			return b.composite(n.Op, inputs, n.Attrs, shapes(n)[:2]...)
		case n.Op == "AttentionGrad":
			return b.composite(n.Op, inputs[:6], n.Attrs, shapes(n)...)
		case n.Op == "QuickGeluGrad":
			return b.composite(n.Op, inputs[:2], n.Attrs, shapes(n)...)
		default:
			return b.composite(n.Op, inputs, n.Attrs, shapes(n)...)
		}
		return b.copyNode(n, inputs)
	})
	if err != nil {
		return nil, err
	}
	fuseAddends(g, addends[provider])
	if _, ok := kernels[provider]["Elementwise"]; ok {
		linearLayers(g)
		fuseElementwise(g)
		return rebuild(g, (*Builder).copyNode) // without the casts that nobody reads
	}
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
func findFusions(g *Graph, provider string) map[*Node]twinOf {
	readers := g.readers()
	silu := Attr{"activation", "silu"}
	fused := map[*Node]twinOf{}
	for _, norm := range g.Nodes {
		if norm.Op != "GroupNormalization" || len(readers[norm.Outputs[0]]) == 0 || !has(provider, norm, norm.Inputs[0].DType) {
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
