package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/npy"
)

func analyzeLayers() Command {
	var f analyzeFlags
	var layers string
	var show int
	return Command{
		Name: "analyze layers",
		Usage: `MODEL… [-steps S] [-layers LIST] [-n N] [-show N] [-classes all|LIST] [-prompt TEXT]…
  [-guidance G] [-config F] [-features F] [-out DIR] [-json]`,
		Short: "what a trained model takes the image to be, layer by layer",
		Long: `Walks from noise to images with DDIM in S steps and looks at the predicted clean image
x̂0 = (x_τ − √(1−ᾱ)·ε)/√ᾱ at the layers τ of -layers; τ = S is pure noise, 0 the image (paper 1, Fig. 3;
paper 2, Fig. 8). Over n noises, at each layer, of x̂0 cut off at −1 and 1:
  FID        against the data ("fid" in JSON)
  deviation  of a pixel over the noises, within classes where they condition: 0 is one smear for all ("std")
  nearest    mean Euclidean distance to the nearest image of the data ("nearest")
"the data itself" are the same figures of n images of the data.` + analyzeData + `
` + analyzeWhich + `

-json: {steps, layers, timesteps, n, reference, models: [{name, model, layers: [figures, …, of the image]}], …}.
Writes into DIR: layers.json (the same), layers.png (curves), and for each model layers-NAME.png
(x_τ, predicted noise and x̂0 of the first noises) and layers-NAME.npy [layers, 3, images, C, H, W] with
the same numbers, where the three have one shape. Pictures of numbers beyond [−1, 1] are made paler.`,
		Flags: func(flags *flag.FlagSet) {
			f.declare(flags, 500, "noises")
			flags.IntVar(&f.options.Steps, "steps", 20, "denoising steps `S`")
			flags.StringVar(&layers, "layers", "", "layers `LIST` from S down; S, its quarters and 1")
			flags.IntVar(&show, "show", 4, "noises in the picture of a model")
			f.declareSampling(flags)
			f.declareData(flags)
			f.declareFeatures(flags)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			f.options.Sampler = "ddim"
			if f.options.Steps < 1 {
				return usagef("-steps %d, want at least 1", f.options.Steps)
			}
			if show < 1 {
				return usagef("-show %d, want at least 1", show)
			}
			list, err := parseLayers(layers, f.options.Steps)
			if err != nil {
				return err
			}
			if err := f.check(args, stderr); err != nil {
				return err
			}
			r, err := pipeline.AnalyzeLayers(ctx, f.options, list, show)
			if err != nil {
				return err
			}
			if err := writeLayers(&f, r); err != nil {
				return err
			}
			return f.report(stdout, "layers.json", r, layersText(r, f.out))
		},
	}
}

// parseLayers reads layers from steps down to 1.
func parseLayers(text string, steps int) ([]int, error) {
	if text == "" {
		var list []int
		for _, n := range []int{steps, 3 * steps / 4, steps / 2, steps / 4, 1} {
			if n > 0 && !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
		return list, nil
	}
	list, err := parseNumbers("-layers", text, 1)
	if err != nil {
		return nil, err
	}
	for i, n := range list {
		if n > steps || i > 0 && n >= list[i-1] {
			return nil, usagef("-layers %s, want numbers that fall, from -steps %d at most to 1", text, steps)
		}
	}
	return list, nil
}

// writeLayers draws the report.
func writeLayers(f *analyzeFlags, r *pipeline.LayersReport) error {
	at := make([]float64, len(r.Layers))
	for i, n := range r.Layers {
		at[i] = float64(r.Steps - n)
	}
	var names []string
	var figures [][]pipeline.ImageFigures
	for _, m := range r.Models {
		names, figures = append(names, m.Name), append(figures, m.Layers)
	}
	file, err := figuresPNG("predicted clean image: ", "layer τ, from noise to image", at, false, names, figures, r.Reference, func(x float64) string {
		return fmt.Sprint(r.Steps - int(x))
	})
	if err := f.write("layers.png", file, err); err != nil {
		return err
	}
	for _, m := range r.Models {
		file, err := layersGrid(r, m).encode()
		if err := f.write("layers-"+fileName(m.AnalyzedModel)+".png", file, err); err != nil {
			return err
		}
		if m.NoiseSide != m.Side || m.NoiseChannels != m.Channels {
			continue // latents: the parts have no common shape
		}
		var all []float32
		for _, layer := range m.Shown {
			for _, part := range layer {
				all = append(all, slices.Concat(part...)...)
			}
		}
		var dump bytes.Buffer
		err = npy.Encode(&dump, []int{len(m.Shown), 3, len(m.Images), m.Channels, m.Side, m.Side}, all)
		if err := f.write("layers-"+fileName(m.AnalyzedModel)+".npy", dump.Bytes(), err); err != nil {
			return err
		}
	}
	return nil
}

// layersGrid shows three rows for each noise, and what becomes of it at the end.
func layersGrid(r *pipeline.LayersReport, m pipeline.LayersModel) imageGrid {
	g := imageGrid{Title: fmt.Sprintf("%s: DDIM, %d steps", m.Name, r.Steps)}
	for i, n := range r.Layers[:len(r.Layers)-1] {
		g.Columns = append(g.Columns, fmt.Sprintf("τ=%d, t=%.0f", n, r.Timesteps[i]))
	}
	g.Columns = append(g.Columns, "image")
	for k := range m.Images {
		for part, name := range []string{"x_τ", "noise", "clean"} {
			row := imageRow{Name: name, Channels: m.Channels, Side: m.Side, Gap: part == 0 && k > 0}
			if part == 1 {
				row.Channels, row.Side = m.NoiseChannels, m.NoiseSide
			}
			for _, layer := range m.Shown {
				row.Images = append(row.Images, layer[part][k])
			}
			if part == 2 {
				row.Images = append(row.Images, m.Images[k])
			}
			g.Rows = append(g.Rows, row)
		}
	}
	return g
}

func layersText(r *pipeline.LayersReport, out string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d steps, %d noises, FID in %s features against %s\n", r.Sampler, r.Steps, r.N, r.Features.Name, r.Reference.Name)
	var at, names []string
	var figures [][]pipeline.ImageFigures
	for _, n := range r.Layers[:len(r.Layers)-1] {
		at = append(at, fmt.Sprintf("τ = %d", n))
	}
	at = append(at, "image")
	for _, m := range r.Models {
		names, figures = append(names, m.Name), append(figures, m.Layers)
	}
	b.WriteString(figuresTable(at, names, figures, r.Reference))
	fmt.Fprintf(&b, "%s shows it\n", out)
	return b.String()
}
