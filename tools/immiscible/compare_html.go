package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"

	"immiscible/pipeline"
)

// writeComparison writes the curves and report.html beside report.json.
func writeComparison(out string, r *pipeline.Comparison) error {
	pictures, err := comparisonPictures(r)
	if err != nil {
		return err
	}
	page := comparisonPage{Report: r}
	for _, p := range pictures {
		if err := replaceFile(filepath.Join(out, p.File), p.Data); err != nil {
			return err
		}
		page.Curves = append(page.Curves, pageImage{p.Title, inline(p.Data)})
	}
	for _, arm := range r.Arms {
		row := pageGrids{Arm: arm.Name}
		for _, n := range r.SamplerSteps {
			data, err := os.ReadFile(filepath.Join(out, pipeline.GridFile(arm.Name, r.Seeds[0], r.Steps, n)))
			if err != nil {
				return err
			}
			row.Grids = append(row.Grids, pageImage{fmt.Sprintf("%s, %d sampler steps", arm.Name, n), inline(data)})
		}
		page.Grids = append(page.Grids, row)
	}
	for _, s := range r.Speedups {
		page.Speedups = append(page.Speedups, pageSpeedup{s, speedupText(r, s)})
	}
	for _, c := range r.Curves {
		line := pageCurve{Arm: c.Arm, SamplerSteps: c.SamplerSteps}
		for k, x := range c.FID {
			text := fmt.Sprintf("%.2f", x)
			if c.StandardError != nil {
				text += fmt.Sprintf(" ± %.2f", c.StandardError[k])
			}
			line.FID = append(line.FID, text)
		}
		page.Table = append(page.Table, line)
	}
	for _, run := range r.Runs {
		page.Distances = append(page.Distances, pageRun{run.Arm, run.Seed, fmt.Sprintf("%+.2f %%", 100*run.DistanceChange)})
	}
	var b bytes.Buffer
	if err := comparisonTemplate.Execute(&b, page); err != nil {
		return fmt.Errorf("report.html: %w", err)
	}
	return replaceFile(filepath.Join(out, "report.html"), b.Bytes())
}

type comparisonPage struct {
	Report    *pipeline.Comparison
	Curves    []pageImage
	Grids     []pageGrids
	Speedups  []pageSpeedup
	Table     []pageCurve
	Distances []pageRun
}

type pageImage struct {
	Title string
	URL   template.URL
}

type pageGrids struct {
	Arm   string
	Grids []pageImage
}

type pageSpeedup struct {
	pipeline.CompareSpeedup
	Text string
}

type pageCurve struct {
	Arm          string
	SamplerSteps int
	FID          []string
}

type pageRun struct {
	Arm      string
	Seed     int64
	Distance string
}

// inline is a PNG as part of the page, which then needs no other file.
func inline(png []byte) template.URL {
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png))
}

// comparisonTemplate is the whole page: no script, no font, no file but itself.
// Wide tables scroll in their own boxes, so that a telephone shows the rest.
var comparisonTemplate = template.Must(template.New("report").Funcs(template.FuncMap{"join": strings.Join}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Comparison of pairings</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1100px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2rem; }
figure { margin: 0 0 .6rem; } figcaption { font-size: .9rem; color: #555; }
img { max-width: 100%; height: auto; display: block; }
img.samples { image-rendering: pixelated; min-width: min(100%, 340px); }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 1.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
code { overflow-wrap: anywhere; font-size: .85rem; }
</style>
</head>
<body>
<h1>Comparison of pairings</h1>
<p>{{len .Report.Arms}} arms, {{len .Report.Seeds}} seed{{if gt (len .Report.Seeds) 1}}s{{end}}, {{.Report.Steps}} steps each. Arms of a seed share initial weights,
order of images, timesteps and draws of noise. FID is in the features of <b>{{.Report.Features.Name}}</b>, of {{.Report.Samples}} samples of the moving
average ({{.Report.Sampler}}), against {{.Report.Reference.N}} images of <b>{{.Report.Reference.Name}}</b>. Lower is nearer.</p>
<h2>Curves</h2>
<div class="row">{{range .Curves}}<figure><img src="{{.URL}}" alt="{{.Title}}"><figcaption>{{.Title}}</figcaption></figure>{{end}}</div>
{{if .Speedups}}<h2>Speed-up</h2>
<p>The steps that the baseline, {{(index .Report.Arms 0).Name}}, takes to its own lowest FID, over the steps that an arm takes to the same.{{if lt (len .Report.Seeds) 2}}
With one seed there is no interval: how much of a difference is chance is unknown.{{end}}</p>
<ul>{{range .Speedups}}<li><b>{{.Arm}}</b>, {{.SamplerSteps}} sampler steps: {{.Text}}.</li>{{end}}</ul>{{end}}
<h2>FID by training steps</h2>
<div class="wide"><table><tr><th>arm</th><th>sampler steps</th>{{range .Report.At}}<th>{{.}}</th>{{end}}</tr>
{{range .Table}}<tr><td>{{.Arm}}</td><td>{{.SamplerSteps}}</td>{{range .FID}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table></div>
{{if gt (len .Report.Seeds) 1}}<p>Mean ± standard error over the seeds.</p>{{end}}
<h2>Samples</h2>
<p>After the last step, seed {{index .Report.Seeds 0}}; the same initial noise everywhere{{if .Report.Conditioned}}, a column a class{{end}}.</p>
{{range .Grids}}<div class="row">{{range .Grids}}<figure><img class="samples" src="{{.URL}}" alt="samples: {{.Title}}"><figcaption>{{.Title}}</figcaption></figure>{{end}}</div>
{{end}}
<h2>What was compared</h2>
<div class="wide"><table><tr><th>arm</th><th style="text-align:left">settings</th></tr>
{{range .Report.Arms}}<tr><td>{{.Name}}</td><td style="text-align:left;white-space:normal;min-width:16rem"><code>{{join .Settings " "}}</code></td></tr>
{{end}}</table></div>
<p>Mean change of the distance from image to noise by the pairing:</p>
<div class="wide"><table><tr><th>arm</th><th>seed</th><th>change</th></tr>
{{range .Distances}}<tr><td>{{.Arm}}</td><td>{{.Seed}}</td><td>{{.Distance}}</td></tr>
{{end}}</table></div>
<p>SHA-256 of the network: <code>{{.Report.Features.SHA256}}</code><br>of the reference: <code>{{.Report.Reference.SHA256}}</code></p>
</body>
</html>
`))
