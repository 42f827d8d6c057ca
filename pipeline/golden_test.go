package pipeline

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/pipeline/optim"
	"immiscible/pipeline/sampler"
)

// newStepper builds the training session of g with g's weights.
func (g golden) newStepper(t *testing.T, o GraphOptions, accumulate bool) *Stepper {
	return g.newStepperOn(t, enginetest.Open(t), o, accumulate)
}

func (g golden) newStepperOn(t *testing.T, e *engine.Engine, o GraphOptions, accumulate bool) *Stepper {
	training, err := TrainingGraph(g.UNet, g.schedule, o)
	if err != nil {
		t.Fatal(err)
	}
	state, err := NewState(e, NewLayout(training.Params(), func(key string) bool {
		return g.UNet.Trained(key) && (o.Trained == nil || o.Trained(key))
	}), accumulate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(state.Close)
	if err := state.LoadParams(g.Weights, state.Params, nil); err != nil {
		t.Fatal(err)
	}
	if err := state.copyEMA(); err != nil {
		t.Fatal(err)
	}
	s, err := NewStepper(e, training, state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// feed fills the inputs with examples from … from+n of the vectors.
func (g golden) feed(t *testing.T, s *Stepper, from, n int, share float32) {
	for _, name := range []string{"sample", "noise", "timesteps", "class_labels", "encoder_hidden_states", "loss_weights"} {
		input := s.Input(name)
		if input == nil {
			continue
		}
		var err error
		if g.vectors.lookup(name).DType == "I64" {
			err = input.SetInt64(g.vectors.int64s(name)[from : from+n])
		} else {
			values := g.vectors.float32s(name)
			each := len(values) / g.options.Batch
			if name == "loss_weights" {
				for i := range values {
					values[i] *= share
				}
			}
			err = input.SetFloat32(values[from*each : (from+n)*each])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Input("loss_scale").SetFloat32([]float32{1}); err != nil {
		t.Fatal(err)
	}
}

// trueZero tells the parameters whose true gradient is zero: softmax does not
// see what is added to all of a query's scores. Float noise is their gradient,
// and AdamW, which divides it by its own size, may take them anywhere.
func trueZero(key string) bool { return strings.HasSuffix(key, ".to_k.bias") }

func compareGradients(t *testing.T, g golden, s *Stepper) {
	t.Helper()
	largest := float32(0)
	for _, p := range s.State.Layout.Params {
		if p.Trained {
			for _, x := range g.vectors.float32s(p.Key + ".grad") {
				largest = max(largest, x, -x)
			}
		}
	}
	for _, p := range s.State.Layout.Params {
		if !p.Trained {
			continue
		}
		got, err := p.Read(s.State.gradients())
		if err != nil {
			t.Fatal(err)
		}
		if !trueZero(p.Key) {
			within(t, p.Key+".grad", got, g.vectors.float32s(p.Key+".grad"), 1e-4)
			continue
		}
		for _, x := range got {
			if !(max(x, -x) <= 1e-6*largest) {
				t.Errorf("%s.grad: %g, want at most %g: its true value is 0", p.Key, x, 1e-6*largest)
			}
		}
	}
}

// tenSteps follows the vectors' ten AdamW steps; prefix names their figures.
func tenSteps(t *testing.T, g golden, s *Stepper, prefix string) {
	t.Helper()
	losses, norms := g.vectors.float32s(prefix+"losses"), g.vectors.float32s(prefix+"grad_norms")
	for i := range losses {
		loss, _, err := s.Gradients(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		norm, err := s.Norm(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "loss", []float32{float32(loss)}, losses[i:i+1], 1e-4)
		within(t, "gradient norm", []float32{float32(norm)}, norms[i:i+1], 1e-4)
		update := i + 1
		if err := s.Update(t.Context(), map[string]float64{
			"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 1e-2,
			"bias_correction1": optim.BiasCorrection(0.9, update), "bias_correction2": optim.BiasCorrection(0.999, update),
			"clip_coef": optim.ClipCoef(norm, 1), "ema_decay": optim.EMADecay(optim.DefaultEMA(), update),
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGoldenTraining(t *testing.T) {
	forEachGolden(t, func(t *testing.T, g golden) {
		s := g.newStepper(t, g.options, false)
		g.feed(t, s, 0, g.options.Batch, 1)
		loss, perSample, err := s.Gradients(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "loss", []float32{float32(loss)}, g.vectors.float32s("loss"), 1e-4)
		within(t, "loss_per_sample", perSample, g.vectors.float32s("loss_per_sample"), 1e-4)
		compareGradients(t, g, s)

		tenSteps(t, g, s, "")
		for _, p := range s.State.Layout.Params {
			if !p.Trained {
				continue
			}
			weights, err := p.Read(s.State.Params)
			if err != nil {
				t.Fatal(err)
			}
			average, err := p.Read(s.State.EMA)
			if err != nil {
				t.Fatal(err)
			}
			compareWeights(t, p.Key, p.Key, weights, g.vectors.float32s("final."+p.Key))
			compareWeights(t, "EMA of "+p.Key, p.Key, average, g.vectors.float32s("ema."+p.Key))
		}
	})
}

// compareWeights holds weights after ten steps to 1e-5 of the tensor's largest.
// Those whose true gradient is zero are held to what ten steps of lr 1e-3 can do
// either way. AdamW divides a gradient by its own size, so the models' seeds are
// such that no other element's gradient is as small as its rounding error (see
// tools/golden/unet.py).
func compareWeights(t *testing.T, what, key string, got, ref []float32) {
	t.Helper()
	if !trueZero(key) {
		within(t, what, got, ref, 1e-5)
		return
	}
	for i, x := range ref {
		if d := max(got[i]-x, x-got[i]); !(d <= 2*10*1e-3) {
			t.Errorf("%s[%d] = %g, want %g: ten steps of 1e-3 cannot part them so far", what, i, got[i], x)
			return
		}
	}
}

// Micro-batches of one, summed, are the batch.
func TestGoldenAccumulation(t *testing.T) {
	g := openGolden(t, "classes")
	one := g.options
	one.Batch = 1
	s := g.newStepper(t, one, true)
	total := 0.0
	for i := range g.options.Batch {
		g.feed(t, s, i, 1, 1/float32(g.options.Batch))
		loss, _, err := s.Gradients(t.Context(), i == 0)
		if err != nil {
			t.Fatal(err)
		}
		total += loss
	}
	within(t, "loss", []float32{float32(total)}, g.vectors.float32s("loss"), 1e-4)
	compareGradients(t, g, s)
}

// With nothing but attention trained, the other parameters keep their bits.
func TestGoldenFrozen(t *testing.T) {
	g := openGolden(t, "attention")
	o := g.options
	o.Trained = func(key string) bool { return strings.Contains(key, "attentions") }
	s := g.newStepper(t, o, false)
	g.feed(t, s, 0, o.Batch, 1)
	if _, _, err := s.Gradients(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	compareGradients(t, g, s)
	tenSteps(t, g, s, "frozen_")
	trained := 0
	for _, p := range s.State.Layout.Params {
		entry, _ := g.Weights.Lookup(p.Key)
		before := make([]float32, p.Numel())
		if err := g.Weights.Float32(entry, before); err != nil {
			t.Fatal(err)
		}
		after, err := p.Read(s.State.Params)
		if err != nil {
			t.Fatal(err)
		}
		if p.Trained {
			trained++
		}
		if p.Trained != o.Trained(p.Key) || slices.Equal(before, after) == p.Trained {
			t.Errorf("%s: trained %v, weights as they were: %v", p.Key, p.Trained, slices.Equal(before, after))
		}
	}
	if trained == 0 {
		t.Error("nothing was trained")
	}
}

func TestGoldenEval(t *testing.T) {
	forEachGolden(t, func(t *testing.T, g golden) {
		gen, err := g.newGenerator(t, g.options).evaluator(evaluatorKind{rows: g.options.Batch})
		if err != nil {
			t.Fatal(err)
		}
		if err := gen.sample.SetFloat32(g.vectors.float32s("noisy")); err != nil {
			t.Fatal(err)
		}
		if err := gen.timesteps.SetInt64(g.vectors.int64s("timesteps")); err != nil {
			t.Fatal(err)
		}
		if gen.labels != nil {
			var err error
			if g.UNet.LabelDim() > 0 {
				err = gen.labels.SetFloat32(g.vectors.float32s("class_labels"))
			} else {
				err = gen.labels.SetInt64(g.vectors.int64s("class_labels"))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if gen.hiddenStates != nil {
			if err := gen.hiddenStates.SetFloat32(g.vectors.float32s("encoder_hidden_states")); err != nil {
				t.Fatal(err)
			}
		}
		if err := gen.session.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		within(t, "out_sample", gen.output.GetFloat32(), g.vectors.float32s("out_sample"), 1e-5)
	})
}

func (g golden) newGenerator(t *testing.T, o GraphOptions) *Generator {
	e := enginetest.Open(t)
	eval, err := EvalGraph(g.UNet, o)
	if err != nil {
		t.Fatal(err)
	}
	state, err := NewState(e, NewLayout(eval.Params(), g.UNet.Trained), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(state.Close)
	if err := state.LoadParams(g.Weights, state.Params, nil); err != nil {
		t.Fatal(err)
	}
	gen, err := NewGenerator(e, g.UNet, g.schedule, state, state.Params, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gen.Close)
	return gen
}

// DDIM from the same noise: pixels agree to 1/255 of their range [−1, 1]. The
// four images do not fill the generator's two batches of three.
func TestGoldenDDIM(t *testing.T) {
	files, err := filepath.Glob("testdata/ddim-*.safetensors")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files (%v), want 6: run tools/golden/unet.py", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "ddim-"), ".safetensors")
		t.Run(name, func(t *testing.T) {
			g, vectors := openGolden(t, name), openTensors(t, file)
			ddim, err := sampler.DDIM(g.schedule, 10, 0)
			if err != nil {
				t.Fatal(err)
			}
			samples := vectors.float32s("noise")
			var labels []int64
			if g.UNet.Conditioning() != "" {
				labels = vectors.int64s("class_labels")
			}
			gen := g.newGenerator(t, g.options)
			if err := gen.Generate(t.Context(), samples, labels, GenerateOptions{Sampler: ddim, GuidanceScale: 1}); err != nil {
				t.Fatal(err)
			}
			for i, want := range vectors.float32s("samples") {
				if d := math.Abs(float64(samples[i]) - float64(want)); !(d <= 2.0/255) {
					t.Fatalf("number %d: %g, want %g within %g", i, samples[i], want, 2.0/255)
				}
			}
		})
	}
}
