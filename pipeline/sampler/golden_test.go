package sampler

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/pipeline/diffusion"
)

// row is one of testdata/samplers.json, made by tools/golden/samplers.py.
type row struct {
	File           json.RawMessage
	Sampler        string
	Steps          int
	Guidance, Eta  float64
	Timesteps      []float64
	InitNoiseSigma float64 `json:"init_noise_sigma"`
	Final          []float64
}

// open builds the row's sampler as generating does: from a file.
func (r row) open(t *testing.T) *Sampler {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scheduler_config.json")
	if err := os.WriteFile(path, r.File, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := diffusion.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := diffusion.New(c)
	if err != nil {
		t.Fatal(err)
	}
	run, err := New(r.Sampler, s, r.Steps, r.Eta)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// walk samples under the script's model, from the script's first sample.
func (r row) walk(t *testing.T, run *Sampler) []float32 {
	t.Helper()
	sample, output, noise := make([]float32, 8), make([]float32, 8), make([]float32, 8)
	for k := range sample {
		sample[k] = float32((float64(k)/4 - 1) * run.InitNoiseSigma)
	}
	for i, at := range run.Timesteps() {
		for k, x := range sample {
			out := math.Tanh(run.InputScale(i)*float64(x)) * (0.6 + 0.4*math.Cos(at/137))
			if r.Guidance != 1 {
				out += r.Guidance * 0.2 // (out + 0.2) − out
			}
			output[k] = float32(out)
			noise[k] = float32(1.4 * math.Sin(1+0.61*float64(k)+0.37*float64(i)))
		}
		if !run.NeedsNoise(i) {
			noise = nil
		}
		if err := run.Step(i, sample, output, noise); err != nil {
			t.Fatal(err)
		}
		noise = make([]float32, 8)
	}
	return sample
}

func rows(t *testing.T) []row {
	t.Helper()
	data, err := os.ReadFile("testdata/samplers.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct{ Rows []row }
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Rows) < 112 {
		t.Fatalf("%d rows, want 112: run tools/golden/samplers.py", len(g.Rows))
	}
	return g.Rows
}

// Where every sampler ends, from every file, against diffusers in float64: within
// 2e-6 of the largest number (the issue asks for 1e-4). Samples and outputs here
// are float32, and 2e-6 is 34 roundings.
func TestSamplersEndWhereDiffusersDo(t *testing.T) {
	for _, r := range rows(t) {
		t.Run(fmt.Sprintf("%s %d guidance %g eta %g %s", r.Sampler, r.Steps, r.Guidance, r.Eta, r.File), func(t *testing.T) {
			run := r.open(t)
			if len(run.Timesteps()) != len(r.Timesteps) {
				t.Fatalf("timesteps %v, want %v", run.Timesteps(), r.Timesteps)
			}
			for i, at := range run.Timesteps() {
				within(t, fmt.Sprintf("timestep %d", i), at, r.Timesteps[i], 1e-4) // the file has four decimals
			}
			within(t, "init_noise_sigma", run.InitNoiseSigma, r.InitNoiseSigma, 0x1p-23*r.InitNoiseSigma) // float32 there
			sample, largest := r.walk(t, run), 0.0
			for _, x := range r.Final {
				largest = max(largest, math.Abs(x))
			}
			for k, x := range sample {
				within(t, fmt.Sprintf("number %d", k), float64(x), r.Final[k], 2e-6*largest)
			}
		})
	}
}

// A sampler walks any number of batches: the next one forgets the last, finished
// or not, and a step that reads what its batch has not made is refused.
func TestSamplerStartsOver(t *testing.T) {
	for _, name := range Names() {
		r := row{File: json.RawMessage(`{"_class_name": "PNDMScheduler", "skip_prk_steps": true, "steps_offset": 1}`), Sampler: name, Steps: 6, Guidance: 1}
		run := r.open(t)
		first := r.walk(t, run)
		for i := range 3 {
			if err := run.Step(i, make([]float32, 5), make([]float32, 5), make([]float32, 5)); err != nil {
				t.Fatal(err)
			}
		}
		if again := r.walk(t, run); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("%s: %v, then %v", name, first, again)
		}
		if name == "pndm" || strings.HasPrefix(name, "dpm") {
			sample := []float32{1, 2}
			err := r.open(t).Step(4, sample, []float32{1, 2}, nil)
			if err == nil || !strings.Contains(err.Error(), "begin at step 0") || sample[0] != 1 {
				t.Errorf("%s: step 4 first: error %v, sample %v", name, err, sample)
			}
		}
	}
}

// The sampler that a folder's file stands for.
func TestDefault(t *testing.T) {
	for text, want := range map[string]string{
		`{"_class_name": "PNDMScheduler"}`:                                            "pndm",
		`{"_class_name": "DDIMScheduler"}`:                                            "ddim",
		`{"_class_name": "DDPMScheduler"}`:                                            "ddim",
		`{"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true}`:        "euler",
		`{"_class_name": "EulerAncestralDiscreteScheduler"}`:                          "euler_a",
		`{"_class_name": "DPMSolverMultistepScheduler"}`:                              "dpm++_2m",
		`{"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": null}`:   "dpm++_2m",
		`{"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": true}`:   "dpm++_2m_karras",
		`{"_class_name": "LMSDiscreteScheduler", "beta_schedule": "scaled_linear"}`:   "ddim",
		`{"_class_name": "UniPCMultistepScheduler", "lambda_min_clipped": -Infinity}`: "ddim",
	} {
		path := filepath.Join(t.TempDir(), "scheduler_config.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := diffusion.LoadConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := Default(c); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// What changes a sampler's result and is not done here is refused, by name.
func TestSamplersRefuse(t *testing.T) {
	for _, r := range []struct {
		name   string
		steps  int
		change func(*diffusion.Config)
		want   string
	}{
		{"pndm", 10, func(c *diffusion.Config) { c.PredictionType = "sample" }, "want epsilon or v_prediction"},
		{"pndm", 3, func(*diffusion.Config) {}, "3 steps with skip_prk_steps false, want at least 4"},
		{"pndm", 10, func(c *diffusion.Config) { c.RescaleBetasZeroSNR = true }, "rescale_betas_zero_snr"},
		{"pndm", 0, func(c *diffusion.Config) { c.Solver.SkipPRKSteps = true }, "0 steps asked"},
		{"euler", 10, func(c *diffusion.Config) { c.Solver.UseExponentialSigmas = true }, "use_exponential_sigmas true"},
		{"euler", 10, func(c *diffusion.Config) { c.Solver.UseBetaSigmas = true }, "use_beta_sigmas true"},
		{"euler", 10, func(c *diffusion.Config) { c.Solver.InterpolationType = "log_linear" }, `interpolation_type "log_linear"`},
		{"euler", 10, func(c *diffusion.Config) { c.Solver.TimestepType, c.PredictionType = "continuous", "v_prediction" }, `timestep_type "continuous"`},
		{"euler", 10, func(c *diffusion.Config) { c.Solver.FinalSigmasType = "one" }, `final_sigmas_type "one" is not supported; use zero or sigma_min`},
		{"euler", 10, func(c *diffusion.Config) { x := -1.0; c.Solver.UseKarrasSigmas, c.Solver.SigmaMin = true, &x }, "sigma_min -1 and sigma_max"},
		{"euler_a", 1001, func(*diffusion.Config) {}, "1001 steps asked"},
		{"dpm++_2m", 10, func(c *diffusion.Config) { c.Thresholding = true }, "thresholding true"},
		{"dpm++_2m", 10, func(c *diffusion.Config) { c.Solver.SolverOrder = 3 }, "solver_order 3"},
		{"dpm++_2m", 10, func(c *diffusion.Config) { c.Solver.AlgorithmType = "sde-dpmsolver++" }, `algorithm_type "sde-dpmsolver++"`},
		{"dpm++_2m", 10, func(c *diffusion.Config) { c.Solver.UseLuLambdas = true }, "use_lu_lambdas true"},
		{"dpm++_2m_karras", 10, func(c *diffusion.Config) { c.Solver.UseFlowSigmas = true }, "use_flow_sigmas true"},
		{"dpm++_2m", 999, func(c *diffusion.Config) { c.StepsOffset = 1 }, "reach timestep 1000"},
		{"dpm++_2m", 1000, func(*diffusion.Config) {}, "use 1 to 999"},
		{"dpm++_2m", 0, func(*diffusion.Config) {}, "0 steps asked"},
	} {
		_, err := New(r.name, schedule(t, r.change), r.steps, 0)
		if err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: error %v, want it to say %q", r.name, err, r.want)
		}
	}
}
