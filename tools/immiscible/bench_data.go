package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"immiscible/datasets"
	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
)

// dataBench is what bench data is to do.
type dataBench struct {
	options datasets.Options
	peer    string
	batch   int // images
	batches int // a turn
	turns   int
	images  int // that are made where no source is named
}

// dataReport is what bench data says, and its JSON.
type dataReport struct {
	Records         int                `json:"records"`
	Resolution      int                `json:"resolution"`
	Batch           int                `json:"batch"`
	Workers         int                `json:"workers"`
	Turns           int                `json:"turns"`
	Decoder         string             `json:"decoder"`
	ImagesPerSecond pipeline.Quartiles `json:"images_per_second"`
	Peer            *dataPeerReport    `json:"peer,omitempty"`
}

// dataPeerReport is the peer's side.
type dataPeerReport struct {
	Command         string             `json:"command"`
	Version         string             `json:"version"`
	ImagesPerSecond pipeline.Quartiles `json:"images_per_second"`
	Ratio           float64            `json:"ratio"` // our median divided by the peer's: above 1 is faster
}

// dataLine is any line that a data peer prints.
type dataLine struct {
	Ready   bool    `json:"ready"`
	Version string  `json:"version"`
	Seconds float64 `json:"seconds"`
}

func benchData() Command {
	var b dataBench
	var asJSON bool
	var latents string
	return Command{
		Name:  "bench data",
		Usage: "[SRC…] [-resolution R] [-batch N] [-batches N] [-turns N] [-workers N] [-images N]\n  [-peer CMD] [-latents DIR] [-json]",
		Short: "images a second that the loader makes, alone or in turns with a peer",
		Long: `Times the loader: reading, decoding, short side to R with an antialiased bilinear filter, centre crop,
batches of floats. With no source it makes shards of photograph-like JPEGs of 500×375 pixels and some
110 KB, ImageNet's usual, in a temporary folder. A turn is -batches batches; one turn before the first
is not counted.

-peer starts another program that does the same, and the two take turns, so that whatever else the
machine does hits both. CMD goes to the shell with
  --resolution R --batch N --batches N --workers N SHARD.tar…
behind it. It prints {"ready": true, "version": …}, and for each line it reads does a turn and prints
{"seconds": …}:
  -peer 'python3 tools/peers/dataloader.py'

-latents times something else: whole epochs of the latent cache DIR through the loader, in turns with cat
of its files to /dev/null; memory is what the heap held at most.

With -json: one object, the peer's part with "ratio", our median divided by the peer's.`,
		Flags: func(flags *flag.FlagSet) {
			flags.IntVar(&b.options.Resolution, "resolution", 256, "height and width `R` of an example, in pixels")
			flags.IntVar(&b.batch, "batch", 32, "`N` images a batch")
			flags.IntVar(&b.batches, "batches", 8, "`N` batches a turn")
			flags.IntVar(&b.turns, "turns", 5, "`N` turns that count")
			flags.IntVar(&b.options.Workers, "workers", 2, "decode with `N` goroutines, and the peer's processes")
			flags.IntVar(&b.images, "images", 256, "with no source: make `N` images")
			flags.StringVar(&latents, "latents", "", "time the latent cache `DIR`")
			flags.StringVar(&b.peer, "peer", "", "take turns with the command `CMD`")
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			for name, value := range map[string]int{"resolution": b.options.Resolution, "batch": b.batch, "batches": b.batches,
				"turns": b.turns, "workers": b.options.Workers, "images": b.images} {
				if value < 1 {
					return usagef("-%s %d, want at least 1", name, value)
				}
			}
			if latents != "" {
				if len(args) > 0 || b.peer != "" {
					return usagef("-latents %s stands alone: no source, no -peer", latents)
				}
				report, err := b.latents(ctx, latents, stderr)
				if err != nil {
					return err
				}
				return printReport(stdout, asJSON, report)
			}
			b.options.Sources = args
			report, err := b.run(ctx, stderr)
			if err != nil {
				return err
			}
			return printReport(stdout, asJSON, report)
		},
	}
}

