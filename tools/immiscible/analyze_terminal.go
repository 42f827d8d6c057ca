package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"strings"

	"immiscible/pipeline"
)

func analyzeTerminal() Command {
	var f analyzeFlags
	const show = 10
	return Command{
		Name:  "analyze terminal",
		Usage: `MODEL… [-n N] [-classes all|LIST] [-config F] [-out DIR] [-json]`,
		Short: "the papers' theory check: what a trained model makes of pure noise",
		Long: `Gives the model pure noise as x_T at the last timestep. Noise that is independent of the image tells
nothing of it: the optimum of vanilla training then predicts the mean image (of the class, where classes
condition), and for noise a·mean + b·x_T with a = −√ᾱ/√(1−ᾱ), b = 1/√(1−ᾱ) (paper 1, §3). Each with its
standard error over n noises:
  residual        root mean square of the predicted noise less that, a number
  image residual  the same of the predicted image, over an image's own distance to the mean: 0 is the mean
                  for every noise. A network's small error in the noise weighs 1/√ᾱ as much here.
  response        how far the predicted image follows the noise along the 16 directions in which images
                  vary most, beyond what it does along all others, in the images' deviations: near 0
                  for the optimum of vanilla training
"optimum" is the exact one for vanilla training on the data's images, at this very timestep.` + analyzeData + `
` + analyzeWhich + `

-json: {timestep, alphas_cumprod, n, optimum: figures, models: [{name, model, residual, image_residual,
response, standard_error}], …}. Writes into DIR: terminal.json (the same) and terminal.png.`,
		Flags: func(flags *flag.FlagSet) {
			f.declare(flags, 500, "noises")
			f.declareData(flags)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			f.options.Guidance = 1
			if err := f.check(args, stderr); err != nil {
				return err
			}
			r, p, err := pipeline.AnalyzeTerminal(ctx, f.options, show)
			if err != nil {
				return err
			}
			g := imageGrid{Title: fmt.Sprintf("predicted clean image of pure noise, t = %d", r.Timestep)}
			row := func(name string, images [][]float32, gap bool) {
				g.Rows = append(g.Rows, imageRow{Name: name, Images: images, Channels: p.Channels, Side: p.Side, Gap: gap})
			}
			row("mean image", p.Means, false)
			row("vanilla optimum", p.Optimum, false)
			for i, m := range r.Models {
				row(m.Name, m.Shown, i == 0)
			}
			file, err := g.encode()
			if err := f.write("terminal.png", file, err); err != nil {
				return err
			}
			return f.report(stdout, "terminal.json", r, terminalText(r, f.out))
		},
	}
}

func terminalText(r *pipeline.TerminalReport, out string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "timestep %d, √ᾱ = %.4f, %d noises, mean of %d images of %s; ± one standard error\n", r.Timestep, math.Sqrt(r.AlphasCumprod), r.N, r.Images, r.Data)
	fmt.Fprintf(&b, "%-28s %-20s %-20s %s\n", "", "residual", "image residual", "response")
	row := func(name string, f pipeline.TerminalFigures) {
		fmt.Fprintf(&b, "%-28s %-20s %-20s %s\n", name, fmt.Sprintf("%.5f ± %.5f", f.Residual, f.StandardError.Residual),
			fmt.Sprintf("%.4f ± %.4f", f.ImageResidual, f.StandardError.ImageResidual), fmt.Sprintf("%.4f ± %.4f", f.Response, f.StandardError.Response))
	}
	row("optimum, vanilla", r.Optimum)
	for _, m := range r.Models {
		row(m.Name, m.TerminalFigures)
	}
	fmt.Fprintf(&b, "%s shows it\n", out)
	return b.String()
}
