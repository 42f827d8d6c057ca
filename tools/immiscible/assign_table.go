package main

import (
	"fmt"
	"strings"
)

// tableRows are the pairings of design §7's table, and independent noise.
func tableRows(labels bool) []analyzeOptions {
	rows := []analyzeOptions{
		{pairing: "independent", k: "1", score: "dot", center: "none"},
		{pairing: "linear", k: "1", score: "dot", center: "none"},
		{pairing: "linear", k: "1", score: "dot", center: "none", perClass: true},
		{pairing: "knn", k: "8", score: "l2", center: "none"},
		{pairing: "knn", k: "64", score: "dot", center: "class"},
		{pairing: "knn", k: "64", score: "dot", center: "class", whiten: tableWhiten},
		{pairing: "knn", k: "4096", score: "dot", center: "class", whiten: tableWhiten},
	}
	var out []analyzeOptions
	for _, r := range rows {
		if !labels {
			if r.perClass {
				continue
			}
			if r.center == "class" {
				r.center = "global"
			}
		}
		out = append(out, r)
	}
	return out
}

// tableWhiten is the number of directions that the table whitens.
const tableWhiten = 128

const tableHead = "pairing                                  shift            E|n|²/D           var along leading directions         probe, %       align            distance\n"

// row is the report as a row of the table.
func (r *assignReport) row() string {
	name := r.Pairing
	switch {
	case r.Pairing == "linear":
		name = fmt.Sprintf("linear, pool %d", r.PoolSize)
		if r.PerClass {
			name = fmt.Sprintf("linear within class, pool %d", r.PoolSize)
		}
	case r.Pairing == "knn":
		name = fmt.Sprintf("knn %s, k = %v", r.KNNScore, r.KNNK)
		if r.Center != "none" {
			name += ", " + r.Center
		}
		if r.Whiten > 0 {
			name += fmt.Sprintf(", whiten %d", r.Whiten)
		}
	}
	variances := make([]string, len(r.LeadingVariance))
	for i, v := range r.LeadingVariance {
		variances[i] = fmt.Sprintf("%.2f", v)
	}
	probe := "–"
	if r.ClassProbe != nil {
		probe = fmt.Sprintf("%.1f ± %.1f", 100**r.ClassProbe, 100**r.StandardError.ClassProbe)
	}
	return fmt.Sprintf("%-38s %7.4f ± %.4f  %.4f ± %.4f   %s ± %.2f   %-13s  %5.3f ± %.3f   %+.2f %%\n", name, r.MeanShift, r.StandardError.MeanShift,
		r.NoiseSecondMoment, r.StandardError.NoiseSecondMoment, strings.Join(variances, " "), largestOf(r.StandardError.LeadingVariance), probe,
		r.AlongResidual, r.StandardError.AlongResidual, 100*(r.DistanceAfter/r.DistanceBefore-1))
}
