package pipeline

import (
	"os"
	"testing"

	"immiscible/models/engine/enginetest"
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
	forEachGolden(t, func(t *testing.T, g golden) {
		s := g.newStepper(t, g.options, false)
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
	})
}
