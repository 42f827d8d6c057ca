package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"immiscible/models/engine"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/runlog"
)

// CompareOptions say which arms are compared, for how long and by what. The
// first arm is the one that the others are measured against.
type CompareOptions struct {
	Preset, ConfigFile string   // as for training; the arms' settings are laid over them
	Sets               []string // likewise
	Arms               []string // see ParseArm
	Steps              int      // optimizer steps of a run
	Seeds              []int64  // train.seed of the runs of each arm
	At                 []int    // steps after which samples are judged, rising; the last is Steps
	SamplerSteps       []int    // num_inference_steps of the samples, rising
	Samples            int      // images a judgement
	Features           extractor.Options
	Out                string
	Messages           io.Writer // progress, and a line for each thing a user wants to know
}

// comparison is what the runs share.
type comparison struct {
	options CompareOptions
	arms    []Arm
	configs []Config // of the arms, with the first seed
	report  *Comparison
	network *extractor.Extractor
	judge   *judge
}

// Compare trains every arm from every seed (the same initial weights, order of
// images, timesteps and draws of noise for all arms of a seed), judges samples of
// the moving average at the given steps, and writes report.json and the grids of
// samples. What an earlier call with the same settings has finished is kept, and
// a run that was stopped goes on; arms and seeds may join.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	c, err := newComparison(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, fmt.Errorf("-out %s: %w: name a folder that can be written", o.Out, err)
	}
	if err := c.sameAsBefore(); err != nil {
		return nil, err
	}
	common := c.configs[0]
	e, err := engine.Open(ctx, common.engineOptions(func(line string) { fmt.Fprintln(o.Messages, line) }))
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if c.judge, err = newJudge(ctx, e, c.network, common, o); err != nil {
		return nil, err
	}
	defer c.judge.close()
	c.report.Features, c.report.Reference = c.judge.network(), c.judge.reference
	done, all := 0, len(o.Seeds)*len(c.arms)
	for _, seed := range o.Seeds {
		for i, arm := range c.arms {
			done++
			fmt.Fprintf(o.Messages, "run %d of %d: %s, seed %d\n", done, all, arm.Name, seed)
			run, err := c.run(ctx, arm, c.configs[i], seed)
			if err != nil {
				return nil, fmt.Errorf("%s, seed %d: %w", arm.Name, seed, err)
			}
			c.report.Runs = append(c.report.Runs, *run)
		}
	}
	c.report.summarise()
	text, err := json.MarshalIndent(c.report, "", " ")
	if err != nil {
		return nil, err
	}
	return c.report, runlog.ReplaceFile(filepath.Join(o.Out, "report.json"), append(text, '\n'))
}

func newComparison(o CompareOptions) (*comparison, error) {
	common, err := LoadConfig(o.Preset, o.ConfigFile, o.Sets)
	if err != nil {
		return nil, err
	}
	c := &comparison{options: o}
	seen := map[string]bool{}
	for _, text := range o.Arms {
		arm, err := ParseArm(text, common, o.Steps)
		if err != nil {
			return nil, err
		}
		if seen[arm.Name] {
			return nil, fmt.Errorf("arm %q stands twice: want each name once", arm.Name)
		}
		seen[arm.Name] = true
		config, err := LoadConfig(o.Preset, o.ConfigFile, append(slices.Clone(o.Sets), arm.Settings...))
		if err != nil {
			return nil, fmt.Errorf("arm %q: %w", arm.Name, err)
		}
		o.apply(&config)
		if err := config.Validate(); err != nil {
			return nil, fmt.Errorf("arm %q: %w", arm.Name, err)
		}
		c.arms, c.configs = append(c.arms, arm), append(c.configs, config)
	}
	switch {
	case len(c.arms) == 0:
		return nil, fmt.Errorf("no arm, want at least one of %v", ArmNames())
	case o.Samples < 2:
		return nil, fmt.Errorf("%d samples, want at least 2", o.Samples)
	}
	if c.network, err = loadNetwork(common, o.Features); err != nil {
		return nil, err
	}
	c.report = &Comparison{Schema: comparisonSchema, Arms: c.arms, Steps: o.Steps, Seeds: o.Seeds, At: o.At, SamplerSteps: o.SamplerSteps,
		Sampler: common.Sample.Sampler, Samples: o.Samples, Conditioned: common.Data.NumClasses > 0}
	return c, nil
}

