package pipeline

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/pipeline/metrics"
	"immiscible/pipeline/runlog"
)

// Every named arm gives settings that a run accepts, with labels and without,
// and none leaves a trace of what the common settings said.
func TestArms(t *testing.T) {
	unconditional := []string{"data.num_classes=0", "noise.per_class=false", "model.unet.num_class_embeds=none"}
	spoiled := []string{"noise.flip=true", "noise.scale=0.5", "noise.whiten=3", "noise.pairing=knn", "noise.anneal_steps=7", "noise.per_class=false"}
	for _, sets := range [][]string{nil, unconditional, spoiled} {
		common, err := LoadConfig("", "", sets)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range ArmNames() {
			arm, err := ParseArm(name, common, 100)
			if err != nil {
				t.Fatal(err)
			}
			c, err := LoadConfig("", "", append(slices.Clone(sets), arm.Settings...))
			if err != nil {
				t.Errorf("%s over %v: %v", name, sets, err)
				continue
			}
			if c.Noise.Flip || c.Noise.Scale != 1 || (name != "annealed") != (c.Noise.AnnealSteps == 0) || (name != "whitened") != (c.Noise.Whiten == 0) {
				t.Errorf("%s over %v: %+v", name, sets, c.Noise)
			}
			if conditioned := c.Data.NumClasses > 0; c.Noise.PerClass != (name == "linear" && conditioned) || (c.Noise.Center == "class") != (conditioned && slices.Contains([]string{"centred", "whitened", "annealed"}, name)) {
				t.Errorf("%s over %v: per_class %v, center %s", name, sets, c.Noise.PerClass, c.Noise.Center)
			}
		}
	}
	a, err := ParseArm("mine:pairing=knn;knn_k=4;lr.learning_rate=1e-3", Default(), 100)
	if want := []string{"noise.pairing=knn", "noise.knn_k=4", "lr.learning_rate=1e-3"}; err != nil || a.Name != "mine" || !slices.Equal(a.Settings, want) {
		t.Errorf("got %v, %v, want %v", a, err, want)
	}
	for text, want := range map[string]string{"nearest": "want one of independent", "../x:a=1": "want a name of letters", "x:pairing": "want key=value", "": "want a name of letters"} {
		if _, err := ParseArm(text, Default(), 100); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %s", text, err, want)
		}
	}
}

// made is a comparison of curves, a row a seed for each arm.
func made(at []int, arms map[string][][]float64, names ...string) *Comparison {
	r := &Comparison{At: at, SamplerSteps: []int{10}, Steps: at[len(at)-1]}
	for _, name := range names {
		r.Arms = append(r.Arms, Arm{Name: name})
		for seed, row := range arms[name] {
			if len(r.Seeds) <= seed {
				r.Seeds = append(r.Seeds, int64(seed))
			}
			run := CompareRun{Arm: name, Seed: int64(seed)}
			for k, x := range row {
				if math.IsInf(x, 1) {
					break
				}
				run.Evaluations = append(run.Evaluations, CompareEvaluation{Step: at[k], SamplerSteps: 10, FID: x})
			}
			r.Runs = append(r.Runs, run)
		}
	}
	r.summarise()
	return r
}

// Speed-ups of one seed's curves whose crossings are known: between judged steps
// the logarithm of the FID is linear.
func TestSpeedup(t *testing.T) {
	inf := math.Inf(1)
	r := made([]int{100, 200, 400, 800}, map[string][][]float64{
		"base":  {{40, 30, 20, 25}}, // lowest at 400
		"twice": {{30, 20, 15, 12}}, // there at 200
		"part":  {{50, 40, 40, 10}}, // halfway in the logarithm from 40 to 10 is 20
		"first": {{19, 19, 19, 19}}, // there from the start
		"never": {{50, 40, 30, 30}}, // its 30 at 400, which the baseline has at 200
		"ends":  {{30, 25, inf, inf}},
		"none":  {{inf, inf, inf, inf}},
	}, "base", "twice", "part", "first", "never", "ends", "none")
	// 25 lies between the baseline's 30 at 200 and 20 at 400.
	ends := 200 + 200*math.Log(30./25)/math.Log(30./20)
	for i, want := range []struct{ armSteps, common, speedup float64 }{
		{200, 20, 2}, {600, 20, 400. / 600}, {100, 20, 4}, {inf, 30, 0.5}, {inf, 25, ends / 200}, {inf, inf, math.NaN()},
	} {
		s := r.Speedups[i]
		got := s.Seeds[0]
		same := func(a runlog.Number, b float64) bool {
			return float64(a) == b || math.IsNaN(float64(a)) && math.IsNaN(b) || math.Abs(float64(a)-b) < 1e-9
		}
		if !same(got.ThresholdFID, 20) || !same(got.BaselineSteps, 400) || !same(got.ArmSteps, want.armSteps) || !same(got.CommonFID, want.common) || !same(got.Speedup, want.speedup) {
			t.Errorf("%s: %+v, want %+v", s.Arm, got, want)
		}
		if reached := !math.IsInf(want.armSteps, 1); (s.Reached == 1) != reached || !same(s.Speedup, want.speedup) || s.Interval != nil {
			t.Errorf("%s: %+v, want %v and no interval", s.Arm, s, want)
		}
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), `"fid":[30,25,null,null]`) || !strings.Contains(string(text), `"speedup":null`) {
		t.Errorf("%v: a run that diverged is %s", err, text)
	}
	r = made([]int{100, 200}, map[string][][]float64{"base": {{inf, inf}}, "arm": {{30, 20}}}, "base", "arm")
	if s := r.Speedups[0]; !math.IsNaN(float64(s.Speedup)) || s.Reached != 0 {
		t.Errorf("the baseline diverged: %+v", s)
	}
}

