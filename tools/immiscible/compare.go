package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
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
  report.html    curves, tables and samples in one file that needs no network
  report.json    every figure; the same bytes however often the comparison was stopped
  measured.json  machine, versions, times, and what each arm did to the law of the noise
  *.png          the curves
  runs/          the runs, as train leaves them

An arm is a pairing: ` + strings.Join(pipeline.ArmNames(), ", ") + `;
or one's own, as name:key=value;key=value with keys of [noise] (or table.key). linear, centred, whitened
and annealed go by class where labels condition the model. The first arm is the baseline: speed-up is
its steps to its lowest FID over another's steps to the same, seed by seed (where the other never gets
there: at the lowest FID that both reach); between judged steps log FID is linear. Intervals are of
95 %, by Student's t over the seeds: three or more are worth having.

The same command goes on where it was stopped; arms and seeds may join. A run whose numbers stop being
finite is recorded as diverged, and the others go on. Models of text are judged by the captions of the
data. -features fashion-mnist is the classifier that comes with this program, for images like
Fashion-MNIST's; for others name an ONNX file (see evaluate). S is a number of seeds, counted from 0,
or a list. A LIST is like 100,200,400.`,
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
			built, err := buildVersion()
			if err != nil {
				return err
			}
			o.Program = built.String()
			report, err := pipeline.Compare(ctx, o)
			if err != nil {
				return err
			}
			if err := writeComparison(o.Out, compareCommand(o), report); err != nil {
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

// plainWord is what a shell takes as it stands.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./,:=+*@%-]+$`)

// compareCommand is the command that makes the comparison, for the report:
// without the folder, and without what only says where it runs.
func compareCommand(o pipeline.CompareOptions) string {
	list := func(numbers []int) string {
		return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(numbers), "[]")), ",")
	}
	words := []string{"immiscible", "compare", "-arms", strings.Join(o.Arms, ","), "-steps", strconv.Itoa(o.Steps), "-seeds", seedsFlag(o.Seeds),
		"-at", list(o.At), "-sampler_steps", list(o.SamplerSteps), "-samples", strconv.Itoa(o.Samples)}
	for _, flag := range []struct{ name, value, usual string }{
		{"-preset", o.Preset, ""}, {"-config", o.ConfigFile, ""}, {"-features", o.Features.Model, fashion.Name}, {"-input_range", o.Features.InputRange, "0..1"},
		{"-resize", o.Features.Resize, extractor.ResizeClean}, {"-output", o.Features.Output, ""},
	} {
		if flag.value != flag.usual {
			words = append(words, flag.name, flag.value)
		}
	}
	for _, set := range o.Sets {
		if !strings.HasPrefix(set, "runtime.") {
			words = append(words, "-set", set)
		}
	}
	for i, w := range words {
		if !plainWord.MatchString(w) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// seedsFlag is what -seeds takes: their number where they count from 0.
func seedsFlag(seeds []int64) string {
	var words []string
	counted := true
	for i, s := range seeds {
		words = append(words, strconv.FormatInt(s, 10))
		counted = counted && s == int64(i)
	}
	if counted {
		return strconv.Itoa(len(seeds))
	}
	return strings.Join(words, ",")
}
