package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/sampler"
)

// generateReport is what bench generate says, and its JSON.
type generateReport struct {
	Model           string             `json:"model"`
	Sampler         string             `json:"sampler"`
	Steps           int                `json:"steps"`
	Guidance        float64            `json:"guidance"`
	Height          int                `json:"height"`
	Width           int                `json:"width"`
	Images          int                `json:"images"` // a turn
	Batch           int                `json:"batch"`
	Turns           int                `json:"turns"`
	Threads         int                `json:"threads"`
	Provider        string             `json:"provider"`
	Library         string             `json:"onnxruntime"`
	ImagesPerSecond pipeline.Quartiles `json:"images_per_second"`
	Peer            *dataPeerReport    `json:"peer,omitempty"`
}

func benchGenerate() Command {
	o := pipeline.ImagesOptions{Weights: "ema", Messages: io.Discard}
	var prompt, peerCommand, resolution string
	var images, turns, threads int
	var asJSON bool
	return Command{
		Name:  "bench generate",
		Usage: "-model DIR [-prompt TEXT] [-images N] [-batch N] [-steps N] [-sampler S] [-guidance G]\n  [-resolution R|HxW] [-turns N] [-threads N] [-peer CMD] [-json]",
		Short: "images a second that generate makes, alone or in turns with a peer",
		Long: `Times generation from text: captions, guidance in one run, the sampler, the VAE, PNG files. A turn makes
-images images; one turn before the first is not counted.

-peer starts another program that does the same, and the two take turns, so that whatever else the
machine does hits both. CMD goes to the shell with
  --model DIR --prompt TEXT --images N --batch N --steps N --sampler S --guidance G --height H --width W --threads T
behind it. It prints {"ready": true, "version": …}, and for each line it reads does a turn and prints
{"seconds": …}:
  -peer 'python3 tools/peers/diffusers_generate.py'

With -json: one object, the peer's part with "ratio", our median divided by the peer's.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.Model, "model", "", "diffusers folder `DIR` of a model that takes text")
			flags.StringVar(&prompt, "prompt", "a photo of a crane", "`TEXT` of every image")
			flags.IntVar(&images, "images", 16, "`N` images a turn")
			flags.IntVar(&o.Batch, "batch", 4, "images at once")
			flags.IntVar(&o.Steps, "steps", 20, "denoising steps")
			flags.StringVar(&o.Sampler, "sampler", "pndm", strings.Join(sampler.Names(), ", "))
			flags.Float64Var(&o.Guidance, "guidance", 7.5, "classifier-free guidance scale; 1 is off")
			flags.StringVar(&resolution, "resolution", "", "pixels `R` or HxW; default the config's sample_size")
			flags.IntVar(&turns, "turns", 5, "`N` turns that count")
			flags.StringVar(&peerCommand, "peer", "", "take turns with the command `CMD`")
			threadsFlag(flags, &threads)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q", args[0])
			case o.Model == "":
				return usagef("no -model, want a diffusers folder")
			case !slices.Contains(sampler.Names(), o.Sampler):
				return usagef("-sampler %q, want one of %s", o.Sampler, strings.Join(sampler.Names(), ", "))
			}
			for name, value := range map[string]int{"images": images, "batch": o.Batch, "steps": o.Steps, "turns": turns} {
				if value < 1 {
					return usagef("-%s %d, want at least 1", name, value)
				}
			}
			var err error
			if o.Height, o.Width, err = parseResolution(resolution); err != nil {
				return err
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			o.Engine.Threads, o.Prompts, o.PerClass = threads, []string{prompt}, images
			report, err := runGenerateBench(ctx, o, turns, peerCommand, stderr)
			if err != nil {
				return err
			}
			return printReport(stdout, asJSON, report)
		},
	}
}

// runGenerateBench times turns, each followed by one of the peer's.
func runGenerateBench(ctx context.Context, o pipeline.ImagesOptions, turns int, peerCommand string, stderr io.Writer) (*generateReport, error) {
	var err error
	if o.Out, err = os.MkdirTemp("", "immiscible-bench-generate-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(o.Out)
	b, err := pipeline.OpenGenerateBench(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	r := &generateReport{Model: o.Model, Sampler: b.Sampler, Steps: o.Steps, Guidance: b.Guidance, Height: b.Height, Width: b.Width,
		Images: b.Images, Batch: b.Batch, Turns: turns, Threads: b.Threads, Provider: b.Provider, Library: b.Library}
	var p *peer
	if peerCommand != "" {
		r.Peer = &dataPeerReport{Command: peerCommand}
		if p, err = newPeer(peerCommand); err != nil {
			return nil, err
		}
		defer p.stop()
		var line dataLine
		err = p.launch(ctx, stderr, &line, "--model", o.Model, "--prompt", o.Prompts[0], "--images", strconv.Itoa(b.Images), "--batch", strconv.Itoa(b.Batch),
			"--steps", strconv.Itoa(o.Steps), "--sampler", b.Sampler, "--guidance", fmt.Sprint(b.Guidance),
			"--height", strconv.Itoa(b.Height), "--width", strconv.Itoa(b.Width), "--threads", strconv.Itoa(b.Threads))
		if err == nil && !line.Ready {
			err = fmt.Errorf("-peer %s: its first line lacks \"ready\": true", peerCommand)
		}
		if err != nil {
			return nil, stoppedOr(ctx, err)
		}
		r.Peer.Version = line.Version
	}
	bar := runlog.NewBar(stderr, "turn", 1+turns)
	defer bar.Close()
	var own, others []float64
	for turn := range 1 + turns {
		took, err := b.Turn(ctx)
		if err != nil {
			return nil, stoppedOr(ctx, err)
		}
		text, other := fmt.Sprintf("%.2f images/s", float64(b.Images)/took.Seconds()), 1.0
		if p != nil {
			if other, err = peerTurn(p); err != nil {
				return nil, stoppedOr(ctx, err)
			}
			text += fmt.Sprintf(", peer %.2f", float64(b.Images)/other)
		}
		if turn > 0 {
			own, others = append(own, float64(b.Images)/took.Seconds()), append(others, float64(b.Images)/other)
		}
		bar.Set(turn+1, text)
	}
	r.ImagesPerSecond = pipeline.QuartilesOf(own)
	if p != nil {
		r.Peer.ImagesPerSecond = pipeline.QuartilesOf(others)
		r.Peer.Ratio = r.ImagesPerSecond.Median / r.Peer.ImagesPerSecond.Median
	}
	return r, nil
}

// String is the report as a table.
func (r *generateReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d×%d pixels, %s, %d steps, guidance %g, batch %d, %d threads, %d turns of %d images\n",
		r.Model, r.Height, r.Width, r.Sampler, r.Steps, r.Guidance, r.Batch, r.Threads, r.Turns, r.Images)
	row := func(name string, q pipeline.Quartiles, what string) {
		fmt.Fprintf(&b, "%-12s %9.2f images a second (quartiles %.2f … %.2f)  %s\n", name, q.Median, q.Q1, q.Q3, what)
	}
	row("immiscible", r.ImagesPerSecond, fmt.Sprintf("ONNX Runtime %s, %s", r.Library, r.Provider))
	if p := r.Peer; p != nil {
		row("peer", p.ImagesPerSecond, p.Version)
		fmt.Fprintf(&b, "%-12s %9.2f of the medians; above 1 is faster\n", "ratio", p.Ratio)
	}
	return b.String()
}
