package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/metrics/fashion"
)

func compare() Command {
	var o pipeline.CompareOptions
	var arms, seeds, at, samplerSteps, provider string
	var sets list
	var asJSON bool
	var threads int
	return Command{
		Name: "compare",
		Usage: `[-arms A,B,…] [-steps N] [-seeds S] [-at LIST] [-sampler_steps LIST] [-samples N] [-out DIR]
  [-preset P] [-config F] [-set table.key=value]… [-features F] [-input_range R] [-resize R] [-output NAME]
  [-provider P] [-threads N] [-json]`,
		Short: "train the same model with different pairings, and compare",
		Long: `Trains each arm from each seed, with the same initial weights, order of images, timesteps and draws
of noise for all arms of a seed, judges samples of the moving average by FID after the steps of -at,
with each number of -sampler_steps, and writes into DIR:
  report.html   curves, tables and samples in one file that needs no network
  report.json   every figure; curves are means over the seeds, intervals resample them
  *.png         the curves
  runs/         the runs, as train leaves them

An arm is a pairing: ` + strings.Join(pipeline.ArmNames(), ", ") + `;
or one's own, as name:key=value;key=value with keys of [noise] (or table.key). linear, centred, whitened
and annealed go by class where labels condition the model. The first arm is the baseline: speed-up is
its steps to its lowest FID over another's steps to the same, on the judged steps.

The same command goes on where it was stopped; arms and seeds may join. -features fashion-mnist is the
classifier that comes with this program, for images like Fashion-MNIST's; for others name an ONNX file
(see evaluate). S is a number of seeds, counted from 0, or a list. A LIST is like 100,200,400.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&arms, "arms", "independent,linear", "pairings, the first one the baseline")
			flags.IntVar(&o.Steps, "steps", 1000, "optimizer steps of a run")
			flags.StringVar(&seeds, "seeds", "1", "number of seeds, or a list of them")
			flags.StringVar(&at, "at", "", "steps that are judged; quarters of -steps")
			flags.StringVar(&samplerSteps, "sampler_steps", "5,20", "numbers of denoising steps of the samples")
			flags.IntVar(&o.Samples, "samples", 0, "images a judgement; 0: as many as -steps, 64 at least and 1,000 at most")
			flags.StringVar(&o.Out, "out", filepath.Join("runs", "compare"), "folder `DIR` of the comparison")
			flags.StringVar(&o.Preset, "preset", "", presetNames())
			flags.StringVar(&o.ConfigFile, "config", "", "TOML file `F` with settings")
			flags.Var(&sets, "set", "one setting, `table.key=value`; may be repeated")
			flags.StringVar(&o.Features.Model, "features", fashion.Name, "network `F`: an ONNX file, or fashion-mnist")
			flags.StringVar(&o.Features.InputRange, "input_range", "0..1", strings.Join(extractor.Ranges(), ", "))
			flags.StringVar(&o.Features.Resize, "resize", extractor.ResizeClean, "to a network's fixed size: clean or pytorch")
			flags.StringVar(&o.Features.Output, "output", "", "`NAME` of the network's output; the first")
			flags.StringVar(&provider, "provider", "", "auto, cpu or cuda; the settings'")
			threadsFlag(flags, &threads)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if len(args) != 0 {
				return usagef("unexpected argument %q", args[0])
			}
			if err := compareLists(&o, arms, seeds, at, samplerSteps); err != nil {
				return err
			}
			o.Sets = sets
			if provider != "" {
				if err := checkProvider(provider); err != nil {
					return err
				}
				o.Sets = append(o.Sets, "runtime.provider="+provider)
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			if threads > 0 {
				o.Sets = append(o.Sets, fmt.Sprintf("runtime.threads=%d", threads))
			}
			o.Messages = stderr
			report, err := pipeline.Compare(ctx, o)
			if err != nil {
				return err
			}
			if err := writeComparison(o.Out, report); err != nil {
				return err
			}
			if asJSON {
				return printJSON(stdout, report)
			}
			_, err = io.WriteString(stdout, comparisonText(report)+filepath.Join(o.Out, "report.html")+" shows it\n")
			return err
		},
	}
}

// compareLists reads the flags that hold lists, and refuses what cannot be.
func compareLists(o *pipeline.CompareOptions, arms, seeds, at, samplerSteps string) error {
	o.Arms = strings.Split(arms, ",")
	if o.Steps < 1 {
		return usagef("-steps %d, want at least 1", o.Steps)
	}
	if o.Samples == 0 {
		o.Samples = min(1000, max(64, o.Steps))
	}
	if o.Samples < 2 {
		return usagef("-samples %d, want at least 2", o.Samples)
	}
	if o.Out == "" {
		return usagef("-out is empty, want a folder")
	}
	numbers, err := parseNumbers("-seeds", seeds, 0)
	if err != nil {
		return err
	}
	if len(numbers) == 1 && !strings.Contains(seeds, ",") {
		if numbers[0] < 1 {
			return usagef("-seeds %d, want at least 1, or a list such as 0,5", numbers[0])
		}
		count := numbers[0]
		numbers = nil
		for i := range count {
			numbers = append(numbers, i)
		}
	}
	for _, n := range numbers {
		if slices.Contains(o.Seeds, int64(n)) {
			return usagef("-seeds %s names %d twice", seeds, n)
		}
		o.Seeds = append(o.Seeds, int64(n))
	}
	if at == "" {
		for i := range 4 {
			if n := max(1, o.Steps*(i+1)/4); !slices.Contains(o.At, n) {
				o.At = append(o.At, n)
			}
		}
	} else if o.At, err = parseRising("-at", at); err != nil {
		return err
	}
	if last := o.At[len(o.At)-1]; last > o.Steps {
		return usagef("-at %s goes beyond -steps %d", at, o.Steps)
	} else if last < o.Steps {
		o.At = append(o.At, o.Steps) // the end is always judged
	}
	o.SamplerSteps, err = parseRising("-sampler_steps", samplerSteps)
	return err
}

// parseRising reads a list of rising numbers from 1 up.
func parseRising(name, text string) ([]int, error) {
	numbers, err := parseNumbers(name, text, 1)
	if err == nil && !slices.IsSorted(numbers) || len(slices.Compact(slices.Clone(numbers))) != len(numbers) {
		return nil, usagef("%s %s, want each number larger than the one before", name, text)
	}
	return numbers, err
}

func parseNumbers(name, text string, least int) ([]int, error) {
	var numbers []int
	for _, item := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(item))
		if err != nil || n < least {
			return nil, usagef("%s %q: %q is no number from %d up", name, text, item, least)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// comparisonText is a comparison for people.
func comparisonText(r *pipeline.Comparison) string {
	var b strings.Builder
	fmt.Fprintf(&b, "FID in %s features, %d samples, mean of %d seeds, against %s\n", r.Features.Name, r.Samples, len(r.Seeds), r.Reference.Name)
	fmt.Fprintf(&b, "%-20s %13s", "arm", "sampler steps")
	for _, step := range r.At {
		fmt.Fprintf(&b, " %9d", step)
	}
	b.WriteString("\n")
	for _, c := range r.Curves {
		fmt.Fprintf(&b, "%-20s %13d", c.Arm, c.SamplerSteps)
		for _, x := range c.FID {
			fmt.Fprintf(&b, " %9.3f", x)
		}
		b.WriteString("\n")
	}
	for _, s := range r.Speedups {
		fmt.Fprintf(&b, "%s, %d sampler steps: %s\n", s.Arm, s.SamplerSteps, speedupText(r, s))
	}
	return b.String()
}

// speedupText says what a speed-up is, in words that do not claim more.
func speedupText(r *pipeline.Comparison, s pipeline.CompareSpeedup) string {
	text := fmt.Sprintf("%s reaches its lowest FID, %.3f, at step %.0f; ", r.Arms[0].Name, s.ThresholdFID, s.BaselineSteps)
	if s.Speedup == nil {
		text += "this arm does not within the run"
	} else {
		text += fmt.Sprintf("this arm is there at step %.0f, %.2f × as fast", *s.ArmSteps, *s.Speedup)
	}
	if s.Interval != nil {
		text += fmt.Sprintf(" (95 %% of resampled seeds: %.2f to %.2f)", s.Interval[0], s.Interval[1])
	}
	return text
}
