package diffusion

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// diffusersVersion is the release whose scheduler_config.json is written and
// whose arithmetic the golden vectors of this package come from.
const diffusersVersion = "0.42.1"

// Prediction types: what the model's output estimates. With the noisy image
// x_t = √ᾱ·x0 + √(1−ᾱ)·noise they are noise, √ᾱ·noise − √(1−ᾱ)·x0, and x0.
const (
	PredictEpsilon = "epsilon"
	PredictV       = "v_prediction"
	PredictSample  = "sample"
)

// Config is scheduler_config.json: keys and meanings are those of diffusers'
// DDPMScheduler, and of DDIMScheduler for set_alpha_to_one. What only the other
// schedulers read is in Solver.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_ddpm.py#L129-L183
type Config struct {
	ClassName         string  `json:"_class_name"`
	NumTrainTimesteps int     `json:"num_train_timesteps"` // T; a timestep is 0 … T−1
	BetaStart         float64 `json:"beta_start"`
	BetaEnd           float64 `json:"beta_end"`
	BetaSchedule      string  `json:"beta_schedule"` // linear, scaled_linear, squaredcos_cap_v2 or sigmoid

	TrainedBetas        []float64 `json:"trained_betas"` // [T] or null; replaces the three keys above
	RescaleBetasZeroSNR bool      `json:"rescale_betas_zero_snr"`
	PredictionType      string    `json:"prediction_type"` // epsilon, v_prediction or sample
	ClipSample          bool      `json:"clip_sample"`     // clip x0 estimates while sampling
	ClipSampleRange     float64   `json:"clip_sample_range"`
	SetAlphaToOne       bool      `json:"set_alpha_to_one"` // DDIM's last step goes to ᾱ = 1 instead of ᾱ_0
	StepsOffset         int       `json:"steps_offset"`     // added to each timestep of spacing leading
	TimestepSpacing     string    `json:"timestep_spacing"` // leading, trailing or linspace
	VarianceType        string    `json:"variance_type"`    // noise of a DDPM step

	Thresholding             bool    `json:"thresholding"` // samplers refuse it; the two keys below are carried only
	DynamicThresholdingRatio float64 `json:"dynamic_thresholding_ratio"`
	SampleMaxValue           float64 `json:"sample_max_value"`

	// Solver holds the keys of PNDMScheduler, EulerDiscreteScheduler and
	// DPMSolverMultistepScheduler. Save writes those that the file had.
	Solver Solver `json:"-"`
	// Absent says of which keys the file had nothing, so that For can give them
	// the default of another class.
	Absent struct{ TimestepSpacing, SetAlphaToOne bool } `json:"-"`
	// Extra holds the keys of a loaded file that are not fields of Config
	// (skip_prk_steps of PNDMScheduler, say), so that Save gives them back.
	Extra map[string]json.RawMessage `json:"-"`
}

// DefaultConfig is what DDPMScheduler() means in diffusers: 1,000 linear betas
// from 1e-4 to 0.02, epsilon prediction.
func DefaultConfig() Config {
	return Config{
		ClassName:                "DDPMScheduler",
		NumTrainTimesteps:        1000,
		BetaStart:                0.0001,
		BetaEnd:                  0.02,
		BetaSchedule:             "linear",
		PredictionType:           PredictEpsilon,
		ClipSample:               true,
		ClipSampleRange:          1,
		SetAlphaToOne:            true,
		TimestepSpacing:          "leading",
		VarianceType:             "fixed_small",
		DynamicThresholdingRatio: 0.995,
		SampleMaxValue:           1,
		Solver:                   DefaultSolver(),
	}
}

// LoadConfig reads a scheduler_config.json written by any diffusers scheduler.
// A key that is absent or null has the default of the file's class, as diffusers'
// from_pretrained gives it. Values are judged by New and the samplers, not here.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read scheduler configuration: %w", err)
	}
	data = quoteNumbers(data)
	if err := json.Unmarshal(data, &c.Extra); err != nil {
		return c, fmt.Errorf("%s: not a JSON object (%w); restore the file", path, err)
	}
	for _, into := range []any{&c, &c.Solver} {
		if err := json.Unmarshal(data, into); err != nil {
			var wrong *json.UnmarshalTypeError
			if errors.As(err, &wrong) {
				return c, fmt.Errorf("%s: %s is a JSON %s, want %s; correct the value", path, wrong.Field, wrong.Value, wrong.Type)
			}
			return c, fmt.Errorf("%s: %w", path, err)
		}
	}
	given := func(key string) bool { value, ok := c.Extra[key]; return ok && string(value) != "null" }
	c.Absent.TimestepSpacing, c.Absent.SetAlphaToOne = !given("timestep_spacing"), !given("set_alpha_to_one")
	c = c.For(c.ClassName)
	known, err := c.fields()
	if err != nil {
		return c, err
	}
	for key := range known {
		delete(c.Extra, key)
	}
	return c, nil
}

