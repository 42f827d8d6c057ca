package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"immiscible/pipeline/whole"
)

// sweepKeys are the flags that assign analyze -over takes.
var sweepKeys = []string{"knn_k", "pool_size", "cost", "scale", "whiten"}

// values are the options of each row of -over, in order, nil without it.
func (o analyzeOptions) values() ([]analyzeOptions, error) {
	if o.over == "" {
		return nil, nil
	}
	key, list, _ := strings.Cut(o.over, "=")
	if !slices.Contains(sweepKeys, key) || list == "" {
		return nil, usagef("-over %q, want KEY=LIST with one of %s", o.over, strings.Join(sweepKeys, ", "))
	}
	if key == "knn_k" || key == "whiten" {
		if o.pairing != "knn" {
			return nil, usagef("-over %s with -pairing %s, want knn", key, o.pairing)
		}
	} else if key == "cost" && o.pairing != "linear" {
		return nil, usagef("-over cost with -pairing %s, want linear", o.pairing)
	}
	var rows []analyzeOptions
	for value := range strings.SplitSeq(list, ",") {
		row := o
		row.over = strings.TrimSpace(value)
		whole := func(to *int, least int) (err error) {
			if *to, err = strconv.Atoi(row.over); err != nil || *to < least {
				return usagef("-over %s=%s: %q is no number from %d up", key, list, row.over, least)
			}
			return nil
		}
		var err error
		switch key {
		case "knn_k":
			row.k = row.over
		case "cost":
			row.cost = row.over
		case "scale":
			row.factor = row.over
		case "pool_size":
			err = whole(&row.poolSize, 1)
		case "whiten":
			err = whole(&row.whiten, 0)
		}
		if err == nil {
			_, err = row.config(1)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// sweep measures a pairing for each value of a flag.
func (o analyzeOptions) sweep(ctx context.Context, images *assignImages, values []analyzeOptions, stdout io.Writer) error {
	key, _, _ := strings.Cut(o.over, "=")
	if !o.asJSON {
		fmt.Fprintf(stdout, "%s, %d images of %d numbers, pairing %s; ± one standard error\n%s", images.Name, images.N, images.Dim, o.pairing, sweepHead(key))
	}
	var reports []*assignReport
	for _, row := range values {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r, err := row.analyze(images)
		if err == nil && o.asJSON {
			err = printJSON(stdout, r)
		} else if err == nil {
			_, err = io.WriteString(stdout, r.sweepRow(row.over))
		}
		if err != nil {
			return fmt.Errorf("%s = %s: %w", key, row.over, err)
		}
		reports = append(reports, r)
	}
	if o.plot == "" {
		return nil
	}
	file, err := sweepPNG(key, values, reports)
	if err != nil {
		return fmt.Errorf("-plot: %w", err)
	}
	return whole.File(o.plot, file)
}

// sweepHead names the columns of sweepRow.
func sweepHead(key string) string {
	return fmt.Sprintf("%10s  %9s  %-17s  %-15s  %-17s  %-13s  %-15s  %9s\n", key, "distance", "E|n|²/D", "align", "shift", "probe, %", "miscibility", "choice ms")
}

// sweepRow is the report as a row of a sweep.
func (r *assignReport) sweepRow(value string) string {
	probe, clusters := "–", "–"
	if r.ClassProbe != nil {
		probe = fmt.Sprintf("%.1f ± %.1f", 100**r.ClassProbe, 100**r.StandardError.ClassProbe)
	}
	if r.ClusterDistance != nil {
		clusters = fmt.Sprintf("%.2f ± %.2f", *r.ClusterDistance, *r.StandardError.ClusterDistance)
	}
	return fmt.Sprintf("%10s  %+7.2f %%  %.4f ± %.4f    %.3f ± %.3f    %.4f ± %.4f    %-13s  %-15s  %9.2f\n", value, 100*(r.DistanceAfter/r.DistanceBefore-1),
		r.NoiseSecondMoment, r.StandardError.NoiseSecondMoment, r.AlongResidual, r.StandardError.AlongResidual, r.MeanShift, r.StandardError.MeanShift,
		probe, clusters, r.PairMS.Median)
}
