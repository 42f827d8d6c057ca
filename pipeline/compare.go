package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"immiscible/datasets"
	"immiscible/models/engine"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/whole"
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
	Program            string    // version of the program, for measured.json
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
// the moving average at the given steps, and writes report.json, measured.json
// and the grids of samples. What an earlier call with the same settings has
// finished is kept, and a run that was stopped goes on; arms and seeds may join. A
// run that cannot go on because its numbers are not finite is recorded as
// diverged, and the others go on.
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
	c.report.Measured = newMeasured(e, o.Program)
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
	if err := whole.File(filepath.Join(o.Out, "report.json"), append(text, '\n')); err != nil {
		return nil, err
	}
	return c.report, c.report.Measured.write(ctx, filepath.Join(o.Out, "measured.json"), common)
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
		Sampler: common.Sample.Sampler, GuidanceScale: common.Sample.GuidanceScale, Samples: o.Samples,
		Conditioned: common.Data.NumClasses > 0 && common.Data.Captions == datasets.CaptionsNone, Prompts: common.Data.Captions != datasets.CaptionsNone}
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
	switch n := c.Data.NumClasses; {
	case c.Data.Captions != datasets.CaptionsNone:
		c.Sample.PerClass = 1 // such models are large, and samples are made in micro-batches
	case n > 0:
		c.Sample.PerClass = (batch + n - 1) / n
	default:
		c.Sample.PerClass = int(math.Ceil(math.Sqrt(float64(batch))))
	}
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
	run := &CompareRun{Arm: arm.Name, Seed: seed}
	if run.Diverged, err = readDiverged(out); err != nil {
		return nil, err
	}
	if len(kept.all) > 0 || run.Diverged != nil {
		if err := sameArm(out, config); err != nil {
			return nil, err
		}
	}
	if run.Diverged == nil {
		if run.Diverged, err = c.train(ctx, config, out, kept); err != nil {
			return nil, err
		}
	}
	if d := run.Diverged; d != nil {
		fmt.Fprintf(c.options.Messages, "%s, seed %d diverged at step %d (%s); the others go on\n", arm.Name, seed, d.Step, d.Why)
	}
	for _, step := range c.options.At {
		for _, n := range c.options.SamplerSteps {
			e, ok := kept.find(step, n)
			switch {
			case ok:
				run.Evaluations = append(run.Evaluations, e.CompareEvaluation)
			case run.Diverged == nil:
				return nil, fmt.Errorf("%s: step %d is past and was not judged with %d sampler steps: remove the folder, and the run is made again", out, step, n)
			}
		}
	}
	log, err := readRunLog(filepath.Join(out, "log.jsonl"))
	if err != nil {
		return nil, err
	}
	run.DistanceChange = distanceChange(log)
	return run, c.report.Measured.add(run, log, kept, out)
}

// train makes the judgements of a run that are missing, and the run as far as
// they need it.
func (c *comparison) train(ctx context.Context, config Config, out string, kept *evaluations) (*CompareDiverged, error) {
	missing := func(step int) []int {
		var list []int
		for _, n := range c.options.SamplerSteps {
			if slices.Contains(c.options.At, step) && !kept.has(step, n) {
				list = append(list, n)
			}
		}
		return list
	}
	if !slices.ContainsFunc(c.options.At, func(step int) bool { return len(missing(step)) > 0 }) {
		return nil, nil
	}
	judging := 0
	err := Train(ctx, config, TrainOptions{Out: out, Resume: "auto", Messages: c.options.Messages,
		observe: func(ctx context.Context, step int, t *trainer) error {
			for _, n := range missing(step) {
				judging = step
				start := time.Now()
				e, err := c.judge.evaluate(ctx, t, step, n, gridPath(out, step, n))
				if err != nil {
					return err
				}
				if err := kept.add(keptEvaluation{e, time.Since(start).Seconds()}); err != nil {
					return err
				}
			}
			return nil
		}})
	if err == nil || ctx.Err() != nil {
		return nil, err
	}
	d, ok, keepErr := keepDiverged(out, judging, err)
	if !ok {
		return nil, errors.Join(err, keepErr)
	}
	return d, keepErr
}

// gridPath is where a run's samples of a step are shown.
func gridPath(out string, step, samplerSteps int) string {
	return filepath.Join(out, "samples", fmt.Sprintf("judged-%d-sampler-%d.png", step, samplerSteps))
}

// GridFile is the picture of a run's samples after a judged step, in the
// comparison's folder.
func GridFile(arm string, seed int64, step, samplerSteps int) string {
	return gridPath(filepath.Join("runs", arm, fmt.Sprintf("seed-%d", seed)), step, samplerSteps)
}
