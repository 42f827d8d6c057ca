package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/metrics/fashion"
	"immiscible/pipeline/sampler"
	"immiscible/pipeline/whole"
)

// analyzeFlags are what the analyses of trained models have in common.
type analyzeFlags struct {
	options pipeline.AnalyzeOptions
	classes string
	out     string
	threads int
	asJSON  bool
}

// analyzeWhich tells how models are named, for the help of each analysis.
const analyzeWhich = `
MODELs are diffusers folders, such as the checkpoints that the arms of compare left; all see the same
noises, which are those of generate with the same -seed. The pictures' names tell them apart by what
their paths do not have in common.`

// analyzeData tells what images are held against.
const analyzeData = `
The data is that of the first model's run (config.toml in the folder above it), or of -config.`

// declare declares the flags; n is the default of -n, and what it counts.
func (f *analyzeFlags) declare(flags *flag.FlagSet, n int, what string) {
	o := &f.options
	flags.IntVar(&o.N, "n", n, what+" `N`")
	flags.StringVar(&f.classes, "classes", "all", "`all`, or a list of classes")
	flags.Uint64Var(&o.Seed, "seed", 0, "seed of the noise")
	flags.StringVar(&o.Weights, "weights", "ema", "`ema` or raw")
	flags.IntVar(&o.Batch, "batch", 0, "images in memory at once; changes no image")
	flags.StringVar(&f.out, "out", filepath.Join("runs", "analyze"), "folder `DIR` for the pictures and the JSON")
	flags.StringVar(&o.Engine.Provider, "provider", "auto", "auto, cpu or cuda")
	threadsFlag(flags, &f.threads)
	jsonFlag(flags, &f.asJSON)
}

// declareSampling declares how images are made.
func (f *analyzeFlags) declareSampling(flags *flag.FlagSet) {
	o := &f.options
	flags.Func("prompt", "one prompt `TEXT` for a model that takes text; may be given several times", func(text string) error {
		o.Prompts = append(o.Prompts, text)
		return nil
	})
	o.Guidance = math.NaN()
	flags.Func("guidance", "classifier-free guidance scale `G`; default as for generate", func(text string) (err error) {
		o.Guidance, err = strconv.ParseFloat(text, 64)
		return err
	})
}

// declareData declares what images are held against.
func (f *analyzeFlags) declareData(flags *flag.FlagSet) {
	flags.StringVar(&f.options.ConfigFile, "config", "", "TOML file `F` whose [data] is the models'; default that of the first one's run")
}

func (f *analyzeFlags) declareFeatures(flags *flag.FlagSet) {
	o := &f.options.Features
	flags.StringVar(&o.Model, "features", fashion.Name, "network `F` of the FID: an ONNX file, or fashion-mnist")
	flags.StringVar(&o.InputRange, "input_range", "0..1", strings.Join(extractor.Ranges(), ", "))
	flags.StringVar(&o.Resize, "resize", extractor.ResizeClean, "to a network's fixed size: clean or pytorch")
	flags.StringVar(&o.Output, "output", "", "`NAME` of the network's output; the first")
}

// check refuses wrong use, and makes the folder of the results.
func (f *analyzeFlags) check(args []string, stderr io.Writer) (err error) {
	o := &f.options
	o.Models = args
	switch {
	case len(args) == 0:
		return usagef("no MODEL, want at least one diffusers folder")
	case o.N < 2:
		return usagef("-n %d, want at least 2", o.N)
	case o.Batch < 0:
		return usagef("-batch %d, want 0 or more", o.Batch)
	case o.Weights != "ema" && o.Weights != "raw":
		return usagef("-weights %q, want ema or raw", o.Weights)
	case math.IsInf(o.Guidance, 0):
		return usagef("-guidance %g, want a number", o.Guidance)
	case o.Sampler != "" && !slices.Contains(sampler.Names(), o.Sampler):
		return usagef("-sampler %q, want one of %s", o.Sampler, strings.Join(sampler.Names(), ", "))
	case f.out == "":
		return usagef("-out is empty, want a folder")
	}
	if o.Classes, err = parseList("classes", f.classes); err != nil {
		return err
	}
	if err := checkProvider(o.Engine.Provider); err != nil {
		return err
	}
	if err := useThreads(f.threads); err != nil {
		return err
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", f.out, err)
	}
	o.Engine.Threads, o.Messages = f.threads, stderr
	o.Engine.Log = func(line string) { fmt.Fprintln(stderr, line) }
	return nil
}

// write puts a picture or an array beside the results.
func (f *analyzeFlags) write(name string, data []byte, err error) error {
	if err != nil {
		return err
	}
	return whole.File(filepath.Join(f.out, name), data)
}

// report keeps the JSON and prints it, or the text.
func (f *analyzeFlags) report(stdout io.Writer, name string, value any, text string) error {
	file, err := json.MarshalIndent(value, "", " ")
	if err := f.write(name, append(file, '\n'), err); err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(stdout, value)
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// fileName makes a model's short name one of a file.
func fileName(m pipeline.AnalyzedModel) string { return strings.ReplaceAll(m.Name, "/", "-") }

// figuresTable is a block of lines for each figure, a line a model.
func figuresTable(at []string, names []string, figures [][]pipeline.ImageFigures, reference pipeline.AnalyzedSet) string {
	var b strings.Builder
	for _, part := range imageFigureParts {
		fmt.Fprintf(&b, "%-28s", part.Text)
		for _, a := range at {
			fmt.Fprintf(&b, " %9s", a)
		}
		b.WriteString("\n")
		for i, name := range names {
			fmt.Fprintf(&b, "  %-26s", name)
			for _, f := range figures[i] {
				fmt.Fprintf(&b, " %9.4g", part.Of(f))
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "  %-26s", "the data itself")
		for i := range at {
			if i == len(at)-1 {
				fmt.Fprintf(&b, " %9.4g\n", part.Of(reference.ImageFigures))
			} else {
				fmt.Fprintf(&b, " %9s", "")
			}
		}
	}
	return b.String()
}

// imageFigureParts are the figures of images, and what they are called.
var imageFigureParts = []struct {
	Text string
	Of   func(pipeline.ImageFigures) float64
}{
	{"FID", func(f pipeline.ImageFigures) float64 { return f.FID }},
	{"deviation over the noises", func(f pipeline.ImageFigures) float64 { return f.Std }},
	{"distance to nearest image", func(f pipeline.ImageFigures) float64 { return f.Nearest }},
}
