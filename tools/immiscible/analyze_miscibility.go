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

func analyzeMiscibility() Command {
	var f analyzeFlags
	var clusters int
	const show = 6
	return Command{
		Name: "analyze miscibility",
		Usage: `MODEL… [-n N] [-clusters M] [-steps N] [-sampler S] [-classes all|LIST]
  [-prompt TEXT]… [-guidance G] [-config F] [-out DIR] [-json]`,
		Short: "whether a trained model keeps the noises of unlike images apart",
		Long: `Makes images of n noises and gives each noise to that of M images of the data (of its class, where
classes condition) to which its image is nearest. Prints the distance of the clusters' centres, less what
the number of noises alone makes: 0 where noises of unlike images are mixed (paper 2, §4.2, which reads
0.92 for a vanilla model and 2.17 and 4.11 for the pairings of KNN and linear assignment; "assign analyze"
says what a pairing does). Beside it stands the same of clusters by lot, which is 0 within its error.` + analyzeData + `
` + analyzeWhich + `

-json: {clusters, n, models: [{name, model, cluster_distance, standard_error, cluster_distance_random,
standard_error_random}], …}. Writes into DIR: miscibility.json (the same), and for each model
miscibility-NAME.png (images of the data above those that came nearest to them).`,
		Flags: func(flags *flag.FlagSet) {
			f.declare(flags, 2000, "noises")
			flags.IntVar(&clusters, "clusters", 4, "images of the data, of each class, `M`")
			flags.IntVar(&f.options.Steps, "steps", 20, "denoising steps")
			flags.StringVar(&f.options.Sampler, "sampler", "ddim", strings.Join(sampler.Names(), ", "))
			f.declareSampling(flags)
			f.declareData(flags)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if f.options.Steps < 1 {
				return usagef("-steps %d, want at least 1", f.options.Steps)
			}
			if clusters < 2 {
				return usagef("-clusters %d, want at least 2", clusters)
			}
			if err := f.check(args, stderr); err != nil {
				return err
			}
			r, err := pipeline.AnalyzeMiscibility(ctx, f.options, clusters, show)
			if err != nil {
				return err
			}
			var b strings.Builder
			fmt.Fprintf(&b, "%s, %d steps, %d noises to %d images of %s each; ± one standard error\n%-28s %-20s %s\n", r.Sampler, r.Steps, r.N, r.Clusters, r.Data, "", "cluster distance", "by lot")
			for _, m := range r.Models {
				fmt.Fprintf(&b, "%-28s %-20s %.3f ± %.3f\n", m.Name, fmt.Sprintf("%.3f ± %.3f", m.Distance, m.StandardError), m.Random, m.RandomError)
				g := imageGrid{Title: m.Name + ": images of the data, and those that came nearest"}
				for row := range show + 1 {
					line := imageRow{Name: "data", Channels: m.Channels, Side: m.Side, Gap: row == 1}
					if row > 0 {
						line.Name = "made"
					}
					for _, column := range m.Shown {
						var image []float32
						if row < len(column) {
							image = column[row]
						}
						line.Images = append(line.Images, image)
					}
					g.Rows = append(g.Rows, line)
				}
				file, err := g.encode()
				if err := f.write("miscibility-"+fileName(m.AnalyzedModel)+".png", file, err); err != nil {
					return err
				}
			}
			fmt.Fprintf(&b, "%s shows it\n", f.out)
			return f.report(stdout, "miscibility.json", r, b.String())
		},
	}
}
