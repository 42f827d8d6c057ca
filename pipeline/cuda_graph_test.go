package pipeline

import (
	"math"
	"math/rand/v2"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/graph/refeval"
)

// forCUDA is a training graph in the operators of a GPU, before and after the pass
// that fuses them.
func forCUDA(t *testing.T, g *graph.Graph, half graph.DType) (typed, native *graph.Graph) {
	t.Helper()
	typed, err := g, error(nil)
	if half != graph.Float32 {
		typed, err = graph.MixedPrecision(g, half, "cuda")
	}
	if err == nil {
		native, err = graph.Native(typed, "cuda")
	}
	if err != nil {
		t.Fatal(err)
	}
	return typed, native
}

// Of whole U-Nets the graph for a GPU computes loss and gradients as the graph that
// it is made of does, in float64: in float32 and in the types of mixed precision,
// with gradient checkpointing and without.
func TestCUDAGraphComputesTheSame(t *testing.T) {
	for _, name := range []string{"attention", "sd2"} {
		t.Run(name, func(t *testing.T) {
			o := openGolden(t, name)
			for _, again := range []bool{false, true} {
				o.options.Batch, o.options.Checkpointing = 1, again
				g, err := TrainingGraph(o.UNet, o.schedule, o.options)
				if err != nil {
					t.Fatal(err)
				}
				values := map[string][]float64{}
				r := rand.New(rand.NewPCG(1, 2))
				for _, v := range g.Inputs {
					for range v.Numel() {
						x := 0.2 * r.NormFloat64()
						if v.DType == graph.Int64 {
							x = 7
						}
						values[v.Node.Name] = append(values[v.Node.Name], x)
					}
				}
				for _, half := range []graph.DType{graph.Float32, graph.Float16} {
					typed, native := forCUDA(t, g, half)
					want, err := refeval.Eval(typed, values)
					if err != nil {
						t.Fatal(err)
					}
					got, err := refeval.Eval(native, values)
					if err != nil {
						t.Fatal(err)
					}
					largest := 0.0
					for _, list := range want {
						for _, x := range list {
							largest = max(largest, math.Abs(x))
						}
					}
					for key, list := range want {
						for i, x := range list {
							// Sums in another order, a hundred layers deep.
							if diff := math.Abs(got[key][i] - x); !(diff <= 1e-9*largest) {
								t.Fatalf("%v, checkpointing %v: %s[%d] is %g, want %g", half, again, key, i, got[key][i], x)
							}
						}
					}
				}
			}
		})
	}
}

// moved adds up what the nodes of a graph read and write.
func moved(g *graph.Graph) (nodes int, bytes int64) {
	for _, c := range g.Roofline(graph.Device{Bandwidth: 1, Half: 1, Single: 1}) {
		nodes, bytes = nodes+c.Nodes, bytes+c.Bytes
	}
	return nodes, bytes
}

// What the operators of a GPU are for, in figures (-v prints them): of the training
// graphs that a GPU is to run they move a few times less memory than the standard
// ones do, and keep no more of it. What the shares are held to is a tenth above
// what they were when this was written.
func TestCUDAGraphMovesLess(t *testing.T) {
	for _, c := range []struct {
		preset       string
		batch        int
		half         graph.DType
		again        bool
		moved, peaks float64 // shares of the standard graph's
	}{
		{"cifar10-ddim", 256, graph.Float32, false, 0.30, 0.74},
		{"cifar10-ddim", 256, graph.Float16, false, 0.22, 0.73},
		{"sd-imagenet-finetune", 32, graph.Float32, false, 0.58, 0.99},
		{"sd-imagenet-finetune", 32, graph.Float16, false, 0.22, 0.62},
		{"sd-imagenet-finetune", 32, graph.Float16, true, 0.25, 0.60},
	} {
		config, err := LoadConfig(c.preset, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		s, o := digestSubject(t, config)
		o.Batch, o.Trained, o.Checkpointing = c.batch, s.trained(config), c.again
		g, err := TrainingGraph(s.unet, s.schedule, o)
		if err != nil {
			t.Fatal(err)
		}
		standard := g
		if c.half != graph.Float32 {
			if standard, err = graph.MixedPrecision(g, c.half, ""); err != nil {
				t.Fatal(err)
			}
		}
		if standard, err = graph.Lower(standard); err != nil {
			t.Fatal(err)
		}
		_, native := forCUDA(t, g, c.half)
		nodes, bytes := moved(standard)
		peak := standard.PeakBytes()
		ours, less := moved(native)
		low := native.PeakBytes()
		t.Logf("%s ×%d, %v, checkpointing %v: %d nodes move %.1f GB, at most %.2f GB alive; standard %d, %.1f GB, %.2f GB",
			c.preset, c.batch, c.half, c.again, ours, float64(less)/1e9, float64(low)/1e9, nodes, float64(bytes)/1e9, float64(peak)/1e9)
		if share := float64(less) / float64(bytes); share > c.moved {
			t.Errorf("%s, %v: moves %.2f of the standard graph's bytes, want at most %.2f", c.preset, c.half, share, c.moved)
		}
		if share := float64(low) / float64(peak); share > c.peaks {
			t.Errorf("%s, %v: %.2f of the standard graph's peak, want at most %.2f", c.preset, c.half, share, c.peaks)
		}
	}
}
