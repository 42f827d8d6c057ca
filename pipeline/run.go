package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"immiscible/datasets/rng"
	"immiscible/pipeline/checkpoint"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/sampler"
)

// runStart is where a run begins: at nothing, or at a checkpoint.
type runStart struct {
	path  string // "" at nothing
	state checkpoint.State
}

// openRun makes the run's folder ready: it decides where to begin, refuses a
// resume under another configuration, sweeps what a killed run left, cuts the
// log back and writes the resolved config.toml.
func openRun(c Config, o TrainOptions) (runStart, error) {
	var from runStart
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return from, fmt.Errorf("-out %s: %w: name a folder that can be written", o.Out, err)
	}
	configPath := filepath.Join(o.Out, "config.toml")
	switch o.Resume {
	case "never":
		entries, err := os.ReadDir(o.Out)
		if err != nil {
			return from, fmt.Errorf("-out %s: %w", o.Out, err)
		}
		if len(entries) > 0 {
			return from, fmt.Errorf("-out %s is not empty and -resume is never: name another folder, or go on with -resume auto", o.Out)
		}
	case "auto":
		if err := checkpoint.Sweep(o.Out); err != nil {
			return from, err
		}
		path, _, ok, err := checkpoint.Latest(o.Out)
		if err != nil {
			return from, err
		}
		if ok {
			from.path = path
		}
	default:
		from.path = o.Resume
		configPath = filepath.Join(filepath.Dir(filepath.Clean(o.Resume)), "config.toml")
	}
	if from.path != "" {
		state, err := checkpoint.Read(from.path)
		if err != nil {
			return from, err
		}
		before, err := LoadConfig("", configPath, nil)
		if errors.Is(err, fs.ErrNotExist) {
			return from, fmt.Errorf("%s has no config.toml beside it, so that nobody can tell whether the run is the same", from.path)
		}
		if err != nil {
			return from, err
		}
		if err := SameRun(before, c); err != nil {
			return from, err
		}
		from.state = state
	}
	if err := runlog.CutBack(filepath.Join(o.Out, "log.jsonl"), from.state.Step); err != nil {
		return from, err
	}
	sum := sha256.Sum256([]byte(c.Text()))
	from.state.ConfigDigest = hex.EncodeToString(sum[:])
	if err := c.Save(filepath.Join(o.Out, "config.toml")); err != nil {
		return from, err
	}
	return from, os.MkdirAll(filepath.Join(o.Out, "samples"), 0o755)
}

// sampleCount is the number of images in a sample grid: a row a class, or a
// square.
func (c Config) sampleCount() int { return c.sampleRows() * c.Sample.PerClass }

func (c Config) sampleRows() int {
	if c.Data.NumClasses > 0 {
		return c.Data.NumClasses
	}
	return c.Sample.PerClass
}

// sample draws the grid of a step from the moving average: always the same
// noise, so that grids of different steps can be compared. It touches nothing
// that training reads.
func (t *trainer) sample(ctx context.Context, out string, step int) ([]byte, error) {
	c, g := t.config, t.gen
	s, err := sampler.New(c.Sample.Sampler, t.subject.schedule, c.Sample.Steps, c.Sample.Eta)
	if err != nil {
		return nil, err
	}
	rows, cols := c.sampleRows(), c.Sample.PerClass
	dim := g.Dim()
	images := make([]float32, rows*cols*dim)
	seed := uint64(c.Train.Seed)
	var labels []int64
	for i := range rows * cols {
		rng.New(seed, "sample", uint64(i)).FillNormal(images[i*dim : (i+1)*dim])
		if t.feed.conditioned {
			labels = append(labels, int64(i/cols))
		}
	}
	err = g.Generate(ctx, images, labels, GenerateOptions{Sampler: s, GuidanceScale: 1, Noise: func(dst []float32, image, step int) {
		rng.New(seed, fmt.Sprintf("sample/%d", step), uint64(image)).FillNormal(dst)
	}})
	if err != nil {
		return nil, err
	}
	list := make([][]float32, rows*cols)
	for i := range list {
		list[i] = images[i*dim : (i+1)*dim]
	}
	path := filepath.Join(out, "samples", fmt.Sprintf("step-%d.png", step))
	return runlog.WriteGrid(path, list, rows, cols, g.Config.InChannels, g.Height, g.Width)
}
