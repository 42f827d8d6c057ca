package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/sampler"
)

func analyzeSteps() Command {
	var f analyzeFlags
	var steps string
	const show = 10
	return Command{
		Name: "analyze steps",
		Usage: `MODEL… [-steps LIST] [-sampler S] [-n N] [-classes all|LIST] [-prompt TEXT]…
  [-guidance G] [-config F] [-features F] [-out DIR] [-json]`,
		Short: "a trained model's images by number of sampler steps",
		Long: `Makes n images of the same noises with each number of denoising steps (paper 1, Fig. 5) and measures
  FID        against the data ("fid" in JSON)
  deviation  of a pixel over the noises, within classes where they condition ("std")
  nearest    mean Euclidean distance to the nearest image of the data ("nearest")
"the data itself" are the same figures of n images of the data.` + analyzeData + `
` + analyzeWhich + `

-json: {steps, n, reference, models: [{name, model, steps: [figures]}], …}.
Writes into DIR: steps.json (the same), steps.png (curves), and steps-NAME.png (images) for each
model. FID by training steps, from training on, is what compare gives.`,
		Flags: func(flags *flag.FlagSet) {
			f.declare(flags, 500, "images")
			flags.StringVar(&steps, "steps", "2,5,10,20,50", "numbers of denoising steps, a rising `LIST`")
			flags.StringVar(&f.options.Sampler, "sampler", "", strings.Join(sampler.Names(), ", ")+"; default: the folder's (DDPM's: ddim)")
			f.declareSampling(flags)
			f.declareData(flags)
			f.declareFeatures(flags)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			list, err := parseRising("-steps", steps)
			if err != nil {
				return err
			}
			if err := f.check(args, stderr); err != nil {
				return err
			}
			r, err := pipeline.AnalyzeSteps(ctx, f.options, list, show)
			if err != nil {
				return err
			}
			var at []float64
			var columns, names []string
			var figures [][]pipeline.ImageFigures
			for _, n := range r.Steps {
				at, columns = append(at, float64(n)), append(columns, fmt.Sprint(n))
			}
			for _, m := range r.Models {
				names, figures = append(names, m.Name), append(figures, m.Steps)
				file, err := stepsGrid(r, m).encode()
				if err := f.write("steps-"+fileName(m.AnalyzedModel)+".png", file, err); err != nil {
					return err
				}
			}
			file, err := figuresPNG("", "sampler steps", at, true, names, figures, r.Reference, func(x float64) string { return fmt.Sprint(x) })
			if err := f.write("steps.png", file, err); err != nil {
				return err
			}
			text := fmt.Sprintf("%s, %d images, FID in %s features against %s; by number of steps\n", r.Sampler, r.N, r.Features.Name, r.Reference.Name) +
				figuresTable(columns, names, figures, r.Reference) + f.out + " shows it\n"
			return f.report(stdout, "steps.json", r, text)
		},
	}
}

// stepsGrid shows a row for each number of steps, a column a noise.
func stepsGrid(r *pipeline.StepsReport, m pipeline.StepsModel) imageGrid {
	g := imageGrid{Title: fmt.Sprintf("%s: %s, the same noises", m.Name, r.Sampler)}
	for i, n := range r.Steps {
		g.Rows = append(g.Rows, imageRow{Name: fmt.Sprintf("%d steps", n), Images: m.Shown[i], Channels: m.Channels, Side: m.Side})
	}
	return g
}
