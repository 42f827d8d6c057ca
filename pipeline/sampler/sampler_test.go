package sampler

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"immiscible/pipeline/diffusion"
)

func schedule(t *testing.T, change func(*diffusion.Config)) *diffusion.Schedule {
	t.Helper()
	c := diffusion.DefaultConfig()
	change(&c)
	s, err := diffusion.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.9g, want %.9g ± %.3g", what, got, want, tolerance)
	}
}

// golden is testdata/trajectories.json, made by tools/golden/schedulers.py.
type golden struct {
	TimestepSums []struct {
		TimestepSpacing   string `json:"timestep_spacing"`
		NumTrainTimesteps int    `json:"num_train_timesteps"`
		Sums              []int
	} `json:"timestep_sums"`
	Trajectories []struct {
		Sampler   string
		Config    json.RawMessage
		Steps     int
		Eta       float64
		Timesteps []int
		Samples   [][]float64
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/trajectories.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.TimestepSums) == 0 || len(g.Trajectories) == 0 {
		t.Fatal("testdata/trajectories.json lacks a table")
	}
	return g
}

// Every number of steps from 1 to T, exactly.
func TestTimestepsMatchDiffusers(t *testing.T) {
	for _, row := range readGolden(t).TimestepSums {
		s := schedule(t, func(c *diffusion.Config) {
			c.NumTrainTimesteps, c.TimestepSpacing = row.NumTrainTimesteps, row.TimestepSpacing
		})
		for n := 1; n <= row.NumTrainTimesteps; n++ {
			timesteps, err := spaced(s, n)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0
			for i, at := range timesteps {
				sum += (i + 1) * at
				if at < 0 || i > 0 && at >= timesteps[i-1] {
					t.Fatalf("%s T %d steps %d: timesteps %v do not descend to 0 or more", row.TimestepSpacing, row.NumTrainTimesteps, n, timesteps)
				}
			}
			if len(timesteps) != n || sum != row.Sums[n-1] {
				t.Errorf("%s T %d steps %d: %d timesteps of checksum %d, want %d of %d", row.TimestepSpacing, row.NumTrainTimesteps, n, len(timesteps), sum, n, row.Sums[n-1])
			}
		}
	}
}

// toy runs steps from … of a sampler on the toy model of diffusers' scheduler
// tests, output = sample·t/(t+1), calling each after every step.
func toy(t *testing.T, run *Sampler, from int, sample []float32, noise func(i, k int) float64, each func(i int)) {
	t.Helper()
	output, n := make([]float32, len(sample)), make([]float32, len(sample))
	for i := from; i < len(run.Timesteps()); i++ {
		at := run.Timesteps()[i]
		for k, x := range sample {
			output[k] = float32(run.InputScale(i) * float64(x) * at / (at + 1))
			n[k] = float32(noise(i, k))
		}
		if err := run.Step(i, sample, output, n); err != nil {
			t.Fatal(err)
		}
		each(i)
	}
}

// Every state of the walk against diffusers' step in float64. Samples here
// are float32 and each step rounds the model's output, the estimate and the
// sample, so after i steps they may be off by a few times i·2⁻²⁴ of the
// largest value; 2e-6 of it allows 34 roundings.
func TestTrajectoriesMatchDiffusers(t *testing.T) {
	for _, row := range readGolden(t).Trajectories {
		t.Run(fmt.Sprintf("%s steps %d eta %v %s", row.Sampler, row.Steps, row.Eta, row.Config), func(t *testing.T) {
			s := schedule(t, func(c *diffusion.Config) {
				if err := json.Unmarshal(row.Config, c); err != nil {
					t.Fatal(err)
				}
			})
			run, err := New(row.Sampler, s, row.Steps, row.Eta)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(run.Timesteps()), fmt.Sprint(row.Timesteps); got != want {
				t.Fatalf("timesteps %s, want %s", got, want)
			}
			sample := make([]float32, 8)
			for k := range sample {
				sample[k] = float32(k)/4 - 1
			}
			noise := func(i, k int) float64 { return 1.4 * math.Sin(1+0.61*float64(k)+0.37*float64(i)) }
			largest := 1.0
			toy(t, run, 0, sample, noise, func(i int) {
				for k, x := range sample {
					largest = math.Max(largest, math.Abs(row.Samples[i][k]))
					within(t, fmt.Sprintf("step %d sample %d", i, k), float64(x), row.Samples[i][k], 2e-6*largest)
				}
			})
		})
	}
}

