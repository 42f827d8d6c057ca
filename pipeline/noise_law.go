package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"immiscible/assign"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/whole"
)

// noiseLawFile holds in a run's folder what the pairing did to the noise.
const noiseLawFile = "noise_law.json"

// NoiseLaw is the law of the noise that a run gave its first images: the columns
// of the table that assign analyze prints, under the same names.
type NoiseLaw struct {
	N   int `json:"n"` // draws that were measured
	Dim int `json:"dim"`
	noiseFigures
	ClassChance   *runlog.Number `json:"class_chance"` // share of the commonest class
	StandardError noiseFigures   `json:"standard_error"`
}

type noiseFigures struct {
	DistanceAfter     runlog.Number   `json:"distance_after"`      // mean |x − n|
	NoiseSecondMoment runlog.Number   `json:"noise_second_moment"` // E|n|²/D; Gaussian: 1
	AlongX            runlog.Number   `json:"along_x"`             // E n·x̂
	AlongResidual     runlog.Number   `json:"along_residual"`      // the same for x less the mean of its class
	MeanShift         runlog.Number   `json:"mean_shift"`          // |E n|²; Gaussian: 0
	LeadingVariance   []runlog.Number `json:"leading_variance"`    // along the images' leading principal directions; Gaussian: 1
	ClassProbe        *runlog.Number  `json:"class_probe"`         // share of classes read from the noise; null without labels
}

// lawWatch collects a run's first images and their noise and measures them
// beside the training.
type lawWatch struct {
	config        Config
	path          string
	dim, n        int
	images, noise []float32
	labels        []int64
	done          chan error
	law           *NoiseLaw
}

// Draws that are measured, and at most how many bytes of them: a run's first
// steps, so that its memory is flat afterwards.
const (
	lawLeast = 32 // of fewer nothing can be said
	lawDraws = 1024
	lawBytes = 64 << 20
)

// watchLaw is nil where the run has been measured already.
func watchLaw(c Config, out string) (*lawWatch, error) {
	w := &lawWatch{config: c, path: filepath.Join(out, noiseLawFile)}
	_, err := os.Stat(w.path)
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return w, nil
}

// add shows it a pool, whose slices are never written again.
func (w *lawWatch) add(p *pool) {
	if w == nil || w.done != nil {
		return
	}
	most := max(lawLeast, min(lawDraws, lawBytes/(8*p.dim)))
	n := min(p.n, most-w.n)
	w.images, w.noise = append(w.images, p.images[:n*p.dim]...), append(w.noise, p.noise[:n*p.dim]...)
	w.labels = append(w.labels, p.labels[:n]...)
	if w.dim, w.n = p.dim, w.n+n; w.n == most {
		w.start()
	}
}

func (w *lawWatch) start() {
	w.done = make(chan error, 1)
	go func() { w.done <- w.measure() }()
}

// finish waits for the figures, and makes them of what there is where the run
// was too short. It returns a line for the user.
func (w *lawWatch) finish() (string, error) {
	if w == nil || w.n < lawLeast {
		return "", nil
	}
	if w.done == nil {
		w.start()
	}
	if err := <-w.done; err != nil {
		return "", fmt.Errorf("measuring the law of the noise: %w", err)
	}
	l := w.law
	line := fmt.Sprintf("the law of %d chosen noises: E|n|²/D %.3f, shift %.3f ± %.3f, variance along leading directions %.2f…%.2f", l.N,
		l.NoiseSecondMoment, l.MeanShift, l.StandardError.MeanShift, slices.Min(l.LeadingVariance), slices.Max(l.LeadingVariance))
	if l.ClassProbe != nil {
		line += fmt.Sprintf(", class read from it %.0f %% (chance %.0f %%)", 100**l.ClassProbe, 100**l.ClassChance)
	}
	return line + ": " + noiseLawFile, nil
}

func (w *lawWatch) measure() error {
	labels := w.labels
	if slices.Min(labels) < 0 || slices.Max(labels) == 0 {
		labels = nil
	}
	classes := labels
	if classes == nil {
		classes = make([]int64, w.n)
	}
	axes, err := leadingAxes(w.config, w.images, w.n, w.dim, classes)
	if err != nil {
		return err
	}
	m, err := assign.Measure(w.images, w.noise, w.n, w.dim, labels, axes)
	if err != nil {
		return err
	}
	w.images, w.noise = nil, nil
	l := &NoiseLaw{N: w.n, Dim: w.dim}
	figure := func(e assign.Estimate, value, deviation *runlog.Number) {
		*value, *deviation = runlog.Number(e.Value), runlog.Number(e.Error)
	}
	figure(m.Distance, &l.DistanceAfter, &l.StandardError.DistanceAfter)
	figure(m.SecondMoment, &l.NoiseSecondMoment, &l.StandardError.NoiseSecondMoment)
	figure(m.AlongX, &l.AlongX, &l.StandardError.AlongX)
	figure(m.AlongResidual, &l.AlongResidual, &l.StandardError.AlongResidual)
	figure(m.MeanShift, &l.MeanShift, &l.StandardError.MeanShift)
	for _, v := range m.LeadingVariance {
		l.LeadingVariance = append(l.LeadingVariance, runlog.Number(v.Value))
		l.StandardError.LeadingVariance = append(l.StandardError.LeadingVariance, runlog.Number(v.Error))
	}
	if labels != nil {
		probe, deviation, chance := runlog.Number(m.ClassProbe.Value), runlog.Number(m.ClassProbe.Error), runlog.Number(m.Chance)
		l.ClassProbe, l.StandardError.ClassProbe, l.ClassChance = &probe, &deviation, &chance
	}
	w.law = l
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return whole.File(w.path, append(text, '\n'))
}