// Intervals over seeds are of what arms of one seed differ by: a shift that all
// arms of a seed share leaves none.
func TestSpeedupInterval(t *testing.T) {
	at := []int{100, 200, 400}
	r := made(at, map[string][][]float64{
		"base": {{40, 30, 20}, {80, 60, 40}, {4, 3, 2}},
		"arm":  {{30, 20, 10}, {60, 40, 20}, {3, 2, 1}},
		"slow": {{40, 30, 20}, {80, 60, 40}, {4, 4, 2}},
		"each": {{30, 20, 15}, {40, 40, 40}, {2, 1, 1}}, // there at 200, 100 and 100
	}, "base", "arm", "slow", "each")
	if s := r.Speedups[0]; s.Reached != 3 || math.Abs(float64(s.Speedup)-2) > 1e-12 || math.Abs(s.Interval[0]-2) > 1e-12 || math.Abs(s.Interval[1]-2) > 1e-12 {
		t.Errorf("twice as fast in every seed: %+v, interval %v", s, s.Interval)
	}
	s := r.Speedups[2] // 2, 4 and 4: logarithms with mean 5/3 ln 2 and standard error ln 2/3
	half := 4.30265 * math.Ln2 / 3
	if want := math.Pow(2, 5./3); math.Abs(float64(s.Speedup)-want) > 1e-12 || math.Abs(math.Log(s.Interval[0]/want)+half) > 1e-5 || math.Abs(math.Log(s.Interval[1]/want)-half) > 1e-5 {
		t.Errorf("2, 4 and 4 times: %+v, interval %v", s, s.Interval)
	}
	c := r.Curves[1]
	for k := range at { // 10, 20 and 1 less at every step
		if want := -31. / 3; math.Abs(float64(c.Difference[k])-want) > 1e-12 {
			t.Errorf("differences %v, want %v", c.Difference, want)
		}
	}
	if mean, half := metrics.TInterval([]float64{30, 60, 3}); float64(c.FID[0]) != mean || float64(c.FIDHalf[0]) != half {
		t.Errorf("curve %+v, want %v ± %v", c, mean, half)
	}
	if r.Curves[0].Difference != nil || r.Curves[2].Difference[0] != 0 || r.Curves[2].DifferenceHalf[0] != 0 {
		t.Errorf("differences %v and %v, want none and 0", r.Curves[0].Difference, r.Curves[2].Difference)
	}
}

// A line that was cut off when the program was killed is made again.
func TestEvaluationsAfterAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evaluations.jsonl")
	for _, torn := range []string{"", `{"step":20,"sampler`, `{"step":20,"sampler_steps":5,"fid":1}`} {
		if err := os.WriteFile(path, []byte(`{"step":10,"sampler_steps":5,"fid":3}`+"\n"+torn), 0o666); err != nil {
			t.Fatal(err)
		}
		v, err := openEvaluations(path)
		if err != nil {
			t.Fatal(err)
		}
		if !v.has(10, 5) || v.has(20, 5) || len(v.all) != 1 {
			t.Errorf("after %q: %+v", torn, v.all)
		}
		if err := v.add(keptEvaluation{CompareEvaluation{Step: 20, SamplerSteps: 5, FID: 2}, 1.5}); err != nil {
			t.Fatal(err)
		}
		v.close()
		text, _ := os.ReadFile(path)
		if want := `{"step":10,"sampler_steps":5,"fid":3}` + "\n" + `{"step":20,"sampler_steps":5,"fid":2,"seconds":1.5}` + "\n"; string(text) != want {
			t.Errorf("after %q: file %q, want %q", torn, text, want)
		}
	}
}