// The sums that diffusers records in its own tests, on a ramp of 4·3·8·8
// values and ten deterministic DDIM steps, with its tolerance:
// https://github.com/huggingface/diffusers/blob/1cf1528a9171a993139d6c93f7a63e520b8db040/tests/schedulers/test_scheduler_ddim.py
func TestDDIMReachesDiffusersRecordedSums(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*diffusion.Config)
		from   int
		sum    float64
	}{
		{"epsilon", func(*diffusion.Config) {}, 0, 172.0067},
		{"v_prediction", func(c *diffusion.Config) { c.PredictionType = "v_prediction" }, 0, 52.5302},
		{"set_alpha_to_one", func(c *diffusion.Config) { c.BetaStart = 0.01 }, 0, 149.8295},
		{"no set_alpha_to_one", func(c *diffusion.Config) { c.BetaStart, c.SetAlphaToOne = 0.01, false }, 0, 149.0784},
		{"noised ramp, last two steps", func(*diffusion.Config) {}, 8, 354.5418},
	} {
		s := schedule(t, row.change)
		run, err := DDIM(s, 10, 0)
		if err != nil {
			t.Fatal(err)
		}
		const n = 4 * 3 * 8 * 8
		sample := make([]float32, n)
		for k := range sample {
			sample[k] = float32(k) / n
			if row.from > 0 { // noise is the ramp backwards
				signal, sigma := s.NoisyCoefficients(int(run.Timesteps()[row.from]))
				sample[k] = float32(signal*float64(k)/n + sigma*float64(n-1-k)/n)
			}
		}
		toy(t, run, row.from, sample, func(i, k int) float64 { return 0 }, func(int) {})
		sum := 0.0
		for _, x := range sample {
			sum += math.Abs(float64(x))
		}
		within(t, row.name, sum, row.sum, 1e-2)
	}
}

func TestStepRefusesAndLeavesSampleAlone(t *testing.T) {
	s := schedule(t, func(*diffusion.Config) {})
	run, err := New("ddim", s, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		i, denoised, noise int
		want               string
	}{
		{-1, 2, 2, "step -1 is outside 0…4"},
		{5, 2, 2, "step 5 is outside 0…4"},
		{0, 3, 2, "3 model output values for 2"},
		{0, 2, 0, "0 noise values for 2"},
	} {
		sample := []float32{1, 2}
		err := run.Step(row.i, sample, make([]float32, row.denoised), make([]float32, row.noise))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("error %v, want it to say %q", err, row.want)
		}
		if sample[0] != 1 || sample[1] != 2 {
			t.Errorf("sample changed to %v by a refused step", sample)
		}
	}
	if run.NeedsNoise(4) {
		t.Error("the last DDIM step adds noise, though it ends at abar 1")
	}
	if err := run.Step(4, []float32{1, 2}, []float32{1, 2}, nil); err != nil {
		t.Errorf("a step that needs no noise refused its absence: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		steps  int
		eta    float64
		change func(*diffusion.Config)
		want   string
	}{
		{"heun", 10, 0, func(*diffusion.Config) {}, `sampler "heun" does not exist; use one of ddim, ddpm, pndm`},
		{"ddpm", 10, 0.5, func(*diffusion.Config) {}, "eta is 0.5, but only ddim"},
		{"ddim", 10, 1.5, func(*diffusion.Config) {}, "eta is 1.5"},
		{"ddim", 10, math.NaN(), func(*diffusion.Config) {}, "eta is NaN"},
		{"ddim", 0, 0, func(*diffusion.Config) {}, "0 steps asked of a schedule of 1000 timesteps; use 1 to 1000"},
		{"ddpm", 1001, 0, func(*diffusion.Config) {}, "1001 steps"},
		{"ddim", 1000, 0, func(c *diffusion.Config) { c.StepsOffset = 1 }, "reach timestep 1000"},
		{"ddim", 10, 0, func(c *diffusion.Config) { c.Thresholding = true }, "thresholding"},
		{"ddpm", 10, 0, func(c *diffusion.Config) { c.Thresholding = true }, "thresholding"},
		{"ddpm", 10, 0, func(c *diffusion.Config) { c.VarianceType = "learned" }, `variance_type "learned"`},
		{"ddpm", 10, 0, func(c *diffusion.Config) { c.VarianceType = "learned_range" }, "fixed_small"},
		{"ddpm", 10, 0, func(c *diffusion.Config) { c.VarianceType = "fixed_large_log" }, "fixed_large_log"},
		{"ddim", 10, 0, func(c *diffusion.Config) { c.RescaleBetasZeroSNR, c.TimestepSpacing = true, "trailing" }, "alphas_cumprod is 0 at timestep 999"},
	} {
		_, err := New(row.name, schedule(t, row.change), row.steps, row.eta)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want it to say %q", row.name, err, row.want)
		}
	}
}
