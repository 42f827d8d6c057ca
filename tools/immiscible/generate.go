package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/sampler"
)

func generate() Command {
	var o pipeline.ImagesOptions
	var classes string
	var threads int
	return Command{
		Name: "generate",
		Usage: `-model DIR -out DIR [-classes all|LIST] [-n N] [-sampler S] [-steps N] [-eta E] [-guidance G]
  [-seed S] [-latents F.npy] [-weights ema|raw] [-batch N] [-provider P] [-threads N]`,
		Short: "make images from a trained model",
		Long: `Writes n PNGs for each class (or n in all, of an unconditional model) and manifest.jsonl, a line an
image: file, index, seed, class, sampler, steps, guidance, eta, weights, model, latents.

An image is decided by the model, the seed, its class and its index, whatever the batch: any one can
be made again alone. The same command goes on where it was stopped and makes only what is missing;
other classes may join the folder, other settings want another one. LIST is like 0,3,5-7.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.Model, "model", "", "diffusers folder `DIR`, such as runs/fashion-mnist/checkpoint-1000")
			flags.StringVar(&o.Out, "out", "", "folder `DIR` for the images")
			flags.StringVar(&classes, "classes", "all", "`all`, or a list of classes")
			flags.IntVar(&o.PerClass, "n", 1, "images a class")
			flags.StringVar(&o.Sampler, "sampler", "ddim", strings.Join(sampler.Names(), " or "))
			flags.IntVar(&o.Steps, "steps", 50, "denoising steps")
			flags.Float64Var(&o.Eta, "eta", 0, "noise that DDIM puts back, 0 to 1")
			flags.Float64Var(&o.Guidance, "guidance", 1, "classifier-free guidance scale; 1 is off")
			flags.Uint64Var(&o.Seed, "seed", 0, "seed of the noise")
			flags.StringVar(&o.Latents, "latents", "", "initial noise [images, C, H, W] from `F.npy`")
			flags.StringVar(&o.Weights, "weights", "ema", "`ema` or raw")
			flags.IntVar(&o.Batch, "batch", 32, "images in memory at once, at least 2; changes no image")
			flags.StringVar(&o.Engine.Provider, "provider", "auto", "auto, cpu or cuda")
			threadsFlag(flags, &threads)
		},
		Run: func(ctx context.Context, args []string, _, stderr io.Writer) error {
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q", args[0])
			case o.Model == "":
				return usagef("no -model, want a diffusers folder")
			case o.Out == "":
				return usagef("no -out, want a folder for the images")
			case o.PerClass < 1:
				return usagef("-n %d, want at least 1", o.PerClass)
			case o.Batch < 1:
				return usagef("-batch %d, want at least 1", o.Batch)
			case o.Steps < 1:
				return usagef("-steps %d, want at least 1", o.Steps)
			case !slices.Contains(sampler.Names(), o.Sampler):
				return usagef("-sampler %q, want %s", o.Sampler, strings.Join(sampler.Names(), " or "))
			case o.Weights != "ema" && o.Weights != "raw":
				return usagef("-weights %q, want ema or raw", o.Weights)
			case !(o.Eta >= 0 && o.Eta <= 1):
				return usagef("-eta %g, want 0 to 1", o.Eta)
			case math.IsNaN(o.Guidance) || math.IsInf(o.Guidance, 0):
				return usagef("-guidance %g, want a number", o.Guidance)
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			if err := checkProvider(o.Engine.Provider); err != nil {
				return err
			}
			var err error
			if o.Classes, err = parseClasses(classes); err != nil {
				return err
			}
			o.Engine.Threads = threads
			o.Engine.Log = func(line string) { fmt.Fprintln(stderr, line) }
			o.Messages = stderr
			return pipeline.GenerateImages(ctx, o)
		},
	}
}

// parseClasses reads "all" as nil, and a list such as 0,3,5-7.
func parseClasses(text string) ([]int, error) {
	if text == "all" {
		return nil, nil
	}
	seen := map[int]bool{}
	var list []int
	for _, item := range strings.Split(text, ",") {
		from, to, isRange := strings.Cut(item, "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(strings.TrimSpace(from))
		b, err2 := strconv.Atoi(strings.TrimSpace(to))
		if err1 != nil || err2 != nil || a > b || a < 0 {
			return nil, usagef("-classes %q: %q is no class and no range, want all or a list such as 0,3,5-7", text, item)
		}
		for c := a; c <= b; c++ {
			if seen[c] {
				return nil, usagef("-classes %q names class %d twice", text, c)
			}
			seen[c] = true
			list = append(list, c)
		}
	}
	return list, nil
}
