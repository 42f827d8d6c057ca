package diffusion

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scheduler_config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The scheduler of Stable Diffusion 1.4, as its folder has it: another class,
// keys that are not ours, keys of ours that are missing.
const stableDiffusion = `{
  "_class_name": "PNDMScheduler", "_diffusers_version": "0.7.0.dev0",
  "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false,
  "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null}`

func TestLoadConfigReadsAnotherSchedulersFile(t *testing.T) {
	got, err := LoadConfig(write(t, stableDiffusion))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.ClassName, want.BetaSchedule, want.BetaStart, want.BetaEnd = "PNDMScheduler", "scaled_linear", 0.00085, 0.012
	want.ClipSample, want.SetAlphaToOne, want.StepsOffset = false, false, 1
	want.Solver.SkipPRKSteps, want.Absent.TimestepSpacing = true, true
	for key, value := range map[string]string{"skip_prk_steps": "true", "_diffusers_version": `"0.7.0.dev0"`} {
		if string(got.Extra[key]) != value {
			t.Errorf("Extra[%s] = %s, want %s", key, got.Extra[key], value)
		}
	}
	if len(got.Extra) != 2 {
		t.Errorf("Extra holds %d keys, want 2: %v", len(got.Extra), got.Extra)
	}
	got.Extra = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSaveGivesBackWhatLoadRead(t *testing.T) {
	first, err := LoadConfig(write(t, stableDiffusion))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "scheduler_config.json")
	if err := first.Save(path); err != nil {
		t.Fatal(err)
	}
	second, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(second.Extra["_diffusers_version"]), `"`+diffusersVersion+`"`; got != want {
		t.Errorf("_diffusers_version %s, want %s", got, want)
	}
	delete(first.Extra, "_diffusers_version")
	delete(second.Extra, "_diffusers_version")
	if !reflect.DeepEqual(first, second) {
		t.Errorf("read   %+v\nreread %+v", first, second)
	}
}

// A DPM-Solver's file has an infinity as Python writes it: no JSON, but read, and
// given back. A key that its class reads and that is of another type is named.
func TestLoadConfigReadsPythonsInfinity(t *testing.T) {
	const text = `{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "euler_at_final": true, "name": "x: -Infinity, y"}`
	c, err := LoadConfig(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsInf(float64(c.Solver.LambdaMinClipped), -1) || !c.Solver.EulerAtFinal || c.TimestepSpacing != "linspace" || !c.SetAlphaToOne {
		t.Errorf("read %+v", c)
	}
	if c = c.For("PNDMScheduler"); c.TimestepSpacing != "leading" || c.SetAlphaToOne {
		t.Errorf("for PNDM: timestep_spacing %s, set_alpha_to_one %v", c.TimestepSpacing, c.SetAlphaToOne)
	}
	path := filepath.Join(t.TempDir(), "scheduler_config.json")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`"lambda_min_clipped": -Infinity,`, `"name": "x: -Infinity, y",`, `"euler_at_final": true,`} {
		if !strings.Contains(string(got), line) {
			t.Errorf("wrote %s, want %s in it", got, line)
		}
	}
	if strings.Contains(string(got), "timestep_spacing") {
		t.Errorf("wrote a timestep_spacing that the file had not: %s", got)
	}
	_, err = LoadConfig(write(t, `{"solver_order": "two"}`))
	if err == nil || !strings.Contains(err.Error(), "solver_order is a JSON string, want int") {
		t.Errorf("error %v", err)
	}
}

// The keys of DDPMScheduler().save_config in diffusers 0.42.1, and DDIM's one.
func TestSaveWritesEveryKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scheduler_config.json")
	if err := DefaultConfig().Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "_class_name": "DDPMScheduler",
  "_diffusers_version": "0.42.1",
  "beta_end": 0.02,
  "beta_schedule": "linear",
  "beta_start": 0.0001,
  "clip_sample": true,
  "clip_sample_range": 1,
  "dynamic_thresholding_ratio": 0.995,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "rescale_betas_zero_snr": false,
  "sample_max_value": 1,
  "set_alpha_to_one": true,
  "steps_offset": 0,
  "thresholding": false,
  "timestep_spacing": "leading",
  "trained_betas": null,
  "variance_type": "fixed_small"
}
`
	if string(got) != want {
		t.Errorf("wrote\n%s\nwant\n%s", got, want)
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"beta_start": "small"}`:     "beta_start is a JSON string, want float64",
		`{"num_train_timesteps": 10.`: "not a JSON object",
		`[1]`:                         "not a JSON object",
		``:                            "not a JSON object",
	} {
		path := write(t, text)
		_, err := LoadConfig(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want the path and %q", text, err, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.json")
	if _, err := LoadConfig(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: error %v", err)
	}
	if err := DefaultConfig().Save(filepath.Join(missing, "x")); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("save where no folder is: error %v", err)
	}
}