// Save writes c to path in diffusers' layout (sorted keys, two spaces), with
// the keys in c.Extra beside its own and without those that are absent.
func (c Config) Save(path string) error {
	keys, err := c.fields()
	if err != nil {
		return err
	}
	for key, value := range c.Extra {
		if _, own := keys[key]; !own {
			keys[key] = value
		}
	}
	if c.Absent.TimestepSpacing {
		delete(keys, "timestep_spacing")
	}
	if c.Absent.SetAlphaToOne {
		delete(keys, "set_alpha_to_one")
	}
	keys["_diffusers_version"] = json.RawMessage(`"` + diffusersVersion + `"`)
	data, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: encode scheduler configuration: %w", path, err)
	}
	if err := os.WriteFile(path, append(unquoteNumbers(data), '\n'), 0o644); err != nil {
		return fmt.Errorf("write scheduler configuration: %w", err)
	}
	return nil
}

// fields returns c's own keys with their JSON values.
func (c Config) fields() (map[string]json.RawMessage, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode scheduler configuration: %w", err)
	}
	keys := map[string]json.RawMessage{}
	return keys, json.Unmarshal(data, &keys)
}

// validate refuses values that no schedule can have. What only a sampler
// reads and may refuse (thresholding, variance_type) is left to it.
func (c Config) validate() error {
	for _, other := range []string{"FlowMatch", "EDM", "CMStochastic", "KarrasVe", "ScoreSde"} { // images and noise mix otherwise there
		if strings.HasPrefix(c.ClassName, other) {
			return fmt.Errorf("_class_name %s has no betas to train or sample with; want a model of DDPM's family, such as DDIMScheduler's or PNDMScheduler's", c.ClassName)
		}
	}
	if c.NumTrainTimesteps < 1 {
		return fmt.Errorf("num_train_timesteps %d is less than 1; diffusers' default is 1000", c.NumTrainTimesteps)
	}
	if c.RescaleBetasZeroSNR && c.NumTrainTimesteps == 1 {
		return fmt.Errorf("rescale_betas_zero_snr is true with num_train_timesteps 1, which leaves no signal at all; set it to false")
	}
	if err := oneOf("prediction_type", c.PredictionType, PredictEpsilon, PredictV, PredictSample); err != nil {
		return err
	}
	if err := oneOf("timestep_spacing", c.TimestepSpacing, "leading", "trailing", "linspace"); err != nil {
		return err
	}
	if c.ClipSample && !(c.ClipSampleRange > 0) {
		return fmt.Errorf("clip_sample_range %v is not positive; use 1, or clip_sample false", c.ClipSampleRange)
	}
	if c.StepsOffset < 0 || c.StepsOffset >= c.NumTrainTimesteps {
		return fmt.Errorf("steps_offset %d is outside 0…%d; use 0 or 1", c.StepsOffset, c.NumTrainTimesteps-1)
	}
	if c.TrainedBetas != nil {
		if len(c.TrainedBetas) != c.NumTrainTimesteps {
			return fmt.Errorf("trained_betas has %d values for num_train_timesteps %d; make them equal", len(c.TrainedBetas), c.NumTrainTimesteps)
		}
		return nil
	}
	if c.BetaSchedule == "squaredcos_cap_v2" {
		return nil // reads neither beta_start nor beta_end
	}
	for _, b := range []float64{c.BetaStart, c.BetaEnd} {
		if !(b > 0 && b < 1) {
			return fmt.Errorf("beta_start %v and beta_end %v must both lie between 0 and 1; diffusers' defaults are 0.0001 and 0.02", c.BetaStart, c.BetaEnd)
		}
	}
	return oneOf("beta_schedule", c.BetaSchedule, "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
}

func oneOf(key, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return fmt.Errorf("%s %q is not supported; use one of %s", key, got, strings.Join(allowed, ", "))
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
