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
	"slices"

	"golang.org/x/sys/unix"

	"immiscible/datasets"
	"immiscible/datasets/rng"
	"immiscible/pipeline/checkpoint"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/sampler"
	"immiscible/pipeline/whole"
)

// runStart is where a run begins: at nothing, or at a checkpoint.
type runStart struct {
	path   string // "" at nothing
	state  checkpoint.State
	passed []error // what is wrong with each later checkpoint; they are passed over
}

// findRun decides where a run begins and refuses one that cannot go on. It
// changes nothing; the folder must be held, or another process may change it
// meanwhile.
func findRun(c Config, o TrainOptions) (runStart, error) {
	var from runStart
	latest, step, passed, err := checkpoint.Resume(o.Out)
	if err != nil {
		return from, err
	}
	switch o.Resume {
	case "never":
		entries, err := os.ReadDir(o.Out)
		if err != nil {
			return from, fmt.Errorf("-out %s: %w", o.Out, err)
		}
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != lockFile }) {
			return from, fmt.Errorf("-out %s is not empty and -resume is never: name another folder, or go on with -resume auto", o.Out)
		}
	case "auto":
		from.path, from.passed = latest, passed
	default:
		path := filepath.Clean(o.Resume)
		state, err := checkpoint.Read(path)
		if err == nil {
			err = checkpoint.Verify(path)
		}
		switch own := sameFolder(filepath.Dir(path), o.Out); {
		case err != nil:
			return from, fmt.Errorf("-resume %s: %w: name another", o.Resume, err)
		case latest != "" && !own:
			path = latest // a branch that has begun goes on
		case latest != "" && step > state.Step:
			return from, fmt.Errorf("-resume %s: %s is later, and its steps would be done twice: remove it, or name another -out", o.Resume, latest)
		}
		from.path, from.passed = path, passed
	}
	if len(from.passed) > 0 && from.path == "" {
		return from, fmt.Errorf("%w, and there is no other to go on from: put its files back, or remove it to start anew", from.passed[0])
	}
	if from.path != "" {
		state, err := checkpoint.Read(from.path)
		if err != nil {
			return from, err
		}
		before, err := LoadConfig("", filepath.Join(filepath.Dir(from.path), "config.toml"), nil)
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
	sum := sha256.Sum256([]byte(c.Text()))
	from.state.ConfigDigest = hex.EncodeToString(sum[:])
	return from, nil
}

// lockFile is what a process that trains in a folder holds.
const lockFile = ".lock"

// holdFolder makes a run's folder, and keeps other processes from training in it
// until release is called, or this process ends in any way. A run that has not
// begun leaves the folder as it was: release takes away what holdFolder made.
func holdFolder(out string) (release func(begun bool), err error) {
	made := missingFolders(out)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("-out %s: %w: name a folder that can be written", out, err)
	}
	path := filepath.Join(out, lockFile)
	if _, err := os.Stat(path); err != nil {
		made = append([]string{path}, made...)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("-out %s: %w: name a folder that can be written", out, err)
	}
	// A file system without locks gives none. A lock that is no longer there is
	// that of a process which is taking the folder away again.
	held := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(held, unix.EWOULDBLOCK) || !sameFile(f, path) {
		f.Close()
		return nil, fmt.Errorf("-out %s: another process trains in it: wait until it ends, or name another folder", out)
	}
	return func(begun bool) {
		if !begun {
			for _, path := range made {
				os.Remove(path) // not a folder that something is in by now
			}
		}
		f.Close()
	}, nil
}

// missingFolders lists the folders that MkdirAll would make, the innermost first.
func missingFolders(path string) (missing []string) {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		if _, err := os.Stat(path); err == nil || len(missing) > 0 && missing[len(missing)-1] == path {
			return missing
		}
		missing = append(missing, path)
	}
}

