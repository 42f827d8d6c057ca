package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"immiscible/pipeline"
)

// tinyCompare is a compare command over tinyTrain's settings.
func tinyCompare(out string, more ...string) []string {
	args := []string{"compare", "-out", out, "-steps", "6", "-at", "2,6", "-sampler_steps", "2,3", "-samples", "21"}
	for i, arg := range tinyTrain("") {
		if i > 2 { // after train -out ""
			args = append(args, arg)
		}
	}
	return append(args, more...)
}

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Two arms, two seeds: every figure is there, runs differ in nothing but their
// noise, the page needs no other file; the same command makes nothing again; an
// arm may join; other settings are refused.
func TestCompare(t *testing.T) {
	out := filepath.Join(t.TempDir(), "comparison")
	two := tinyCompare(out, "-seeds", "2", "-arms", "independent,mine:pairing=knn;knn_k=16;knn_score=dot;per_class=false")
	stdout, _ := mustCall(t, two...)
	if !strings.Contains(stdout, "mine, 3 sampler steps: independent reaches its lowest FID") {
		t.Errorf("stdout %q", stdout)
	}
	var r pipeline.Comparison
	if err := json.Unmarshal([]byte(readFile(t, out, "report.json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Schema != "immiscible.compare/1" || len(r.Runs) != 4 || len(r.Curves) != 4 || len(r.Speedups) != 2 || r.Reference.N != 10000 ||
		len(r.Reference.SHA256) != 64 || r.Features.Name != "fashion-mnist" || r.Runs[0].Arm != "independent" || r.Speedups[0].Interval == nil {
		t.Errorf("report %+v", r)
	}
	for _, run := range r.Runs {
		if len(run.Evaluations) != 4 || (run.Arm == "independent") != (run.DistanceChange == 0) || run.DistanceChange > 0 {
			t.Errorf("%s, seed %d: %+v", run.Arm, run.Seed, run)
		}
		for _, e := range run.Evaluations {
			if !(e.FID > 0) || e.ClassAccuracy == nil || *e.ClassAccuracy < 0 || *e.ClassAccuracy > 1 {
				t.Errorf("%s, seed %d: %+v", run.Arm, run.Seed, e)
			}
		}
	}
	for _, seed := range []string{"seed-0", "seed-1"} {
		a, b := filepath.Join(out, "runs", "independent", seed), filepath.Join(out, "runs", "mine", seed)
		noise := regexp.MustCompile(`(?s)\[noise\].*?\n\[`)
		if x, y := readFile(t, a, "config.toml"), readFile(t, b, "config.toml"); x == y || noise.ReplaceAllString(x, "") != noise.ReplaceAllString(y, "") {
			t.Errorf("%s: the arms' settings differ in more than their noise", seed)
		}
		var first [2]map[string]any
		for i, dir := range []string{a, b} {
			line, _, _ := strings.Cut(readFile(t, dir, "log.jsonl"), "\n")
			if err := json.Unmarshal([]byte(line), &first[i]); err != nil {
				t.Fatal(err)
			}
		}
		// The same images and draws: equal distances before anything is chosen.
		if first[0]["distance_before"] != first[1]["distance_before"] || first[0]["distance_after"] == first[1]["distance_after"] {
			t.Errorf("%s: distances %v and %v", seed, first[0], first[1])
		}
	}
	checkPage(t, out, 5+2*2) // FID and class for two sampler settings, and the last step; two arms' samples

	report, page := readFile(t, out, "report.json"), readFile(t, out, "report.html")
	before := tree(t, filepath.Join(out, "runs"))
	_, stderr := mustCall(t, two...)
	if readFile(t, out, "report.json") != report || readFile(t, out, "report.html") != page || len(tree(t, filepath.Join(out, "runs"))) != len(before) || strings.Contains(stderr, "step 1/") {
		t.Errorf("the same command made something again: %q", stderr)
	}
	mustCall(t, tinyCompare(out, "-seeds", "2", "-arms", "independent,linear,mine:pairing=knn;knn_k=16;knn_score=dot;per_class=false")...)
	var joined pipeline.Comparison
	if err := json.Unmarshal([]byte(readFile(t, out, "report.json")), &joined); err != nil {
		t.Fatal(err)
	}
	if len(joined.Runs) != 6 || fmt.Sprint(joined.Curves[0]) == "" || joined.Curves[0].FID[1] != r.Curves[0].FID[1] {
		t.Errorf("an arm joined: %+v", joined.Curves)
	}
	for _, test := range []struct{ want, flag, value string }{
		{"was made with samples 21, now 22", "-samples", "22"},
		{"was made with sampler_steps [2 3], now [2]", "-sampler_steps", "2"},
		{"was made with other settings", "-set", "train.batch_size=16"},
	} {
		status, _, stderr := call(context.Background(), append(two, test.flag, test.value)...)
		if status != 1 || !strings.Contains(stderr, test.want) {
			t.Errorf("%s %s: exit %d, %q", test.flag, test.value, status, stderr)
		}
	}
}

// checkPage looks at report.html: pictures inside it, nothing outside.
func checkPage(t *testing.T, out string, pictures int) {
	t.Helper()
	page := readFile(t, out, "report.html")
	if strings.Contains(page, "http") || strings.Contains(page, "<script") || strings.Contains(page, "#ZgotmplZ") || strings.Count(page, "<img ") != strings.Count(page, `src="data:image/png;base64,`) {
		t.Error("the page asks for something outside itself")
	}
	if got := strings.Count(page, "<img "); got != pictures {
		t.Errorf("%d pictures on the page, want %d", got, pictures)
	}
	for _, text := range []string{"<!DOCTYPE html>", `name="viewport"`, "Speed-up", "knn_k=16", "lowest FID"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	files, err := filepath.Glob(filepath.Join(out, "*.png"))
	if err != nil || len(files) != 5 {
		t.Errorf("%d PNG files, %v, want 5", len(files), err)
	}
	for _, file := range files {
		config, err := png.DecodeConfig(bytes.NewReader([]byte(readFile(t, file))))
		if err != nil || config.Width < 600 {
			t.Errorf("%s: %v, %v", file, config, err)
		}
	}
}

// A comparison that is stopped while it judges goes on and gives the same
// report as one that was not.
func TestCompareResumes(t *testing.T) {
	whole, cut := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "cut")
	arms := []string{"-arms", "linear,linear-class-blind", "-seeds", "3,1"}
	mustCall(t, tinyCompare(whole, arms...)...)

	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { // as soon as the first judgement of a seed's second arm stands
		path := filepath.Join(cut, "runs", "linear-class-blind", "seed-3", "evaluations.jsonl")
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte("\n")) {
				break
			}
		}
		cancel(stopped{2})
	}()
	status, _, stderr := call(ctx, tinyCompare(cut, arms...)...)
	if status != 130 || !strings.Contains(stderr, "linear-class-blind, seed 3: ") {
		t.Fatalf("stopped: exit %d, %q", status, stderr)
	}
	if _, err := os.Stat(filepath.Join(cut, "report.json")); err == nil {
		t.Fatal("the comparison was over before it was stopped")
	}
	mustCall(t, tinyCompare(cut, arms...)...)
	if readFile(t, whole, "report.json") != readFile(t, cut, "report.json") || readFile(t, whole, "report.html") != readFile(t, cut, "report.html") {
		t.Error("the report of a stopped comparison differs")
	}
}

func TestCompareRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "none")
	for _, test := range []struct {
		status int
		want   string
		args   []string
	}{
		{1, `arm "best", want one of independent`, []string{"-arms", "independent,best"}},
		{1, `arm "linear" stands twice`, []string{"-arms", "linear,linear"}},
		{1, `arm "x": `, []string{"-arms", "x:pairing=closest"}},
		{1, "images with channels 1, and [data] channels is 3: name another network", []string{"-preset", "cifar10-ddim"}},
		{2, "-at 3,7 goes beyond -steps 6", []string{"-steps", "6", "-at", "3,7"}},
		{2, "want each number larger", []string{"-steps", "6", "-at", "3,3"}},
		{2, `"x" is no number`, []string{"-sampler_steps", "x"}},
		{2, "-seeds 0,", []string{"-seeds", "0,0"}},
		{2, "-seeds 0,", []string{"-seeds", "0"}},
		{2, "-samples 1", []string{"-samples", "1"}},
		{2, "-steps 0", []string{"-steps", "0"}},
		{2, "unexpected argument", []string{"x"}},
	} {
		status, stdout, stderr := call(context.Background(), append([]string{"compare", "-out", out}, test.args...)...)
		first, _, _ := strings.Cut(stderr, "\n")
		if status != test.status || stdout != "" || !strings.Contains(first, test.want) {
			t.Errorf("compare %v: exit %d, stdout %q, stderr %q, want %d and %q", test.args, status, stdout, stderr, test.status, test.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("compare %v made the folder", test.args)
		}
	}
}
