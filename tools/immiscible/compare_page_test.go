package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"immiscible/datasets/rng"
	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
)

// madeComparison writes what a comparison of four arms from three seeds leaves
// when all is judged, in the layout of the program's first releases (settings with
// other comments, judgements without their time), and returns the command that
// makes its report: nothing is trained. linear is 1.25 times as fast as the
// baseline, linear-class-blind never gets there, and knn-l2 diverges from one seed.
func madeComparison(t *testing.T) (out string, args []string) {
	t.Helper()
	out = t.TempDir()
	arms, at, samplerSteps := []string{"independent", "linear", "linear-class-blind", "knn-l2"}, []int{200, 400, 600, 800}, []int{5, 20}
	common, err := pipeline.LoadConfig("", "", []string{"lr.schedule=constant_with_warmup"})
	if err != nil {
		t.Fatal(err)
	}
	write := func(content any, path ...string) {
		t.Helper()
		text, ok := content.(string)
		if !ok {
			raw, err := json.Marshal(content)
			if err != nil {
				t.Fatal(err)
			}
			text = string(raw)
		}
		name := filepath.Join(append([]string{out}, path...)...)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write([]map[string]string{
		{"Key": "steps", "Value": "800"}, {"Key": "at", "Value": "[200 400 600 800]"}, {"Key": "sampler_steps", "Value": "[5 20]"}, {"Key": "samples", "Value": "500"},
		{"Key": "features", "Value": `fashion-mnist (input range 0..1, resize clean, output "")`},
		{"Key": "settings", "Value": "# as it was explained then\n[lr]\nschedule = \"constant_with_warmup\"\n\n[train]\nmicro_batch = 64\n\n[runtime]\nprovider = \"\"\n"},
	}, "compare.json")
	for a, name := range arms {
		arm, err := pipeline.ParseArm(name, common, 800)
		if err != nil {
			t.Fatal(err)
		}
		sets := append([]string{"lr.schedule=constant_with_warmup", "train.max_steps=800", "log.tensorboard=false", "sample.every_steps=0", "sample.steps=5", "sample.per_class=8", "checkpoint.keep=1"}, arm.Settings...)
		for seed := range 3 {
			run := filepath.Join("runs", name, fmt.Sprintf("seed-%d", seed))
			c, err := pipeline.LoadConfig("", "", append(sets, fmt.Sprintf("train.seed=%d", seed)))
			if err != nil {
				t.Fatal(err)
			}
			write(c.Text(), run, "config.toml")
			var lines, log strings.Builder
			for _, step := range at {
				for _, n := range samplerSteps {
					if name == "knn-l2" && seed == 2 && step > 400 {
						write(map[string]any{"step": 512, "why": "10 steps in a row had a gradient that is not finite"}, run, "diverged.json")
						continue
					}
					// Exponential in the steps, so that interpolation in log FID is exact.
					rate := []float64{1, 1.25, 0.4, 0.8 + 0.1*float64(seed)}[a] / 400
					fid := (200 + 10*float64(seed) + 2*float64(n)) * math.Exp(-rate*float64(step))
					fmt.Fprintf(&lines, `{"step":%d,"sampler_steps":%d,"fid":%v,"class_accuracy":%v}`+"\n", step, n, fid, 0.1+float64(step)/2000/(1+float64(a)))
					grid(t, filepath.Join(out, pipeline.GridFile(name, int64(seed), step, n)), uint64(a))
				}
			}
			for step := 1; step <= 800; step++ {
				line, err := json.Marshal(runlog.Record{Step: step, DistanceBefore: 40, DistanceAfter: runlog.Number(40 - 0.2*float64(a)), StepMS: 190})
				if err != nil {
					t.Fatal(err)
				}
				log.Write(append(line, '\n'))
			}
			write(lines.String(), run, "evaluations.jsonl")
			write(log.String(), run, "log.jsonl")
			write(map[string]any{"n": 1024, "dim": 1024, "noise_second_moment": 1 - 0.01*float64(a), "mean_shift": 0.1 * float64(a), "leading_variance": []float64{1.1, 0.9}, "class_probe": 0.1 + 0.05*float64(a), "class_chance": 0.1}, run, "noise_law.json")
		}
	}
	return out, []string{"compare", "-out", out, "-arms", strings.Join(arms, ","), "-steps", "800", "-seeds", "3", "-at", "200,400,600,800", "-sampler_steps", "5,20", "-samples", "500", "-set", "lr.schedule=constant_with_warmup"}
}

// grid writes a picture as the judge shows samples.
func grid(t *testing.T, path string, key uint64) {
	t.Helper()
	images := make([][]float32, 60)
	for i := range images {
		images[i] = make([]float32, 32*32)
		rng.New(key, "grid", uint64(i)).FillNormal(images[i])
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := runlog.WriteGrid(path, images, 6, 10, 1, 32, 32); err != nil {
		t.Fatal(err)
	}
}

// The report of a finished comparison is made without training, says what the
// curves are known to say, and asks for nothing outside itself.
func TestComparePage(t *testing.T) {
	out, args := madeComparison(t)
	stdout, stderr := mustCall(t, args...)
	stdout = strings.ReplaceAll(stdout, "\u00a0", " ")
	if strings.Contains(stderr, "step 1/") {
		t.Errorf("something was trained: %q", stderr)
	}
	page := readFile(t, out, "report.html")
	text := strings.NewReplacer("&#43;", "+", "\n", " ", "\u00a0", " ").Replace(page)
	for _, want := range []string{
		"<h1>4 pairings of images and noise, compared on fashion-mnist</h1>",
		"With 20 sampler steps, faster than independent: linear 1.25 × as fast (95 % interval 1.25 to 1.25); slower: linear-class-blind 0.40 × (0.40 to 0.40); not told apart: knn-l2 0.90 × (0.68 to 1.18).",
		"With 5 sampler steps, faster than independent: linear 1.25 ×",
		"knn-l2, seed 2, diverged at step 512: 10 steps in a row had a gradient that is not finite",
		"<td>linear</td><td>20</td><td><b>1.25</b></td><td>1.25 to 1.25</td><td class=\"faster\">faster</td><td>3 of 3</td>",
		"<td>linear-class-blind</td><td>20</td><td><b>0.40</b></td><td>0.40 to 0.40</td><td class=\"slower\">slower</td><td>0 of 3</td>",
		"<td>30.0 % ± 0.0 %</td>", // 0.1 + 400/2000 of the baseline are of the class that was asked for
		"knn-l2, step 800, 5 sampler steps",
		"<td>linear</td><td>3</td><td>190.0</td><td>7m36s</td><td>not kept</td>",
		"immiscible compare -arms independent,linear,linear-class-blind,knn-l2 -steps 800 -seeds 3 -at 200,400,600,800 -sampler_steps 5,20 -samples 500 -set lr.schedule=constant_with_warmup",
		"noise.pairing=linear", "SHA-256",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "http") || strings.Contains(page, "<script") || strings.Contains(page, "#ZgotmplZ") || strings.Count(page, "<img ") != strings.Count(page, `src="data:image/png;base64,`) {
		t.Error("the page asks for something outside itself")
	}
	if got, want := strings.Count(page, "<img "), 5+4*2; got != want {
		t.Errorf("%d pictures on the page, want %d", got, want)
	}
	if !strings.Contains(stdout, "linear, 20 sampler steps: 1.25 × as fast as independent (95 % interval 1.25 to 1.25): faster; it comes to the lowest FID of independent in 3 seeds") ||
		!strings.Contains(stdout, "knn-l2, seed 2 diverged at step 512") {
		t.Errorf("stdout %q", stdout)
	}
	if r := readFile(t, out, "report.json"); !strings.Contains(r, `"diverged": {`) || !strings.Contains(r, "null") {
		t.Error("report.json does not say that a run diverged")
	}

	// An arm of one's own with other settings under its old name is another arm.
	config := filepath.Join(out, "runs", "linear", "seed-1", "config.toml")
	changed := strings.Replace(readFile(t, config), "pool_size = 512", "pool_size = 256", 1)
	if err := os.WriteFile(config, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := call(t.Context(), args...); status != 1 || !strings.Contains(stderr, "linear, seed 1: ") || !strings.Contains(stderr, "[noise] pool_size is 512 now and was 256") {
		t.Errorf("exit %d, %q, want it to refuse runs of other settings", status, stderr)
	}
}

// measuredPart is what of a page another call may give otherwise.
var measuredPart = regexp.MustCompile(`(?s)<section id="measured">.*</section>`)
