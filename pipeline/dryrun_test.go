package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
)

// The parts add up, and each setting that is said to need less does.
func TestPlan(t *testing.T) {
	plan := func(sets ...string) *Plan {
		t.Helper()
		c, err := LoadConfig("", "", sets)
		if err != nil {
			t.Fatal(err)
		}
		p, err := DryRun(c)
		if err != nil {
			t.Fatal(err)
		}
		m := p.Memory
		if m.Total != p.StateBytes+m.Inputs+m.Activations+m.Workspace+m.Sampling || p.StateBytes != m.Parameters+m.Gradients+m.Moments+m.EMA || len(p.Largest) != 5 {
			t.Errorf("%v: %+v, largest %q", sets, m, p.Largest)
		}
		return p
	}
	// On a GPU: what the CPU's own kernels keep is less already.
	base := plan("runtime.provider=cuda")
	for _, sets := range [][]string{{"train.mixed_precision=fp16"}, {"train.mixed_precision=bf16"}, {"train.micro_batch=16"}, {"train.gradient_checkpointing=true"}} {
		if less := plan(append(sets, "runtime.provider=cuda")...); less.ActivationBytes >= base.ActivationBytes {
			t.Errorf("%v: activations take %d bytes, without it %d", sets, less.ActivationBytes, base.ActivationBytes)
		}
	}
	text := base.String()
	for _, want := range []string{"parameters  ", "training state  ", "moments ", "activations  ", "sample grid  ", "workspace  ", "memory  ", "largest  "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// The values at the peak add up to it.
func TestPlanPeak(t *testing.T) {
	g := openGolden(t, "attention")
	training, err := TrainingGraph(g.UNet, g.schedule, g.options)
	if err != nil {
		t.Fatal(err)
	}
	lowered, err := graph.Lower(training)
	if err != nil {
		t.Fatal(err)
	}
	peak, alive := lowered.Peak()
	total := int64(0)
	for i, v := range alive {
		if total += v.Bytes(); i > 0 && v.Bytes() > alive[i-1].Bytes() {
			t.Fatalf("%v is larger than the one before it", v)
		}
	}
	if peak == 0 || total != peak {
		t.Errorf("%d bytes are alive at the peak of %d", total, peak)
	}
}

func TestOutOfMemoryIsExplained(t *testing.T) {
	c, err := LoadConfig("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	full := fmt.Errorf("engine: session %q: run: %w", "training", &engine.OutOfMemoryError{Bytes: 3 << 20, Node: "/up/conv1/Conv (Conv)", Text: "Failed to allocate memory"})
	err = explainMemory(c, full)
	for _, want := range []string{"out of memory for 3.0 MiB in /up/conv1/Conv (Conv)", "estimated at", "training state", "largest: ", `train.mixed_precision = "fp16"`,
		fmt.Sprintf("train.micro_batch = %d", c.Train.MicroBatch/2), "train.gradient_checkpointing = true", "Failed to allocate memory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if !errors.Is(err, full) || strings.Contains(err.Error(), "\n") {
		t.Errorf("it is not the error in one line: %v", err)
	}
	if other := errors.New("another"); explainMemory(c, other) != other || explainMemory(c, nil) != nil {
		t.Error("another error has changed")
	}
	// The CPU's own: an arena of 2⁶⁰ bytes.
	_, err = enginetest.Open(t).NewArena(1 << 60)
	if err = explainMemory(c, err); !strings.Contains(err.Error(), "estimated at") {
		t.Errorf("an arena that cannot be: %v", err)
	}
}

// What a step copies between host and device is its inputs, the losses, and the
// sums of squares, one a chunk: counted where a GPU's bus would be.
func TestTrafficOfAStep(t *testing.T) {
	g := openGolden(t, "classes")
	s := g.newStepper(t, g.options, false)
	e := enginetest.Open(t)
	before := e.Traffic()
	g.feed(t, s, 0, g.options.Batch, 1)
	inputs := int64(0)
	for _, x := range s.inputs {
		inputs += x.Bytes()
	}
	if got, want := e.Traffic().Sub(before), (engine.Traffic{Uploads: int64(len(s.inputs)), UploadBytes: inputs}); got != want {
		t.Errorf("the inputs: %+v, want %+v", got, want)
	}
	before = e.Traffic()
	if _, _, err := s.Gradients(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	n := int64(g.options.Batch)
	if got, want := e.Traffic().Sub(before), (engine.Traffic{Downloads: 2, DownloadBytes: 4 + 4*n}); got != want {
		t.Errorf("the gradients: %+v, want %+v", got, want)
	}
	before = e.Traffic()
	if _, err := s.Norm(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	chunks := int64(s.State.Layout.Trained / s.State.Layout.Chunk)
	if got, want := e.Traffic().Sub(before), (engine.Traffic{Downloads: 1, DownloadBytes: 4 * chunks}); got != want {
		t.Errorf("the norm: %+v, want %+v", got, want)
	}
	before = e.Traffic()
	scalars := map[string]float64{}
	for name := range s.scalars {
		scalars[name] = 0.5
	}
	if err := s.Update(t.Context(), scalars); err != nil {
		t.Fatal(err)
	}
	if got, want := e.Traffic().Sub(before), (engine.Traffic{Uploads: 9, UploadBytes: 36}); got != want {
		t.Errorf("the update: %+v, want %+v", got, want)
	}
}
