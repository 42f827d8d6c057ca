package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
)

// comparisonText is a comparison for people, on a terminal.
func comparisonText(r *pipeline.Comparison) string {
	var b strings.Builder
	fmt.Fprintf(&b, "FID in %s features, %d samples, mean of %s, against %s\n", r.Features.Name, r.Samples, countOf(len(r.Seeds), "seed"), r.Reference.Name)
	fmt.Fprintf(&b, "%-20s %13s", "arm", "sampler steps")
	for _, step := range r.At {
		fmt.Fprintf(&b, " %9d", step)
	}
	b.WriteString("\n")
	for _, c := range r.Curves {
		fmt.Fprintf(&b, "%-20s %13d", c.Arm, c.SamplerSteps)
		for _, x := range c.FID {
			fmt.Fprintf(&b, " %9s", figure(x, 3))
		}
		b.WriteString("\n")
	}
	for _, s := range r.Speedups {
		fmt.Fprintf(&b, "%s, %d sampler steps: %s\n", s.Arm, s.SamplerSteps, speedupText(r, s))
	}
	for _, run := range r.Runs {
		if d := run.Diverged; d != nil {
			fmt.Fprintf(&b, "%s, seed %d diverged at step %d: %s\n", run.Arm, run.Seed, d.Step, d.Why)
		}
	}
	return b.String()
}

// verdict is what a speed-up and its interval allow one to say.
func verdict(s pipeline.CompareSpeedup) string {
	switch {
	case math.IsNaN(float64(s.Speedup)):
		return "diverged"
	case s.Interval == nil:
		return "one seed"
	case s.Interval[0] > 1:
		return "faster"
	case s.Interval[1] < 1:
		return "slower"
	}
	return "not told apart"
}

// speedupText says what a speed-up is, in words that do not claim more.
func speedupText(r *pipeline.Comparison, s pipeline.CompareSpeedup) string {
	base := r.Arms[0].Name
	if math.IsNaN(float64(s.Speedup)) {
		return fmt.Sprintf("a run of it or of %s diverged before it was judged", base)
	}
	text := fmt.Sprintf("%s as fast as %s", times(s), base)
	if s.Interval != nil {
		text += fmt.Sprintf(" (95 %% interval %s): %s", intervalText(s), verdict(s))
	}
	return text + "; " + reachedText(r, s)
}

// reachedText says how far the ratio is the papers' speed-up.
func reachedText(r *pipeline.Comparison, s pipeline.CompareSpeedup) string {
	base := r.Arms[0].Name
	switch n := len(r.Seeds); s.Reached {
	case n:
		return fmt.Sprintf("it comes to the lowest FID of %s in %s", base, countOf(n, "seed"))
	case 0:
		return fmt.Sprintf("it never comes to the lowest FID of %s, so this is at the lowest that both reach", base)
	default:
		return fmt.Sprintf("it comes to the lowest FID of %s in %d of %d seeds; in the others this is at the lowest that both reach", base, s.Reached, n)
	}
}

// headlines say what was found, a sentence or more for each number of sampler
// steps, the most first: samples of many steps show the model, those of few the
// sampler's errors too.
func headlines(r *pipeline.Comparison) []string {
	var all []string
	for _, n := range slices.Backward(r.SamplerSteps) {
		by := map[string][]pipeline.CompareSpeedup{}
		for _, s := range r.Speedups {
			if s.SamplerSteps == n {
				by[verdict(s)] = append(by[verdict(s)], s)
			}
		}
		var parts []string
		for _, group := range []struct{ verdict, first, later string }{
			{"faster", "faster than %s: ", "faster: "}, {"slower", "slower than %s: ", "slower: "}, {"not told apart", "not told apart from %s: ", "not told apart: "},
			{"one seed", "against %s, from one seed, which cannot tell a difference from chance: ", ""}, {"diverged", "diverged, or %s did: ", "diverged: "},
		} {
			list := by[group.verdict]
			if len(list) == 0 {
				continue
			}
			slices.SortStableFunc(list, func(a, b pipeline.CompareSpeedup) int { return cmp.Compare(b.Speedup, a.Speedup) })
			var names []string
			for _, s := range list {
				text := s.Arm
				if group.verdict != "diverged" {
					text += " " + times(s)
				}
				if s.Interval != nil && len(parts)+len(names) == 0 {
					text += " as fast (95 % interval " + intervalText(s) + ")"
				} else if s.Interval != nil {
					text += " (" + intervalText(s) + ")"
				}
				names = append(names, text)
			}
			words := group.later
			if len(parts) == 0 {
				words = fmt.Sprintf(group.first, r.Arms[0].Name)
			}
			parts = append(parts, words+strings.Join(names, ", "))
		}
		if len(parts) > 0 {
			all = append(all, fmt.Sprintf("With %s, %s.", countOf(n, "sampler step"), strings.Join(parts, "; ")))
		}
	}
	return all
}

// times has a space that breaks no line.
func times(s pipeline.CompareSpeedup) string { return fmt.Sprintf("%.2f\u00a0×", s.Speedup) }

func intervalText(s pipeline.CompareSpeedup) string {
	return fmt.Sprintf("%.2f to %.2f", s.Interval[0], s.Interval[1])
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// figure is a number with decimals, or a dash where there is none.
func figure(x runlog.Number, decimals int) string {
	if v := float64(x); math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, x)
}

// plusMinus is a mean and the half width of its interval, where there is one, with
// minus signs instead of hyphens.
func plusMinus(format string, x, half runlog.Number) string {
	text := figure(x, 2)
	if text == "–" {
		return text
	}
	text = fmt.Sprintf(format, x)
	if !math.IsNaN(float64(half)) {
		text += " ± " + strings.TrimPrefix(fmt.Sprintf(format, half), "+")
	}
	return strings.ReplaceAll(text, "-", "−")
}
