package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/sampler"
)

func analyzeBijectivity() Command {
	var f analyzeFlags
	var w string
	var perturbations int
	return Command{
		Name: "analyze bijectivity",
		Usage: `MODEL… [-w LIST] [-n N] [-perturbations P] [-steps N] [-sampler S]
  [-classes all|LIST] [-prompt TEXT]… [-guidance G] [-out DIR] [-json]`,
		Short: "how far a trained model's images move when the noise does",
		Long: `Makes images of (N + W·P)/√(1 + W²) for n noises N, of each P independent perturbations P, and each W
(paper 2, §4.1 and Fig. 3; the paper leaves out the root, which at its largest W, 0.3, is 4 %). Prints the
mean distance of two images of the same N, over that of two images of independent noises: 0 is the same
image, 1 is nothing left of N. An N's images are all of one class.
` + analyzeWhich + `

-json: {w, models: [{name, model, distance: [by w], standard_error, independent}], …}.
Writes into DIR: bijectivity.json (the same), bijectivity.png (curves), and bijectivity-NAME.png
(the images of the first N) for each model.`,
		Flags: func(flags *flag.FlagSet) {
			f.declare(flags, 10, "noises")
			flags.StringVar(&w, "w", "0.1,0.2,0.3,0.5,1,2", "how much of the perturbation, a rising `LIST`")
			flags.IntVar(&perturbations, "perturbations", 10, "of each noise, `P`")
			flags.IntVar(&f.options.Steps, "steps", 20, "denoising steps")
			flags.StringVar(&f.options.Sampler, "sampler", "ddim", strings.Join(sampler.Names(), ", "))
			f.declareSampling(flags)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if f.options.Steps < 1 {
				return usagef("-steps %d, want at least 1", f.options.Steps)
			}
			if perturbations < 2 {
				return usagef("-perturbations %d, want at least 2", perturbations)
			}
			var list []float64
			for item := range strings.SplitSeq(w, ",") {
				x, err := strconv.ParseFloat(strings.TrimSpace(item), 64)
				if err != nil || !(x > 0 && x < 1e6) || len(list) > 0 && x <= list[len(list)-1] {
					return usagef("-w %q, want rising numbers above 0, such as 0.1,0.2,0.3", w)
				}
				list = append(list, x)
			}
			if err := f.check(args, stderr); err != nil {
				return err
			}
			r, err := pipeline.AnalyzeBijectivity(ctx, f.options, list, perturbations)
			if err != nil {
				return err
			}
			var lines []plotLine
			for _, m := range r.Models {
				lines = append(lines, plotLine{Name: m.Name, Values: m.Distance, Errors: m.StandardError})
				file, err := bijectivityGrid(r, m).encode()
				if err := f.write("bijectivity-"+fileName(m.AnalyzedModel)+".png", file, err); err != nil {
					return err
				}
			}
			file, err := bijectivityPNG(r.W, lines)
			if err := f.write("bijectivity.png", file, err); err != nil {
				return err
			}
			return f.report(stdout, "bijectivity.json", r, bijectivityText(r, f.out))
		},
	}
}

// bijectivityGrid shows a row for each W, and independent noises below.
func bijectivityGrid(r *pipeline.BijectivityReport, m pipeline.BijectivityModel) imageGrid {
	g := imageGrid{Title: fmt.Sprintf("%s: one noise, perturbed (%s, %d steps)", m.Name, r.Sampler, r.Steps)}
	for i, images := range m.Shown {
		row := imageRow{Name: "independent", Images: images, Channels: m.Channels, Side: m.Side, Gap: i == len(r.W)}
		if i < len(r.W) {
			row.Name = fmt.Sprintf("W = %g", r.W[i])
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

func bijectivityText(r *pipeline.BijectivityReport, out string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d steps, %d noises with %d perturbations each; ± one standard error\n%-28s", r.Sampler, r.Steps, r.Originals, r.Perturbations, "")
	for _, w := range r.W {
		fmt.Fprintf(&b, " %-16s", fmt.Sprintf("W = %g", w))
	}
	b.WriteString("independent\n")
	for _, m := range r.Models {
		fmt.Fprintf(&b, "%-28s", m.Name)
		for i, d := range m.Distance {
			fmt.Fprintf(&b, " %-16s", fmt.Sprintf("%.3f ± %.3f", d, m.StandardError[i]))
		}
		fmt.Fprintf(&b, "%.3f\n", m.Independent)
	}
	fmt.Fprintf(&b, "%s shows it\n", out)
	return b.String()
}