// sameFile reports whether path still leads to an open file.
func sameFile(f *os.File, path string) bool {
	x, errX := f.Stat()
	y, errY := os.Stat(path)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// sameFolder reports whether two paths lead to one folder.
func sameFolder(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// prepare makes the run's folder ready: it sweeps what a killed run left, cuts
// the log back to where the run begins and writes the resolved config.toml.
func (from runStart) prepare(c Config, out string) error {
	samples := filepath.Join(out, "samples")
	if err := os.MkdirAll(samples, 0o755); err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", out, err)
	}
	for _, dir := range []string{out, samples} {
		if err := whole.Sweep(dir); err != nil {
			return err
		}
	}
	if err := runlog.CutBack(filepath.Join(out, "log.jsonl"), from.state.Step); err != nil {
		return err
	}
	return c.Save(filepath.Join(out, "config.toml"))
}

// sampleDue reports whether a step has a sample grid.
func (c Config) sampleDue(step int) bool {
	return step == c.Train.MaxSteps || due(step, c.Sample.EverySteps)
}

// owesSample reports whether the run was killed between the checkpoint that it
// goes on from and that step's sample grid.
func (from runStart) owesSample(c Config, out string) bool {
	if from.state.Step == 0 || !c.sampleDue(from.state.Step) {
		return false
	}
	_, err := os.Stat(samplePath(out, from.state.Step))
	return errors.Is(err, fs.ErrNotExist)
}

func samplePath(out string, step int) string {
	return filepath.Join(out, "samples", fmt.Sprintf("step-%d.png", step))
}

// sampleCount is the number of images in a sample grid: a row a class or prompt,
// or a square.
func (c Config) sampleCount() int { return c.sampleRows() * c.Sample.PerClass }

// gridBatch is the number of a sample grid's images that are made at once.
func (c Config) gridBatch(s *subject) int {
	if s.latent() { // sizes for which a grid's worth is not in memory at once
		return min(c.sampleCount(), max(2, c.Train.MicroBatch))
	}
	return c.sampleCount()
}

func (c Config) sampleRows() int {
	switch {
	case len(c.Sample.Prompts) > 0:
		return len(c.Sample.Prompts)
	case c.Data.Captions != datasets.CaptionsNone && c.Data.NumClasses > 0:
		return min(c.Data.NumClasses, maxPromptRows)
	case c.Data.NumClasses > 0:
		return c.Data.NumClasses
	}
	return c.Sample.PerClass
}

// maxPromptRows are the classes whose captions a grid without prompts shows.
const maxPromptRows = 8

// samplePrompts are the prompts of a grid's rows.
func (c Config) samplePrompts(classNames []string) []string {
	prompts := slices.Clone(c.Sample.Prompts)
	for i := len(prompts); i < c.sampleRows(); i++ {
		prompt := ""
		if c.Data.Captions == datasets.CaptionsClass && i < len(classNames) {
			prompt = datasets.ClassCaption(c.Data.CaptionTemplate, classNames[i], uint64(c.Train.Seed), 0)
		}
		prompts = append(prompts, prompt)
	}
	return prompts
}

// sample draws the grid of a step from the moving average: always the same
// noise, so that grids of different steps can be compared. It touches nothing
// that training reads.
func (t *trainer) sample(ctx context.Context, out string, step int, classNames []string) ([]byte, error) {
	c, g := t.config, t.gen
	s, err := sampler.New(c.Sample.Sampler, t.subject.schedule, c.Sample.Steps, c.Sample.Eta)
	if err != nil {
		return nil, err
	}
	rows, cols := c.sampleRows(), c.Sample.PerClass
	dim := g.Dim()
	images := make([]float32, rows*cols*dim)
	seed := uint64(c.Train.Seed)
	o := GenerateOptions{Sampler: s, GuidanceScale: c.Sample.GuidanceScale, NullLabel: int64(c.Data.NumClasses), Noise: func(dst []float32, image, step int) {
		rng.New(seed, fmt.Sprintf("sample/%d", step), uint64(image)).FillNormal(dst)
	}}
	if t.feed.text != nil {
		if err := t.samplePrompts(ctx, &o, c.samplePrompts(classNames), cols); err != nil {
			return nil, err
		}
	}
	var labels []int64
	for i := range rows * cols {
		rng.New(seed, "sample", uint64(i)).FillNormal(images[i*dim : (i+1)*dim])
		if t.feed.conditioned {
			labels = append(labels, int64(i/cols))
		}
	}
	if err := g.Generate(ctx, images, labels, o); err != nil {
		return nil, err
	}
	channels, height, width := c.Data.Channels, c.Data.Resolution, c.Data.Resolution
	if t.vae != nil {
		if images, err = t.vae.Decode(ctx, images); err != nil {
			return nil, err
		}
	}
	dim = channels * height * width
	list := make([][]float32, rows*cols)
	for i := range list {
		list[i] = images[i*dim : (i+1)*dim]
	}
	return runlog.WriteGrid(samplePath(out, step), list, rows, cols, channels, height, width)
}

// samplePrompts encodes a prompt a row of cols images, and the empty one.
func (t *trainer) samplePrompts(ctx context.Context, o *GenerateOptions, prompts []string, cols int) error {
	states, err := t.feed.text.Encode(ctx, append(prompts, ""))
	if err != nil {
		return err
	}
	each := len(states) / (len(prompts) + 1)
	for i := range len(prompts) * cols {
		row := i / cols
		o.HiddenStates = append(o.HiddenStates, states[row*each:(row+1)*each])
	}
	o.NullHiddenStates = states[len(prompts)*each:]
	return nil
}
