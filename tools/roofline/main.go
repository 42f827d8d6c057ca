// Roofline says where a training step's time would go on an H100, operator by
// operator: an estimate from the graph's shapes, not a measurement.
//
//	go run ./tools/roofline -preset cifar10-ddim -batch 256
//	go run ./tools/roofline -model DIR -resolution 256 -batch 32 -kernels cuda
//
// tools/gpu/torch_roofline.py does the same with PyTorch's operators; DIR may be
// what tools/gpu/sd15.py writes. Every figure assumes what its first lines say.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"immiscible/models/graph"
	"immiscible/pipeline"
)

// h100 is an H100 SXM: 3.35 TB/s of which kernels attain 0.8, 989 TFLOP/s of float16
// and 495 of TF32 of which they attain 0.575.
var h100 = graph.Device{Bandwidth: 0.8 * 3.35e12, Half: 0.575 * 989e12, Single: 0.575 * 495e12, Launch: 4e-6, ChannelsLast: true}

const assumes = `H100 SXM, an estimate: 0.8 of 3.35 TB/s, 0.575 of 989 TFLOP/s in float16 and 495 in TF32, at least 4 µs a node;
every node reads and writes its operands once, one after another; reshapes are free; half convolutions compute in NHWC
and transpose their NCHW images ("layout"); no fusion by ONNX Runtime is counted. kinds: ' is the backward.
`

// part is a session of the step.
type part struct {
	Name    string         `json:"name"`
	Nodes   int            `json:"nodes"`
	Seconds float64        `json:"seconds"`
	Kinds   []graph.OpCost `json:"kinds"`
}

func main() {
	var o pipeline.BenchOptions
	flag.StringVar(&o.Model, "model", "", "diffusers folder")
	flag.StringVar(&o.Preset, "preset", "", "preset, where there is no folder")
	flag.IntVar(&o.Batch, "batch", 0, "images a step")
	flag.IntVar(&o.Resolution, "resolution", 0, "pixels")
	precision := flag.String("precision", "fp16", "no, fp16 or bf16")
	kernels := flag.String("kernels", "", "whose operators of our own: cuda, or none")
	asJSON := flag.Bool("json", false, "one JSON object")
	flag.Parse()
	o.Sets = []string{"train.mixed_precision=" + *precision, "runtime.provider=cuda"}
	parts, err := estimate(o, *kernels)
	if err == nil && *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(parts)
	} else if err == nil {
		show(os.Stdout, parts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "roofline:", err)
		os.Exit(1)
	}
}

func estimate(o pipeline.BenchOptions, kernels string) ([]part, error) {
	g, err := pipeline.OpenStepGraphs(o, kernels)
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, p := range []struct {
		name  string
		graph *graph.Graph
		times int
	}{{"gradients", g.Training, 1}, {"norm", g.GradNorm, g.Chunks}, {"update", g.Update, g.Chunks}} {
		made := part{Name: p.name, Kinds: p.graph.Roofline(h100)}
		for i := range made.Kinds {
			c := &made.Kinds[i]
			c.Nodes, c.Bytes, c.FLOPs, c.Seconds = c.Nodes*p.times, c.Bytes*int64(p.times), c.FLOPs*int64(p.times), c.Seconds*float64(p.times)
			made.Nodes += c.Nodes
			made.Seconds += c.Seconds
		}
		parts = append(parts, made)
	}
	return parts, nil
}

func show(w io.Writer, parts []part) {
	fmt.Fprint(w, assumes)
	for _, p := range parts {
		var bytes, flops int64
		for _, c := range p.Kinds {
			bytes, flops = bytes+c.Bytes, flops+c.FLOPs
		}
		fmt.Fprintf(w, "\n%-40s %6s %10s %10s %9s\n", p.Name, "nodes", "GB", "TFLOP", "ms")
		line := func(kind string, nodes int, bytes, flops int64, seconds float64) {
			fmt.Fprintf(w, "%-40s %6d %10.3f %10.3f %9.3f\n", kind, nodes, float64(bytes)/1e9, float64(flops)/1e12, seconds*1e3)
		}
		for _, c := range p.Kinds {
			line(c.Kind, c.Nodes, c.Bytes, c.FLOPs, c.Seconds)
		}
		line("together", p.Nodes, bytes, flops, p.Seconds)
	}
}
