package pipeline

import (
	"math"
	"os"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/pipeline/optim"
)

// The device that enginetest opens, a GPU where tools/gpu/check.sh asks for one,
// agrees with PyTorch on the CPU: loss and each gradient to 1e-3 of its largest,
// ten steps' losses to 1e-3. On a GPU the sessions prove as well that no node is
// left to the CPU.
func TestDeviceAgrees(t *testing.T) {
	if want := os.Getenv(enginetest.ProviderEnv); want != "" && enginetest.Open(t).Provider != want {
		t.Fatalf("the tests run on %s, want %s", enginetest.Open(t).Provider, want)
	}
	forEachGolden(t, func(t *testing.T, g golden) { g.agrees(t, enginetest.Open(t)) })
}

// Ten AdamW steps in float16, with the loss scale that the trainer starts at,
// have PyTorch's float32 losses within 2 %: the bound for a GPU.
func TestMixedPrecisionGolden(t *testing.T) {
	forEachGolden(t, func(t *testing.T, g golden) { g.agreesInHalf(t, enginetest.Open(t)) })
}

// The operators that a GPU has, on stand-ins of NVIDIA's libraries, agree as a GPU
// should: the kernels are those that NVRTC compiles, and cuDNN's graphs are
// computed by what they say.
func TestStandInsAgree(t *testing.T) {
	e := enginetest.OnStandIns(t, false)
	if e.Kernels != "cuda" {
		t.Fatalf("got the operators of %q, want a GPU's", e.Kernels)
	}
	forEachGolden(t, func(t *testing.T, g golden) {
		g.agrees(t, e)
		g.agreesInHalf(t, e)
	})
}

func (g golden) agrees(t *testing.T, e *engine.Engine) {
	t.Helper()
	s := g.newStepperOn(t, e, g.options, false)
	g.feed(t, s, 0, g.options.Batch, 1)
	for i, want := range g.vectors.float32s("losses") {
		loss, perSample, err := s.Gradients(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		norm, err := s.Norm(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "loss", []float32{float32(loss)}, []float32{want}, 1e-3)
		if i == 0 {
			within(t, "loss_per_sample", perSample, g.vectors.float32s("loss_per_sample"), 1e-3)
			for _, p := range s.State.Layout.Params {
				if !p.Trained || trueZero(p.Key) {
					continue
				}
				got, err := p.Read(s.State.gradients())
				if err != nil {
					t.Fatal(err)
				}
				within(t, p.Key+".grad", got, g.vectors.float32s(p.Key+".grad"), 1e-3)
			}
		}
		if err := s.Update(t.Context(), map[string]float64{
			"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 1e-2,
			"bias_correction1": optim.BiasCorrection(0.9, i+1), "bias_correction2": optim.BiasCorrection(0.999, i+1),
			"clip_coef": optim.ClipCoef(norm, 1), "ema_decay": optim.EMADecay(optim.DefaultEMA(), i+1),
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func (g golden) agreesInHalf(t *testing.T, e *engine.Engine) {
	t.Helper()
	training, err := TrainingGraph(g.UNet, g.schedule, g.options)
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := graph.MixedPrecision(training, graph.Float16, e.Kernels)
	if err != nil {
		t.Fatal(err)
	}
	state, err := NewState(e, NewLayout(mixed.Params(), g.UNet.Trained), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(state.Close)
	if err := state.LoadParams(g.Weights, state.Params, nil); err != nil {
		t.Fatal(err)
	}
	s, err := NewStepper(e, mixed, state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	g.feed(t, s, 0, g.options.Batch, 1)
	scaler := optim.NewLossScaler()
	update, overflows := 0, 0
	for _, want := range g.vectors.float32s("losses") {
		for {
			if err := s.Input("loss_scale").SetFloat32([]float32{float32(scaler.Scale)}); err != nil {
				t.Fatal(err)
			}
			loss, _, err := s.Gradients(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			norm, err := s.Norm(t.Context(), scaler.Scale)
			if err != nil {
				t.Fatal(err)
			}
			finite := !math.IsInf(norm, 0) && !math.IsNaN(norm)
			scale := scaler.Scale
			scaler = scaler.Update(finite)
			if !finite {
				if overflows++; overflows > 8 {
					t.Fatalf("gradients overflow at scale %g", scale)
				}
				continue
			}
			update++
			within(t, "loss", []float32{float32(loss)}, []float32{want}, 0.02)
			if err := s.Update(t.Context(), map[string]float64{
				"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 1e-2,
				"bias_correction1": optim.BiasCorrection(0.9, update), "bias_correction2": optim.BiasCorrection(0.999, update),
				"clip_coef": optim.ClipCoef(norm, 1) / scale, "ema_decay": 0,
			}); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
}
