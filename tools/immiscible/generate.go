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

// maxPerClass bounds -n: each image of a call has a record in memory.
const maxPerClass = 1 << 20

func generate() Command {
	var o pipeline.ImagesOptions
	var classes, indices, prompts, resolution string
	var threads int
	var set *flag.FlagSet
	return Command{
		Name: "generate",
		Usage: `-model DIR -out DIR [-prompts FILE | -prompt TEXT | -classes all|LIST]
  [-class_names FILE] [-template T] [-n N | -indices LIST] [-negative TEXT] [-sampler S]
  [-steps N] [-eta E] [-guidance G] [-seed S] [-latents F.npy] [-resolution R|HxW]
  [-weights ema|raw] [-batch N] [-provider P] [-threads N]`,
		Short: "make images from a trained model",
		Long: `Writes n PNGs for each prompt or class (or n in all, of an unconditional model) and manifest.jsonl, a
line an image: file, index, seed, class or prompt, sampler, steps, guidance and more. The same stands in
the picture's text chunks "parameters" and "immiscible" (JSON). A model that takes text makes classes of
captions: their names in a template.

An image is decided by the model, the seed, its class or prompt and its index, whatever the batch: any
one can be made again alone (-indices). A prompt that stands twice is two; an empty line is one. The same
command goes on where it was stopped and makes only what is missing; other classes may join the folder,
other settings want another one. LIST is like 0,3,5-7.`,
		Flags: func(flags *flag.FlagSet) {
			set = flags
			flags.StringVar(&o.Model, "model", "", "diffusers folder `DIR`, such as runs/fashion-mnist/checkpoint-1000")
			flags.StringVar(&o.Out, "out", "", "folder `DIR` for the images")
			flags.StringVar(&prompts, "prompts", "", "`FILE` of prompts, one a line")
			flags.Func("prompt", "one prompt `TEXT`; may be given several times", func(text string) error {
				o.Prompts = append(o.Prompts, text)
				return nil
			})
			flags.StringVar(&o.Negative, "negative", "", "negative prompt `TEXT`: guidance leads away from it")
			flags.StringVar(&classes, "classes", "all", "`all`, or a list of classes")
			flags.StringVar(&o.ClassNames, "class_names", "", "`FILE` of class names, one a line; default class_names.txt of the model")
			flags.StringVar(&o.Template, "template", "", "caption of a class: {class}, or its {first} or any {synonym}; default the training's")
			flags.IntVar(&o.PerClass, "n", 1, "images a class or prompt")
			flags.StringVar(&indices, "indices", "", "`LIST` of images of each class or prompt, instead of the first n")
			flags.StringVar(&o.Sampler, "sampler", "", strings.Join(sampler.Names(), ", ")+"; default: the folder's (DDPM's: ddim)")
			flags.IntVar(&o.Steps, "steps", 50, "denoising steps")
			flags.Float64Var(&o.Eta, "eta", 0, "noise that DDIM puts back, 0 to 1")
			o.Guidance = math.NaN()
			flags.Func("guidance", "classifier-free guidance scale `G`; 1 is off; default 7.5 of a model that takes text, else 1", func(text string) (err error) {
				o.Guidance, err = strconv.ParseFloat(text, 64)
				return err
			})
			flags.Uint64Var(&o.Seed, "seed", 0, "seed of the noise")
			flags.StringVar(&o.Latents, "latents", "", "initial noise [images, C, H, W] from `F.npy`")
			flags.StringVar(&resolution, "resolution", "", "pixels `R` or HxW; default the config's sample_size")
			flags.StringVar(&o.Weights, "weights", "ema", "`ema` or raw")
			flags.IntVar(&o.Batch, "batch", 0, "images in memory at once, default 32, or 4 of a model that takes text; changes no image")
			flags.StringVar(&o.Engine.Provider, "provider", "auto", "auto, cpu or cuda")
			threadsFlag(flags, &threads)
		},
		Run: func(ctx context.Context, args []string, _, stderr io.Writer) error {
			given := map[string]bool{}
			set.Visit(func(f *flag.Flag) { given[f.Name] = true })
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q", args[0])
			case o.Model == "":
				return usagef("no -model, want a diffusers folder")
			case o.Out == "":
				return usagef("no -out, want a folder for the images")
			case given["prompts"] && given["prompt"]:
				return usagef("-prompts and -prompt, want one of them")
			case (given["prompts"] || given["prompt"]) && given["classes"]:
				return usagef("prompts and -classes, want one of them")
			case given["indices"] && given["n"]:
				return usagef("-n and -indices, want one of them")
			case o.PerClass < 1 || o.PerClass > maxPerClass:
				return usagef("-n %d, want 1 to %d", o.PerClass, maxPerClass)
			case given["batch"] && o.Batch < 1:
				return usagef("-batch %d, want at least 1", o.Batch)
			case o.Steps < 1:
				return usagef("-steps %d, want at least 1", o.Steps)
			case given["sampler"] && !slices.Contains(sampler.Names(), o.Sampler):
				return usagef("-sampler %q, want one of %s", o.Sampler, strings.Join(sampler.Names(), ", "))
			case o.Weights != "ema" && o.Weights != "raw":
				return usagef("-weights %q, want ema or raw", o.Weights)
			case !(o.Eta >= 0 && o.Eta <= 1):
				return usagef("-eta %g, want 0 to 1", o.Eta)
			case given["guidance"] && (math.IsNaN(o.Guidance) || math.IsInf(o.Guidance, 0)):
				return usagef("-guidance %g, want a number", o.Guidance)
			}
			var err error
			if o.Height, o.Width, err = parseResolution(resolution); err != nil {
				return err
			}
			if o.Classes, err = parseList("classes", classes); err != nil {
				return err
			}
			if o.Indices, err = parseList("indices", indices); err != nil {
				return err
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			if err := checkProvider(o.Engine.Provider); err != nil {
				return err
			}
			if given["prompts"] {
				if o.Prompts, err = pipeline.ReadPrompts(prompts); err != nil {
					return err
				}
			}
			o.Engine.Threads = threads
			o.Engine.Log = func(line string) { fmt.Fprintln(stderr, line) }
			o.Messages = stderr
			return pipeline.GenerateImages(ctx, o)
		},
	}
}

