package pipeline

import (
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/pipeline/checkpoint"
)

// Gradient checkpointing in float16 computes the same: not to the bit on the CPU,
// where ONNX Runtime computes in float32 and drops a rounding to float16 that
// it finds between two of its own casts; to a few roundings (2⁻¹¹) of them.
func TestMixedPrecisionCheckpointing(t *testing.T) {
	g := openGolden(t, "attention")
	var want map[string][]float32
	for _, again := range []bool{false, true} {
		o := g.options
		o.Checkpointing = again
		training, err := TrainingGraph(g.UNet, g.schedule, o)
		if err != nil {
			t.Fatal(err)
		}
		mixed, err := graph.MixedPrecision(training, graph.Float16, enginetest.Open(t).Kernels)
		if err != nil {
			t.Fatal(err)
		}
		state, err := NewState(enginetest.Open(t), NewLayout(mixed.Params(), g.UNet.Trained), false)
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		if err := state.LoadParams(g.Weights, state.Params, nil); err != nil {
			t.Fatal(err)
		}
		s, err := NewStepper(enginetest.Open(t), mixed, state)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		g.feed(t, s, 0, g.options.Batch, 1)
		if _, _, err := s.Gradients(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		got := map[string][]float32{}
		for _, p := range state.Layout.Params {
			if got[p.Key], err = p.Read(state.Grads); err != nil {
				t.Fatal(err)
			}
		}
		for key := range want {
			if !trueZero(key) {
				within(t, key+".grad", got[key], want[key], 16*0x1p-11)
			}
		}
		want = got
	}
}

// A run in fp16 that is cut in pieces ends in the bits of one that is not, loss
// scale and its count included.
func TestMixedPrecisionResume(t *testing.T) {
	sets := tinySets(plainSource(t), "train.mixed_precision=fp16", "sample.every_steps=0", "train.micro_batch=4", "log.tensorboard=false")
	want := train(t, "", append(sets, "train.max_steps=6"))
	out := filepath.Join(t.TempDir(), "run")
	for _, max := range []string{"1", "4", "6"} {
		train(t, out, append(sets, "train.max_steps="+max))
	}
	state, err := checkpoint.Read(filepath.Join(want, "checkpoint-6"))
	if err != nil {
		t.Fatal(err)
	}
	if state.LossScale <= 0 || state.LossScale > 65536 {
		t.Errorf("the loss scale is %g", state.LossScale)
	}
	again, err := checkpoint.Read(filepath.Join(out, "checkpoint-6"))
	if err != nil || again.LossScale != state.LossScale || again.LossGrowth != state.LossGrowth {
		t.Errorf("the scale is %g after %d steps, want %g after %d (%v)", again.LossScale, again.LossGrowth, state.LossScale, state.LossGrowth, err)
	}
	for _, part := range []string{"unet", "unet_ema"} {
		got, whole := weights(t, filepath.Join(out, "checkpoint-6", part)), weights(t, filepath.Join(want, "checkpoint-6", part))
		for key := range whole {
			if got[key] != whole[key] {
				t.Fatalf("%s: %s differs", part, key)
			}
		}
	}
	for i, r := range readLog(t, out) {
		if r.LossScale <= 0 || (r.Skipped != "") != (i+1 < len(readLog(t, out)) && readLog(t, out)[i+1].LossScale < r.LossScale) {
			t.Errorf("step %d: loss scale %g, skipped %q", r.Step, r.LossScale, r.Skipped)
		}
	}
}

// Weights that are not finite overflow at any scale: the steps that halve it
// from 65536 to ½ are not counted, those after it are, and end the run.
func TestOverflowBecomesABadStep(t *testing.T) {
	sets := tinySets(plainSource(t), "train.mixed_precision=fp16", "train.max_steps=40", "train.max_bad_steps=3", "sample.every_steps=0", "checkpoint.every_steps=0", "log.tensorboard=false", "noise.pairing=independent", "noise.per_class=false",
		"lr.learning_rate=1e30", "train.max_grad_norm=0")
	out := filepath.Join(t.TempDir(), "run")
	err := tryTrain(t.Context(), t, out, sets)
	if err == nil || !strings.Contains(err.Error(), "3 steps in a row had a gradient that is not finite") {
		t.Fatalf("got %v", err)
	}
	overflows, bad := 0, 0
	for _, r := range readLog(t, out) {
		switch {
		case strings.Contains(r.Skipped, "overflows float16 at loss scale"):
			overflows++
		case r.Skipped != "":
			bad++
		}
	}
	if overflows != 17 || bad != 3 {
		t.Errorf("%d steps overflowed and %d were bad, want 17 and 3", overflows, bad)
	}
}

func TestMixedPrecisionRefused(t *testing.T) {
	_, err := LoadConfig("", "", []string{"train.mixed_precision=bf16", "runtime.provider=cpu"})
	if err == nil || !strings.Contains(err.Error(), "no bfloat16 arithmetic") {
		t.Errorf("by its settings: %v", err)
	}
	c := Default()
	c.Train.MixedPrecision = "bf16"
	if _, err := c.mixed(nil, "cpu", "cpu"); err == nil || !strings.Contains(err.Error(), "would be on the CPU") {
		t.Errorf("by the engine: %v", err)
	}
	if _, err := LoadConfig("", "", []string{"train.mixed_precision=half"}); err == nil || !strings.Contains(err.Error(), `"fp16"`) {
		t.Errorf("another word: %v", err)
	}
	for set, want := range map[string]string{
		"runtime.cuda.use_tf23=true":                    "did you mean use_tf32?",
		"runtime.cuda=3":                                "want a table [runtime.cuda]",
		"runtime.cuda.cudnn_conv_algo_search=heuristic": `want one of "EXHAUSTIVE", "HEURISTIC", "DEFAULT"`,
		"runtime.cuda.gpu_mem_limit=-1":                 "want an integer from 0 up",
	} {
		if _, err := LoadConfig("", "", []string{set}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", set, err, want)
		}
	}
}
