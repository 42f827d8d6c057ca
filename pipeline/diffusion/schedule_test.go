package diffusion

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
)

// golden is testdata/schedules.json, made by tools/golden/schedulers.py.
type golden struct {
	Schedules []struct {
		Config        json.RawMessage
		Betas         []float64 // every seventh
		AlphasCumprod []float64 `json:"alphas_cumprod"` // every seventh
		Last          float64   // ᾱ of the last timestep
	}
	Mixtures []struct {
		PredictionType          string `json:"prediction_type"`
		T                       int
		X0, Noise               float64
		ModelOutput             float64 `json:"model_output"`
		Noisy, Target, Denoised float64
	}
	Weights []struct {
		PredictionType string  `json:"prediction_type"`
		SNRGamma       float64 `json:"snr_gamma"`
		T              []int
		SNR, Weights   []float64
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/schedules.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Schedules) == 0 || len(g.Mixtures) == 0 || len(g.Weights) == 0 {
		t.Fatal("testdata/schedules.json lacks a table")
	}
	return g
}

// build makes the schedule of DefaultConfig with change applied.
func build(t *testing.T, change func(*Config)) *Schedule {
	t.Helper()
	c := DefaultConfig()
	change(&c)
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.17g, want %.17g ± %.3g", what, got, want, tolerance)
	}
}

// The tables are diffusers' to the bit, except where torch calls a function that
// is not rounded correctly: an exponential in sigmoid, a square root in the
// rescaling. Both move a β by up to four units of 2⁻²⁴ (of itself, and of 1).
func TestTablesMatchDiffusers(t *testing.T) {
	for _, row := range readGolden(t).Schedules {
		s := build(t, func(c *Config) {
			if err := json.Unmarshal(row.Config, c); err != nil {
				t.Fatal(err)
			}
		})
		T := len(s.Betas)
		name := string(row.Config)
		if T != s.NumTrainTimesteps || len(s.Alphas) != T || len(s.AlphasCumprod) != T || len(row.Betas) != (T+6)/7 {
			t.Fatalf("%s: tables of %d, %d, %d entries, want %d (the vectors have %d, a seventh)", name, T, len(s.Alphas), len(s.AlphasCumprod), s.NumTrainTimesteps, len(row.Betas))
		}
		var relative, absolute, sum float64
		switch {
		case s.BetaSchedule == "sigmoid":
			relative, sum = 4*0x1p-24, 16*0x1p-24
		case s.RescaleBetasZeroSNR:
			absolute, sum = 4*0x1p-24, 16*0x1p-24
		}
		for i := range row.Betas {
			at := 7 * i
			within(t, name+" beta", s.Betas[at], row.Betas[i], relative*s.Betas[at]+absolute)
			within(t, name+" abar", s.AlphasCumprod[at], row.AlphasCumprod[i], sum*s.AlphasCumprod[at])
			within(t, name+" alpha", s.Alphas[at], 1-s.Betas[at], 0x1p-25)
		}
		within(t, name+" last abar", s.AlphasCumprod[T-1], row.Last, sum*row.Last)
	}
}

// Lin et al. 2024: the last ᾱ is exactly 0, the first stays.
func TestRescaleEndsWithNoSignal(t *testing.T) {
	for _, name := range []string{"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"} {
		plain := build(t, func(c *Config) { c.BetaSchedule = name })
		s := build(t, func(c *Config) { c.BetaSchedule = name; c.RescaleBetasZeroSNR = true })
		within(t, name+" last abar", s.AlphasCumprod[999], 0, 0)
		within(t, name+" last SNR", s.SNR(999), 0, 0)
		within(t, name+" first abar", s.AlphasCumprod[0], plain.AlphasCumprod[0], 0x1p-23)
		for i := 1; i < 1000; i++ {
			if !(s.AlphasCumprod[i] < s.AlphasCumprod[i-1]) {
				t.Fatalf("%s: abar rises at timestep %d", name, i)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, row := range []struct {
		change func(*Config)
		want   string // in the message: the key, and what to do
	}{
		{func(c *Config) { c.NumTrainTimesteps = 0 }, "num_train_timesteps 0"},
		{func(c *Config) { c.ClassName = "FlowMatchEulerDiscreteScheduler" }, "_class_name FlowMatchEulerDiscreteScheduler has no betas"},
		{func(c *Config) { c.BetaSchedule = "cosine" }, `beta_schedule "cosine" is not supported; use one of linear, scaled_linear, squaredcos_cap_v2, sigmoid`},
		{func(c *Config) { c.PredictionType = "v" }, `prediction_type "v" is not supported; use one of epsilon, v_prediction, sample`},
		{func(c *Config) { c.TimestepSpacing = "even" }, `timestep_spacing "even"`},
		{func(c *Config) { c.BetaEnd = 2 }, "beta_end 2"},
		{func(c *Config) { c.BetaStart = math.NaN() }, "beta_start NaN"},
		{func(c *Config) { c.BetaStart = 0 }, "beta_start 0"},
		{func(c *Config) { c.TrainedBetas = []float64{0.1} }, "trained_betas has 1 values for num_train_timesteps 1000"},
		{func(c *Config) { c.NumTrainTimesteps = 3; c.TrainedBetas = []float64{0.1, 1, 0.1} }, "beta of timestep 1 is 1"},
		{func(c *Config) { c.NumTrainTimesteps = 2; c.TrainedBetas = []float64{0.1, -0.5} }, "beta of timestep 1 is -0.5"},
		{func(c *Config) { c.NumTrainTimesteps = 1; c.RescaleBetasZeroSNR = true }, "rescale_betas_zero_snr"},
		{func(c *Config) { c.ClipSampleRange = 0 }, "clip_sample_range 0"},
		{func(c *Config) { c.StepsOffset = -1 }, "steps_offset -1"},
	} {
		c := DefaultConfig()
		row.change(&c)
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("error %v, want it to say %q", err, row.want)
		}
	}
}
