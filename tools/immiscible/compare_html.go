package main

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/whole"
)

// comparisonHTML is the whole page: no script, no font, no file but itself. Wide
// tables scroll in their own boxes, so that a telephone shows the rest.
//
//go:embed compare.html
var comparisonHTML string

var comparisonTemplate = template.Must(template.New("report").Funcs(template.FuncMap{"join": strings.Join}).Parse(comparisonHTML))

// writeComparison writes the curves and report.html beside report.json.
func writeComparison(out, command string, r *pipeline.Comparison) error {
	pictures, err := comparisonPictures(r)
	if err != nil {
		return err
	}
	page := comparisonPage{Report: r, Baseline: r.Arms[0].Name, Headlines: headlines(r), Command: command, Measured: measuredRows(r)}
	for _, p := range pictures {
		if err := whole.File(filepath.Join(out, p.File), p.Data); err != nil {
			return err
		}
		page.Curves = append(page.Curves, pageImage{p.Title, p.Alt, inline(p.Data)})
	}
	if page.Grids, err = pageGridsOf(out, r); err != nil {
		return err
	}
	page.tables(r)
	var b bytes.Buffer
	if err := comparisonTemplate.Execute(&b, page); err != nil {
		return fmt.Errorf("report.html: %w", err)
	}
	return whole.File(filepath.Join(out, "report.html"), b.Bytes())
}

// comparisonPage is what compare.html shows.
type comparisonPage struct {
	Report    *pipeline.Comparison
	Baseline  string
	Headlines []string
	Command   string
	Curves    []pageImage
	Grids     []pageGrids
	Speedups  []pageSpeedup
	Tables    []pageTable // by training steps
	Arms      []pageArm
	Diverged  []pipeline.CompareRun
	Measured  pageMeasured
}

type pageImage struct {
	Title, Alt string
	URL        template.URL
}

type pageGrids struct {
	Arm   string
	Grids []pageImage
}

type pageSpeedup struct {
	Arm, Speedup, Interval, Verdict, Reached, Final string
	SamplerSteps                                    int
	Races                                           []pageRace
}

type pageRace struct {
	Seed                                                int64
	Threshold, BaselineSteps, ArmSteps, Common, Speedup string
}

type pageTable struct {
	Title, Note string
	Rows        []pageRow
}

type pageRow struct {
	Arm          string
	SamplerSteps int
	Cells        []string
}

type pageArm struct {
	Arm      string
	Settings []string
	Distance string
}

// tables fills in the figures of the runs.
func (p *comparisonPage) tables(r *pipeline.Comparison) {
	interval := ""
	if len(r.Seeds) > 1 {
		interval = fmt.Sprintf(" Mean over %d seeds ± half of its 95 %% interval by Student's t.", len(r.Seeds))
	}
	fid := pageTable{Title: "FID by training steps", Note: "Lower is nearer to the data." + interval}
	difference := pageTable{Title: "FID less the baseline's", Note: "Seed by seed, so that what the arms of a seed share drops out: the figure to compare arms by. Below 0 the arm is better." + interval}
	accuracy := pageTable{Title: "Class as asked for", Note: "Share of the samples that the classifier reads as the class they were made for." + interval}
	for _, c := range r.Curves {
		a, b, d := pageRow{Arm: c.Arm, SamplerSteps: c.SamplerSteps}, pageRow{Arm: c.Arm, SamplerSteps: c.SamplerSteps}, pageRow{Arm: c.Arm, SamplerSteps: c.SamplerSteps}
		for k := range c.FID {
			a.Cells = append(a.Cells, plusMinus("%.2f", c.FID[k], c.FIDHalf[k]))
			if c.Difference != nil {
				b.Cells = append(b.Cells, plusMinus("%+.2f", c.Difference[k], c.DifferenceHalf[k]))
			}
			if c.ClassAccuracy != nil {
				d.Cells = append(d.Cells, plusMinus("%.1f %%", 100*c.ClassAccuracy[k], 100*c.ClassAccuracyHalf[k]))
			}
		}
		fid.Rows = append(fid.Rows, a)
		if b.Cells != nil {
			difference.Rows = append(difference.Rows, b)
		}
		if d.Cells != nil {
			accuracy.Rows = append(accuracy.Rows, d)
		}
	}
	for _, t := range []pageTable{fid, difference, accuracy} {
		if len(t.Rows) > 0 {
			p.Tables = append(p.Tables, t)
		}
	}
	for _, s := range r.Speedups {
		row := pageSpeedup{Arm: s.Arm, SamplerSteps: s.SamplerSteps, Speedup: figure(s.Speedup, 2), Interval: "–", Verdict: verdict(s),
			Reached: fmt.Sprintf("%d of %d", s.Reached, len(r.Seeds))}
		if s.Interval != nil {
			row.Interval = intervalText(s)
		}
		for _, race := range s.Seeds {
			row.Races = append(row.Races, pageRace{race.Seed, figure(race.ThresholdFID, 2), figure(race.BaselineSteps, 0), figure(race.ArmSteps, 0), figure(race.CommonFID, 2), figure(race.Speedup, 2)})
		}
		for _, c := range r.Curves {
			if c.Arm == s.Arm && c.SamplerSteps == s.SamplerSteps {
				last := len(c.Difference) - 1
				row.Final = plusMinus("%+.2f", c.Difference[last], c.DifferenceHalf[last])
			}
		}
		p.Speedups = append(p.Speedups, row)
	}
	for _, a := range r.Arms {
		sum, n := 0.0, 0.0
		for _, run := range r.Runs {
			if run.Arm == a.Name {
				sum, n = sum+float64(run.DistanceChange), n+1
			}
		}
		p.Arms = append(p.Arms, pageArm{a.Name, a.Settings, fmt.Sprintf("%+.2f %%", 100*sum/n)})
	}
	for _, run := range r.Runs {
		if run.Diverged != nil {
			p.Diverged = append(p.Diverged, run)
		}
	}
}

// pageGridsOf reads the samples of the first seed, after the last step that was
// judged.
func pageGridsOf(out string, r *pipeline.Comparison) ([]pageGrids, error) {
	var all []pageGrids
	for _, run := range r.Runs {
		if run.Seed != r.Seeds[0] {
			continue
		}
		row := pageGrids{Arm: run.Arm}
		for _, n := range r.SamplerSteps {
			last := 0
			for _, e := range run.Evaluations {
				if e.SamplerSteps == n {
					last = e.Step
				}
			}
			if last == 0 {
				continue
			}
			data, err := os.ReadFile(filepath.Join(out, pipeline.GridFile(run.Arm, run.Seed, last, n)))
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%w: the samples of a judged step are gone: put them back, or remove the run's folder, and it is made again", err)
			}
			if err != nil {
				return nil, err
			}
			title := fmt.Sprintf("%s, step %d, %d sampler steps", run.Arm, last, n)
			row.Grids = append(row.Grids, pageImage{title, "samples: " + title, inline(data)})
		}
		all = append(all, row)
	}
	return all, nil
}

// inline is a PNG as part of the page, which then needs no other file.
func inline(png []byte) template.URL {
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png))
}
