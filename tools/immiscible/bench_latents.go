package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"immiscible/datasets"
	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
)

// latentsReport is what bench data -latents says, and its JSON.
type latentsReport struct {
	Records   int                `json:"records"`
	Bytes     int64              `json:"bytes"` // of the moments, as stored
	DType     string             `json:"dtype"`
	Workers   int                `json:"workers"`
	Turns     int                `json:"turns"`
	MBPerS    pipeline.Quartiles `json:"mb_per_second"`     // 10⁶ stored bytes a second, through the loader
	CatMBPerS pipeline.Quartiles `json:"cat_mb_per_second"` // of cat, to /dev/null
	Ratio     float64            `json:"ratio"`             // of the medians
	HeapMiB   float64            `json:"heap_mib"`          // the most that the heap held
}

// latents times epochs of a latent cache, each in turns with cat of its files.
func (b dataBench) latents(ctx context.Context, dir string, stderr io.Writer) (*latentsReport, error) {
	d, err := datasets.Open(ctx, datasets.Options{Sources: []string{dir}})
	if err != nil {
		return nil, err
	}
	l, shards := d.Latents(), d.Shards()
	d.Close()
	if l == nil {
		return nil, fmt.Errorf("-latents %s: no latent cache; `data cache` makes one", dir)
	}
	d, err = datasets.Open(ctx, datasets.Options{Sources: []string{dir}, Latents: true, Workers: b.options.Workers, BadRecords: datasets.BadRecordsSkip,
		Crop: l.Crop, CropSize: l.CropSize, Filter: l.Filter, Pad: l.Pad, ExifTranspose: l.ExifTranspose, LabelKey: l.LabelKey, Flip: l.Flip})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	batch := min(b.batch, d.Len())
	batches := d.Len() / batch
	var paths []string
	for _, shard := range shards {
		paths = append(paths, filepath.Join(dir, filepath.Base(shard.Path)))
	}
	r := &latentsReport{Records: d.Len(), Bytes: l.Bytes(), DType: l.DType, Workers: b.options.Workers, Turns: b.turns}
	read := float64(r.Bytes) * float64(batches*batch) / float64(d.Len())
	if l.Flip {
		read /= 2 // one of the two
	}
	bar := runlog.NewBar(stderr, "turn", 1+b.turns)
	defer bar.Close()
	var own, cats []float64
	for turn := range 1 + b.turns {
		loader := d.Loader(int64(turn)*int64(d.Len()), batch)
		start := time.Now()
		for i := range batches {
			part, err := loader.Next(ctx)
			if err != nil {
				loader.Close()
				return nil, stoppedOr(ctx, err)
			}
			loader.Reuse(part)
			if i%64 == 0 {
				var memory runtime.MemStats
				runtime.ReadMemStats(&memory)
				r.HeapMiB = max(r.HeapMiB, float64(memory.HeapAlloc)/(1<<20))
			}
		}
		took := time.Since(start)
		loader.Close()
		start = time.Now()
		if err := exec.CommandContext(ctx, "cat", paths...).Run(); err != nil {
			return nil, stoppedOr(ctx, fmt.Errorf("cat: %w", err))
		}
		cat := time.Since(start)
		if turn > 0 {
			own, cats = append(own, read/took.Seconds()/1e6), append(cats, float64(r.Bytes)/cat.Seconds()/1e6)
		}
		bar.Set(turn+1, fmt.Sprintf("%.0f MB/s, cat %.0f", read/took.Seconds()/1e6, float64(r.Bytes)/cat.Seconds()/1e6))
	}
	r.MBPerS, r.CatMBPerS = pipeline.QuartilesOf(own), pipeline.QuartilesOf(cats)
	r.Ratio = r.MBPerS.Median / r.CatMBPerS.Median
	return r, nil
}

// String is the report as a table.
func (r *latentsReport) String() string {
	row := func(name string, q pipeline.Quartiles) string {
		return fmt.Sprintf("%-12s %9.0f MB/s (quartiles %.0f … %.0f)\n", name, q.Median, q.Q1, q.Q3)
	}
	return fmt.Sprintf("%d records, %d bytes of %s, %d workers, %d turns, at most %.0f MiB of heap\n", r.Records, r.Bytes, r.DType, r.Workers, r.Turns, r.HeapMiB) +
		row("immiscible", r.MBPerS) + row("cat", r.CatMBPerS) + fmt.Sprintf("%-12s %9.2f of the medians\n", "ratio", r.Ratio)
}
