package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
)

// pageMeasured is the part of the page that another machine, or another call,
// fills otherwise.
type pageMeasured struct {
	Noise, Times [][]string // a row an arm
	Whole        string
	Machine      []string
}

// measuredRows gathers them by arm.
func measuredRows(r *pipeline.Comparison) pageMeasured {
	m := r.Measured
	var p pageMeasured
	train, judge, untimed := 0.0, 0.0, false
	for _, arm := range r.Arms {
		var runs []pipeline.CompareMeasuredRun
		for _, run := range m.Runs {
			if run.Arm == arm.Name {
				runs = append(runs, run)
			}
		}
		trained, judged := 0.0, 0.0
		var steps []float64
		timed := true
		for _, run := range runs {
			trained += run.TrainSeconds
			steps = append(steps, float64(run.StepMS))
			if run.JudgeSeconds != nil {
				judged += *run.JudgeSeconds
			} else {
				timed = false
			}
		}
		slices.Sort(steps)
		row := []string{arm.Name, fmt.Sprint(len(runs)), figure(runlog.Number(steps[len(steps)/2]), 1), duration(trained), duration(judged), duration(trained + judged)}
		if !timed {
			row[4], row[5] = "not kept", "–"
		}
		p.Times = append(p.Times, row)
		if noise := noiseRow(arm.Name, runs); noise != nil {
			p.Noise = append(p.Noise, noise)
		}
		train, judge, untimed = train+trained, judge+judged, untimed || !timed
	}
	p.Whole = fmt.Sprintf("Training and judging took %s in all.", duration(train+judge))
	if untimed {
		p.Whole = fmt.Sprintf("Training took %s in all. Some judgements are of a program that did not keep their time.", duration(train))
	}
	threads := countOf(m.Threads, "thread")
	p.Machine = []string{
		fmt.Sprintf("%s, %s, %.1f GiB of memory, %s", strings.TrimSpace(m.CPU), countOf(m.CPUs, "CPU"), float64(m.MemoryBytes)/(1<<30), m.Platform),
		fmt.Sprintf("provider %s, %s; ONNX Runtime %s, %s; written by %s", m.Provider, threads, m.ONNXRuntime, m.Go, m.Program),
	}
	if len(m.GPUs) > 0 {
		p.Machine = append(p.Machine, "GPU: "+strings.Join(m.GPUs, ", "))
	}
	return p
}

// noiseRow is the law of an arm's noise, mean over its runs; nil where no run
// measured it.
func noiseRow(arm string, runs []pipeline.CompareMeasuredRun) []string {
	var moment, shift, low, high, probe, chance mean
	for _, run := range runs {
		l := run.Noise
		if l == nil {
			continue
		}
		moment.add(l.NoiseSecondMoment)
		shift.add(l.MeanShift)
		if len(l.LeadingVariance) > 0 {
			low.add(slices.Min(l.LeadingVariance))
			high.add(slices.Max(l.LeadingVariance))
		}
		if l.ClassProbe != nil && l.ClassChance != nil {
			probe.add(100 * *l.ClassProbe)
			chance.add(100 * *l.ClassChance)
		}
	}
	if moment.n == 0 {
		return nil
	}
	return []string{arm, moment.text(3), shift.text(3), low.text(2) + " … " + high.text(2), probe.text(1) + " %", chance.text(1) + " %"}
}

// mean is a running mean.
type mean struct{ sum, n float64 }

func (m *mean) add(x runlog.Number) { m.sum, m.n = m.sum+float64(x), m.n+1 }

func (m mean) text(decimals int) string { return figure(runlog.Number(m.sum/m.n), decimals) }

func duration(seconds float64) string {
	if seconds < 60 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	return time.Duration(math.Round(seconds) * float64(time.Second)).String()
}
