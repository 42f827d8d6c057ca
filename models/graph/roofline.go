package graph

import (
	"cmp"
	"maps"
	"slices"
)

// Device is what Roofline takes a device to attain, in the unit a second.
type Device struct {
	Bandwidth    float64 // bytes of memory
	Half, Single float64 // FLOP of products of half types, and of float32
	Launch       float64 // seconds that the smallest kernel takes
	// ChannelsLast says that half convolutions compute in NHWC, so that each image
	// that one reads or writes is read and written once more: values here are NCHW.
	ChannelsLast bool
}

// OpCost is what the nodes of one kind would take.
type OpCost struct {
	Kind    string  `json:"kind"` // operator, "'" where it is the backward's, type of its first result
	Nodes   int     `json:"nodes"`
	Bytes   int64   `json:"bytes"` // read and written
	FLOPs   int64   `json:"flops"`
	Seconds float64 `json:"seconds"`
}

// Roofline estimates where a lowered graph's time would go, the most expensive
// kind of node first: each node is one kernel that reads its inputs and writes its
// outputs once, and takes the longest of its bytes, its products and a launch
// (Williams et al. 2009, doi 10.1145/1498765.1498785). Reshapes are free. It is an
// estimate: no cache, no overlap, and none of the fusions that a runtime makes.
func (g *Graph) Roofline(d Device) []OpCost {
	bound := map[*Value]bool{}
	for _, o := range g.Outputs {
		bound[o.Value] = true
	}
	kinds := map[string]*OpCost{}
	add := func(kind string, bytes, flops int64, rate float64) {
		c := kinds[kind]
		if c == nil {
			c = &OpCost{Kind: kind}
			kinds[kind] = c
		}
		c.Nodes++
		c.Bytes += bytes
		c.FLOPs += flops
		c.Seconds += max(d.Launch, float64(bytes)/d.Bandwidth, float64(flops)/rate)
	}
	live := g.live()
	for _, n := range g.Nodes {
		view := (n.Op == "Reshape" || n.Op == "Identity") && !bound[n.Outputs[0]]
		if !live[n] || view || n.Op == "Input" || n.Op == "Constant" {
			continue
		}
		kind := n.Op
		if n.Backward {
			kind += "'"
		}
		kind += " " + n.Outputs[0].DType.String()
		rate := d.Half
		if n.Inputs[0].DType == Float32 {
			rate = d.Single
		}
		add(kind, n.traffic(), n.flops(), rate)
		if d.ChannelsLast && n.Inputs[0].DType != Float32 {
			for _, image := range n.images() {
				add("layout "+kind, 2*image.Bytes(), 0, rate)
			}
		}
	}
	list := make([]OpCost, 0, len(kinds))
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		list = append(list, *kinds[kind])
	}
	slices.SortStableFunc(list, func(a, b OpCost) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return list
}

// traffic is the number of bytes that a node reads and writes: of what it picks
// elements from, only those.
func (n *Node) traffic() (bytes int64) {
	seen := map[*Value]bool{}
	for i, in := range n.Inputs {
		if in != nil && !seen[in] {
			seen[in] = true
			if i == 0 && (n.Op == "Slice" || n.Op == "Gather") {
				in = n.Outputs[0]
			}
			bytes += in.Bytes()
		}
	}
	for _, v := range n.Outputs {
		bytes += v.Bytes()
	}
	return bytes
}

// images are the images that a convolution reads and writes.
func (n *Node) images() []*Value {
	switch n.Op {
	case "Conv", "ConvTranspose", "ConvInputGrad":
		return []*Value{n.Inputs[0], n.Outputs[0]}
	case "ConvWeightGrad":
		return n.Inputs[:2]
	}
	return nil
}
