package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"immiscible/models/graph"
	"immiscible/models/graph/importer"
)

// GraphSummary is what there is to know of an ONNX file before it is trained.
type GraphSummary struct {
	File       string         `json:"file"`
	Opset      int            `json:"opset"`
	IRVersion  int64          `json:"ir_version"`
	Producer   string         `json:"producer"`
	Inputs     []GraphValue   `json:"inputs"`
	Outputs    []GraphValue   `json:"outputs"`
	FileNodes  int            `json:"file_nodes"`   // nodes of the file, functions inlined
	Folded     int            `json:"folded_nodes"` // of these, computed at import
	Nodes      map[string]int `json:"nodes"`        // what is left, by operator
	Patterns   map[string]int `json:"patterns"`     // recognised; counted among nodes as one
	Assumed    map[string]int `json:"assumed"`      // symbolic dimensions that nobody gave a number to
	Tensors    int            `json:"parameter_tensors"`
	Parameters int            `json:"parameters"`            // elements
	FLOPs      int64          `json:"forward_flops"`         // of convolutions and products
	PeakBytes  int64          `json:"forward_peak_bytes"`    // intermediate values of the forward pass
	TrainBytes int64          `json:"training_peak_bytes"`   // of forward and backward, all parameters trained
	Ungraded   []string       `json:"parameters_unreached"`  // parameters without a gradient of the first output
	NoGradient map[string]int `json:"operators_no_gradient"` // operators of floats that pass no gradient on
}

// GraphValue is an input or output.
type GraphValue struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
}

// OpenGraph imports a file for looking at it: its forward graph with patterns
// recognised, and the summary.
func OpenGraph(file string, dims map[string]int) (*graph.Graph, *GraphSummary, error) {
	f, err := importer.Open(file)
	if err != nil {
		return nil, nil, err
	}
	all, assumed := maps.Clone(dims), map[string]int{}
	if all == nil {
		all = map[string]int{}
	}
	for _, d := range f.Symbolic() {
		if _, ok := all[d.Name]; !ok {
			assumed[d.Name] = usualSize(d)
			all[d.Name] = assumed[d.Name]
		}
	}
	im, err := f.Import(importer.Options{Dims: all})
	if err != nil && len(assumed) > 0 {
		return nil, nil, fmt.Errorf("%w (assumed dimensions %v: name others with -dim)", err, assumed)
	}
	if err != nil {
		return nil, nil, err
	}
	forward, patterns, err := graph.Recognize(im.Graph)
	if err != nil {
		return nil, nil, err
	}
	s := &GraphSummary{File: file, Opset: f.Opset(), IRVersion: f.Model.GetIrVersion(), Producer: f.Model.GetProducerName(),
		FileNodes: im.Nodes, Folded: im.Folded, Nodes: map[string]int{}, Patterns: patterns, Assumed: assumed, NoGradient: map[string]int{},
		Inputs: []GraphValue{}, Outputs: []GraphValue{}, Ungraded: []string{}}
	describe := func(name string, v *graph.Value) GraphValue {
		return GraphValue{name, v.DType.String(), append([]int{}, v.Shape...)}
	}
	for _, v := range forward.Inputs {
		if !v.Node.Param {
			s.Inputs = append(s.Inputs, describe(v.Node.Name, v))
			continue
		}
		s.Tensors++
		s.Parameters += v.Numel()
	}
	for _, o := range forward.Outputs {
		s.Outputs = append(s.Outputs, describe(o.Name, o.Value))
	}
	for _, n := range forward.Live() {
		if n.Op == "Input" || n.Op == "Constant" {
			continue
		}
		s.Nodes[n.Op]++
		if n.Outputs[0].DType == graph.Float32 && graph.Stops(n.Op) {
			s.NoGradient[n.Op]++
		}
	}
	unreached := map[string]bool{}
	for _, p := range forward.Unreached(forward.Outputs[0].Value) {
		s.Ungraded = append(s.Ungraded, p.Node.Name)
		unreached[p.Node.Name] = true
	}
	lowered, err := graph.Lower(forward)
	if err != nil {
		return nil, nil, err
	}
	s.FLOPs, s.PeakBytes = lowered.FLOPs(), lowered.PeakBytes()
	if len(unreached) < s.Tensors && forward.Outputs[0].Value.DType == graph.Float32 {
		step, err := plainArtifacts("mse", forward, func(key string) bool { return !unreached[key] })
		if err != nil {
			return nil, nil, err
		}
		if lowered, err = graph.Lower(step.training); err != nil {
			return nil, nil, err
		}
		s.TrainBytes = lowered.PeakBytes()
	}
	return forward, s, nil
}

// usualSize is a number to look at a model with: one image or sentence, of 64
// latents by 64, or CLIP's 77 tokens.
func usualSize(d importer.Dimension) int {
	switch {
	case d.Axis == 0:
		return 1
	case d.Rank == 4 && d.Axis >= 2:
		return 64
	}
	return 77
}

// Operators lists the operators of a summary, the most frequent first.
func (s *GraphSummary) Operators() []string {
	return slices.SortedFunc(maps.Keys(s.Nodes), func(x, y string) int {
		return cmp.Or(cmp.Compare(s.Nodes[y], s.Nodes[x]), cmp.Compare(x, y))
	})
}