// apply lays what the comparison decides over an arm's settings.
func (o CompareOptions) apply(c *Config) {
	c.Train.MaxSteps, c.Checkpoint.Keep, c.Log.TensorBoard = o.Steps, 1, false
	// The run's own grid, which the last step always writes, is made as quickly as
	// can be. Its size is the batch that samples are made in: about 80, and such
	// that the last batch is nearly full.
	c.Sample.EverySteps, c.Sample.Steps = 0, o.SamplerSteps[0]
	batches := (o.Samples + 79) / 80
	batch := (o.Samples + batches - 1) / batches
	if n := c.Data.NumClasses; n > 0 {
		c.Sample.PerClass = (batch + n - 1) / n
	} else {
		c.Sample.PerClass = int(math.Ceil(math.Sqrt(float64(batch))))
	}
}

// sameAsBefore refuses to go on with a folder that was made with other
// settings, and keeps these. Arms and seeds are not among them.
func (c *comparison) sameAsBefore() error {
	o := c.options
	common, err := LoadConfig(o.Preset, o.ConfigFile, o.Sets)
	if err != nil {
		return err
	}
	common.Runtime, common.CUDA = ConfigRuntime{}, ConfigCUDA{}
	now := []struct{ Key, Value string }{
		{"steps", fmt.Sprint(o.Steps)}, {"at", fmt.Sprint(o.At)}, {"sampler_steps", fmt.Sprint(o.SamplerSteps)}, {"samples", fmt.Sprint(o.Samples)},
		{"features", fmt.Sprintf("%s (input range %s, resize %s, output %q)", o.Features.Model, o.Features.InputRange, o.Features.Resize, o.Features.Output)},
		{"settings", common.Text()},
	}
	path := filepath.Join(o.Out, "compare.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = json.MarshalIndent(now, "", " "); err != nil {
			return err
		}
		return runlog.ReplaceFile(path, append(text, '\n'))
	}
	if err != nil {
		return err
	}
	before := slices.Clone(now)
	if err := json.Unmarshal(text, &before); err != nil {
		return fmt.Errorf("%s: %w: name another -out", path, err)
	}
	for i, was := range before {
		if i < len(now) && was != now[i] {
			if was.Key == "settings" {
				return fmt.Errorf("%s was made with other settings: name another -out, or put them back", o.Out)
			}
			return fmt.Errorf("%s was made with %s %s, now %s: name another -out, or put it back", o.Out, was.Key, was.Value, now[i].Value)
		}
	}
	return nil
}

// run trains one arm from one seed as far as it is not done, and returns its
// judgements.
func (c *comparison) run(ctx context.Context, arm Arm, config Config, seed int64) (*CompareRun, error) {
	config.Train.Seed = seed
	out := filepath.Join(c.options.Out, "runs", arm.Name, fmt.Sprintf("seed-%d", seed))
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("-out %s: %w", c.options.Out, err)
	}
	kept, err := openEvaluations(filepath.Join(out, "evaluations.jsonl"))
	if err != nil {
		return nil, err
	}
	defer kept.close()
	missing := func(step int) []int {
		var list []int
		for _, n := range c.options.SamplerSteps {
			if slices.Contains(c.options.At, step) && !kept.has(step, n) {
				list = append(list, n)
			}
		}
		return list
	}
	if slices.ContainsFunc(c.options.At, func(step int) bool { return len(missing(step)) > 0 }) {
		err := Train(ctx, config, TrainOptions{Out: out, Resume: "auto", Messages: c.options.Messages,
			observe: func(ctx context.Context, step int, t *trainer) error {
				for _, n := range missing(step) {
					e, err := c.judge.evaluate(ctx, t, step, n, gridPath(out, step, n))
					if err != nil {
						return err
					}
					if err := kept.add(e); err != nil {
						return err
					}
				}
				return nil
			}})
		if err != nil {
			return nil, err
		}
	}
	run := &CompareRun{Arm: arm.Name, Seed: seed}
	for _, step := range c.options.At {
		for _, n := range c.options.SamplerSteps {
			e, ok := kept.find(step, n)
			if !ok {
				return nil, fmt.Errorf("%s: step %d is past and was not judged with %d sampler steps: remove the folder, and the run is made again", out, step, n)
			}
			run.Evaluations = append(run.Evaluations, e)
		}
	}
	run.DistanceChange, err = distanceChange(filepath.Join(out, "log.jsonl"))
	return run, err
}

// gridPath is where a run's samples of a step are shown.
func gridPath(out string, step, samplerSteps int) string {
	return filepath.Join(out, "samples", fmt.Sprintf("judged-%d-sampler-%d.png", step, samplerSteps))
}

// GridFile is the picture of an arm's samples after the last step, in the
// comparison's folder.
func GridFile(arm string, seed int64, steps, samplerSteps int) string {
	return gridPath(filepath.Join("runs", arm, fmt.Sprintf("seed-%d", seed)), steps, samplerSteps)
}
