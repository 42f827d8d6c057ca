package pipeline

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"immiscible/datasets/rng"
	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// openEngine is an engine on the CPU for as long as the test runs.
func openEngine(t *testing.T, operators string) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Provider: "cpu", Operators: operators})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// What a training graph draws is, to the bit, what the feeder would have: the words
// of rng's stream of (seed, "dropout/" + mask, position), for rows of any length and
// positions that 32 bits do not hold.
func TestDrawnMasksAreRNGs(t *testing.T) {
	const seed, dropout = 11, 0.3
	for kernels, e := range map[string]*engine.Engine{"cpu": openEngine(t, "native"), "cuda": enginetest.OnStandIns(t, false)} {
		for _, shape := range [][]int{{3}, {2, 4}, {3, 5, 7}, {2, 3, 33, 31}} {
			name := fmt.Sprint("layer", len(shape), ".mask")
			g, err := graph.Build("masks", func(b *graph.Builder) {
				b.Output("y", b.Where(b.Input(name, graph.Bool, shape...), b.Input("x", graph.Float32, shape...), b.Scalar(0)))
			})
			if err == nil {
				g, err = drawMasks(g, kernels, seed, dropout)
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := g.NativeModel(kernels)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := onnx.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			inputs := map[string]*engine.Tensor{}
			for _, v := range g.Inputs {
				if inputs[v.Node.Name], err = newTensor(e, v); err != nil {
					t.Fatal(err)
				}
				defer inputs[v.Node.Name].Close()
			}
			if got := slices.Sorted(maps.Keys(inputs)); !slices.Equal(got, []string{"positions", "x"}) {
				t.Fatalf("inputs %q", got)
			}
			ones := slices.Repeat([]float32{1}, inputs["x"].Len())
			if err := inputs["x"].SetFloat32(ones); err != nil {
				t.Fatal(err)
			}
			for _, first := range []int64{0, 1<<32 - 1, 1 << 40} {
				n := shape[0]
				positions := make([]int64, n)
				var want []float32
				for i := range positions {
					positions[i] = first + int64(i)
					r := rng.New(seed, "dropout/"+name, uint64(positions[i]))
					for range len(ones) / n {
						x := float32(0)
						if float64(r.Uint32()) < 0.7*(1<<32) {
							x = 1
						}
						want = append(want, x)
					}
				}
				if err := inputs["positions"].SetInt64(positions); err != nil {
					t.Fatal(err)
				}
				results, err := engine.RunOnce(e, raw, inputs)
				if err != nil {
					t.Fatal(err)
				}
				if got := results["y"].GetFloat32(); !slices.Equal(got, want) {
					t.Errorf("%s, %v from position %d on: %v, want %v", kernels, shape, first, got, want)
				}
				results["y"].Close()
			}
		}
	}
}

// A run whose graph draws its masks has the losses of one that is fed them, on the
// CPU and with a GPU's operators, kept or computed again, forward and backward: 1e-5
// is the design's bound for agreement, and another mask moves a loss by a hundredth.
func TestDrawnMasksChangeNoRun(t *testing.T) {
	sets := tinySets(plainSource(t), "model.unet.dropout=0.3", "train.max_steps=4")
	losses := func(e *engine.Engine, more ...string) (list []float64) {
		t.Helper()
		c, err := LoadConfig("", "", append(slices.Clone(sets), more...))
		if err != nil {
			t.Fatal(err)
		}
		s, err := openSubject(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		tr, err := newTrainer(e, c, s, false)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.close()
		if err := tr.begin(runStart{}); err != nil {
			t.Fatal(err)
		}
		drawn := tr.step.Input("positions") != nil
		for name := range tr.step.inputs {
			drawn = drawn && !isMask(name)
		}
		if drawn != (e.Kernels != "") {
			t.Fatalf("with the operators %q, masks are drawn: %v", e.Kernels, drawn)
		}
		for i := range 4 {
			p := pairingPool(int64(8*i), 8, 64)
			p.labels = make([]int64, 8)
			for half := range 2 {
				if err := tr.step.SetLossScale(1); err != nil {
					t.Fatal(err)
				}
				if err := tr.feed.fill(t.Context(), tr.step, p, 4*half, 4, 0.5); err != nil {
					t.Fatal(err)
				}
				if err := tr.step.feed.Deliver(); err != nil {
					t.Fatal(err)
				}
				loss, _, err := tr.step.Gradients(t.Context(), half == 0)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, loss)
			}
			norm, err := tr.step.Norm(t.Context(), 1)
			if err == nil {
				list = append(list, norm)
				err = tr.step.Update(t.Context(), tr.scalars(1e-3, norm, i+1))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return list
	}
	want := losses(openEngine(t, "standard"))
	for name, got := range map[string][]float64{
		"cpu":                       losses(openEngine(t, "native")),
		"cpu, computed again":       losses(openEngine(t, "native"), "train.gradient_checkpointing=true"),
		"stand-ins":                 losses(enginetest.OnStandIns(t, false)),
		"stand-ins, computed again": losses(enginetest.OnStandIns(t, false), "train.gradient_checkpointing=true"),
	} {
		for i := range want {
			if d := math.Abs(got[i]-want[i]) / want[i]; !(d <= 1e-5) {
				t.Errorf("%s: loss or norm %d is %v, want %v (differs by %.1e)", name, i, got[i], want[i], d)
			}
		}
	}
}

// In half precision a GPU's operators draw their masks, the CPU's do not: it has none
// for halves.
func TestMasksInHalf(t *testing.T) {
	for kernels, halves := range map[string][]string{"cuda": {"fp16", "bf16"}, "cpu": {"fp16"}, "": {"fp16", "bf16"}} {
		want := kernels == "cuda"
		for _, half := range halves {
			c, err := LoadConfig("cifar10-ddim", "", []string{"train.micro_batch=2", "train.mixed_precision=" + half})
			if err != nil {
				t.Fatal(err)
			}
			s, o := digestSubject(t, c)
			g, err := TrainingGraph(s.unet, s.schedule, o)
			if err == nil {
				g, err = c.mixed(g, "cuda", kernels)
			}
			if err == nil {
				g, err = drawMasks(g, kernels, c.Train.Seed, s.unet.DropoutRate())
			}
			if err != nil {
				t.Fatal(err)
			}
			masks, positions := 0, 0
			for _, v := range g.Inputs {
				masks += boolInt(isMask(v.Node.Name))
				positions += boolInt(v.Node.Name == "positions")
			}
			if (masks == 0) != want || (positions == 1) != want || !g.Recomputes {
				t.Errorf("operators %q, %s: %d masks are inputs, want all drawn: %v", kernels, half, masks, want)
			}
		}
	}
}

// With dropout, too, a step sends its inputs and no mask.
func TestTrafficOfDropout(t *testing.T) {
	c, err := LoadConfig("", "", tinySets(plainSource(t), "model.unet.dropout=0.1"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSubject(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	e := openEngine(t, "native")
	tr, err := newTrainer(e, c, s, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	p := pairingPool(0, 8, 64)
	p.labels = make([]int64, 8)
	before := e.Traffic()
	if err := tr.feed.fill(t.Context(), tr.step, p, 0, 4, 1); err != nil {
		t.Fatal(err)
	}
	if err := tr.step.feed.Deliver(); err != nil {
		t.Fatal(err)
	}
	// sample and noise [4, 1, 8, 8]; timesteps, class_labels, positions and
	// loss_weights [4]: each from a multiple of 256 bytes on.
	want := engine.Traffic{Uploads: 1, UploadBytes: 2*4*64*4 + 4*256}
	if got := e.Traffic().Sub(before); got != want {
		t.Errorf("the inputs of a step: %+v, want %+v", got, want)
	}
}