// run times turns, each followed by one of the peer's.
func (b dataBench) run(ctx context.Context, stderr io.Writer) (*dataReport, error) {
	if len(b.options.Sources) == 0 {
		dir, err := os.MkdirTemp("", "immiscible-bench-data-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := writePhotoShards(ctx, dir, b.images, stderr); err != nil {
			return nil, err
		}
		b.options.Sources = []string{dir}
	}
	b.options.Channels = 3
	d, err := datasets.Open(ctx, b.options)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	r := &dataReport{Records: d.Len(), Resolution: b.options.Resolution, Batch: b.batch, Workers: b.options.Workers, Turns: b.turns, Decoder: datasets.JPEGDecoder}
	var p *peer
	if b.peer != "" {
		r.Peer = &dataPeerReport{Command: b.peer}
		if p, err = b.startPeer(ctx, d, r.Peer, stderr); err != nil {
			return nil, stoppedOr(ctx, err)
		}
		defer p.stop()
	}
	bar := runlog.NewBar(stderr, "turn", 1+b.turns)
	defer bar.Close()
	var own, others []float64
	images := float64(b.batch * b.batches)
	for turn := range 1 + b.turns {
		took, err := b.turn(ctx, d, int64(turn)*int64(images))
		if err != nil {
			return nil, err
		}
		text, other := fmt.Sprintf("%.0f images/s", images/took.Seconds()), 1.0
		if p != nil {
			if other, err = peerTurn(p); err != nil {
				return nil, stoppedOr(ctx, err)
			}
			text += fmt.Sprintf(", peer %.0f", images/other)
		}
		if turn > 0 {
			own, others = append(own, images/took.Seconds()), append(others, images/other)
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

// turn is the time that a fresh loader takes to hand out a turn's batches.
func (b dataBench) turn(ctx context.Context, d *datasets.Dataset, from int64) (time.Duration, error) {
	start := time.Now()
	loader := d.Loader(from, b.batch)
	defer loader.Close()
	for range b.batches {
		if _, err := loader.Next(ctx); err != nil {
			return 0, stoppedOr(ctx, err)
		}
	}
	return time.Since(start), nil
}

// startPeer starts the command on the same shards and waits until it is ready.
func (b dataBench) startPeer(ctx context.Context, d *datasets.Dataset, report *dataPeerReport, stderr io.Writer) (*peer, error) {
	args := []string{"--resolution", strconv.Itoa(b.options.Resolution), "--batch", strconv.Itoa(b.batch),
		"--batches", strconv.Itoa(b.batches), "--workers", strconv.Itoa(b.options.Workers)}
	for _, shard := range d.Shards() {
		if _, err := os.Stat(shard.Path); err != nil || !strings.HasSuffix(shard.Path, ".tar") {
			return nil, fmt.Errorf("-peer: %s is no tar on a disk, which is what peers read", shard.Path)
		}
		args = append(args, shard.Path)
	}
	p, err := newPeer(b.peer)
	if err != nil {
		return nil, err
	}
	var line dataLine
	if err = p.launch(ctx, stderr, &line, args...); err == nil && !line.Ready {
		err = fmt.Errorf("-peer %s: its first line lacks \"ready\": true", b.peer)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	report.Version = line.Version
	return p, nil
}

// peerTurn has the peer do a turn; the result is in seconds.
func peerTurn(p *peer) (float64, error) {
	var line dataLine
	err := p.tell("go")
	if err == nil {
		err = p.read(&line)
	}
	if err == nil && line.Seconds <= 0 {
		err = fmt.Errorf("-peer %s: its line lacks \"seconds\"", p.command)
	}
	return line.Seconds, err
}

// String is the report as a table.
func (r *dataReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records, %d×%d pixels, batch %d, %d workers, %d turns\n", r.Records, r.Resolution, r.Resolution, r.Batch, r.Workers, r.Turns)
	row := func(name string, q pipeline.Quartiles, what string) {
		fmt.Fprintf(&b, "%-12s %9.1f images/s (quartiles %.1f … %.1f)  %s\n", name, q.Median, q.Q1, q.Q3, what)
	}
	row("immiscible", r.ImagesPerSecond, r.Decoder)
	if p := r.Peer; p != nil {
		row("peer", p.ImagesPerSecond, p.Version)
		fmt.Fprintf(&b, "%-12s %9.2f of the medians\n", "ratio", p.Ratio)
	}
	return b.String()
}