// parseList reads a list such as 0,3,5-7, and "" and "all" as nil.
func parseList(name, text string) ([]int, error) {
	if text == "" && name == "indices" || text == "all" && name == "classes" {
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
		if err1 != nil || err2 != nil || a > b || a < 0 || b > 1<<24 {
			return nil, usagef("-%s %q: %q is no number and no range, want a list such as 0,3,5-7", name, text, item)
		}
		for c := a; c <= b; c++ {
			if seen[c] {
				return nil, usagef("-%s %q names %d twice", name, text, c)
			}
			seen[c] = true
			list = append(list, c)
		}
	}
	return list, nil
}

// maxPixels bounds -resolution: a graph has constants of an image's size, so that
// a slip of the finger would end the program for want of memory. It is the upper
// end of [data] resolution's range too.
const maxPixels = 16384

// parseResolution reads pixels, R or HxW; zeros where there are none.
func parseResolution(text string) (height, width int, err error) {
	if text == "" {
		return 0, 0, nil
	}
	if n, err := fmt.Sscanf(text+" ", "%dx%d ", &height, &width); n != 2 || err != nil {
		if n, err := fmt.Sscanf(text+" ", "%d ", &height); n != 1 || err != nil || fmt.Sprint(height) != text {
			return 0, 0, usagef("-resolution %q, want pixels: R or HxW", text)
		}
		width = height
	}
	if height < 1 || width < 1 {
		return 0, 0, usagef("-resolution %q, want at least 1", text)
	}
	if height > maxPixels || width > maxPixels {
		return 0, 0, usagef("-resolution %q, want at most %d", text, maxPixels)
	}
	return height, width, nil
}
