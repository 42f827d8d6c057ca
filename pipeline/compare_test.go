package pipeline

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
				run.Evaluations = append(run.Evaluations, CompareEvaluation{Step: at[k], SamplerSteps: 10, FID: x})
			}
			r.Runs = append(r.Runs, run)
		}
	}
	r.summarise()
	return r
}

// Speed-ups of curves whose crossings are known.
func TestSpeedup(t *testing.T) {
	at := []int{100, 200, 400, 800}
	r := made(at, map[string][][]float64{
		"base":  {{40, 30, 20, 25}}, // lowest at 400
		"twice": {{30, 20, 15, 12}}, // there at 200
		"part":  {{50, 40, 24, 16}}, // 24 → 16 between 400 and 800: 20 at 600
		"first": {{19, 19, 19, 19}}, // there from the start
		"never": {{50, 40, 30, 21}},
	}, "base", "twice", "part", "first", "never")
	want := map[string]float64{"twice": 200, "part": 600, "first": 100}
	if len(r.Speedups) != 4 {
		t.Fatalf("%d speed-ups, want 4", len(r.Speedups))
	}
	for _, s := range r.Speedups {
		if s.ThresholdFID != 20 || s.BaselineSteps != 400 || s.Interval != nil {
			t.Errorf("%s: threshold %v at %v, interval %v", s.Arm, s.ThresholdFID, s.BaselineSteps, s.Interval)
		}
		steps, ok := want[s.Arm]
		if ok != (s.ArmSteps != nil) || ok && (*s.ArmSteps != steps || *s.Speedup != 400/steps) {
			t.Errorf("%s: %+v, want %v steps", s.Arm, s, steps)
		}
	}
	if f := r.Speedups[0].FinalFID; f.Arm != 12 || f.Baseline != 25 || f.Difference != -13 {
		t.Errorf("final FID %+v", f)
	}
}

// Intervals over seeds: of equal seeds a point; of unequal ones between the
// single seeds' values, and the same for every call.
func TestSpeedupInterval(t *testing.T) {
	at := []int{100, 200, 400}
	same := made(at, map[string][][]float64{"base": {{40, 30, 20}, {40, 30, 20}}, "arm": {{30, 20, 10}, {30, 20, 10}}}, "base", "arm").Speedups[0]
	if same.Interval == nil || *same.Interval != [2]float64{2, 2} || *same.FinalFID.Interval != [2]float64{-10, -10} {
		t.Errorf("equal seeds: %+v", same)
	}
	rows := map[string][][]float64{"base": {{40, 30, 20}, {42, 31, 22}, {41, 30, 21}}, "arm": {{30, 20, 10}, {40, 30, 30}, {35, 22, 15}}}
	a, b := made(at, rows, "base", "arm"), made(at, rows, "base", "arm")
	s := a.Speedups[0]
	// The second seed never gets there; the first is twice as fast.
	if *s.Interval != *b.Speedups[0].Interval || s.Interval[0] != 0 || s.Interval[1] != 2 {
		t.Errorf("interval %v, again %v, want 0 to 2", *s.Interval, *b.Speedups[0].Interval)
	}
	if d := s.FinalFID; math.Abs(d.Difference-(55-63)/3.) > 1e-12 || d.Interval[0] != -10 || d.Interval[1] != 8 {
		t.Errorf("final FID %+v %v", d, *d.Interval)
	}
	c := a.Curves[1]
	if math.Abs(c.FID[0]-35) > 1e-12 || math.Abs(c.StandardError[0]-5/math.Sqrt(3)) > 1e-12 {
		t.Errorf("curve %+v, want mean 35 and standard error %v", c, 5/math.Sqrt(3))
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
		if err := v.add(CompareEvaluation{Step: 20, SamplerSteps: 5, FID: 2}); err != nil {
			t.Fatal(err)
		}
		v.close()
		text, _ := os.ReadFile(path)
		if want := `{"step":10,"sampler_steps":5,"fid":3}` + "\n" + `{"step":20,"sampler_steps":5,"fid":2}` + "\n"; string(text) != want {
			t.Errorf("after %q: file %q, want %q", torn, text, want)
		}
	}
}
