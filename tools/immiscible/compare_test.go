package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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

// fewImages are 40 grey images in a folder a class, so that a test does not wait
// for the 10,000 of the embedded set to be read for the reference.
func fewImages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 40 {
		picture := image.NewGray(image.Rect(0, 0, 8, 8))
		for k := range picture.Pix {
			picture.Pix[k] = byte(i*37 + k*(3+i%10))
		}
		var b bytes.Buffer
		if err := png.Encode(&b, picture); err != nil {
			t.Fatal(err)
		}
		class := filepath.Join(dir, fmt.Sprint("class-", i%10))
		if err := os.MkdirAll(class, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, fmt.Sprint(i, ".png")), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return "data.source=" + strconv.Quote(dir)
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
	if !strings.Contains(stdout, "mine, 3 sampler steps: ") {
		t.Errorf("stdout %q", stdout)
	}
	var r pipeline.Comparison
	if err := json.Unmarshal([]byte(readFile(t, out, "report.json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Schema != "immiscible.compare/2" || len(r.Runs) != 4 || len(r.Curves) != 4 || len(r.Speedups) != 2 || r.Reference.N != 10000 ||
		len(r.Reference.SHA256) != 64 || r.Features.Name != "fashion-mnist" || r.Runs[0].Arm != "independent" || r.Speedups[0].Interval == nil || len(r.Speedups[0].Seeds) != 2 {
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

	var m pipeline.CompareMeasured
	if err := json.Unmarshal([]byte(readFile(t, out, "measured.json")), &m); err != nil {
		t.Fatal(err)
	}
	for _, run := range m.Runs {
		if !(run.TrainSeconds > 0 && run.StepMS > 0) || run.JudgeSeconds == nil || *run.JudgeSeconds <= 0 || run.Noise == nil {
			t.Errorf("measured %+v", run)
		}
	}
	if len(m.Runs) != 4 || m.CPU == "" || m.ONNXRuntime == "" || m.Program == "" {
		t.Errorf("measured %+v", m)
	}

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
	for _, text := range []string{"<!DOCTYPE html>", `name="viewport"`, "Speed-up", "knn_k=16", "lowest FID", "Class as asked for", "measured"} {
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

// A comparison that is stopped while it judges, or killed or stopped at random
// moments, goes on and gives the same report as one that was not; only times and
// what the runs measured of their noise may differ.
func TestCompareResumes(t *testing.T) {
	dir := t.TempDir()
	whole, cut, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "cut"), filepath.Join(dir, "killed")
	arms := []string{"-arms", "linear,linear-class-blind", "-seeds", "3,1", "-set", fewImages(t)}
	same := func(out string) {
		t.Helper()
		if readFile(t, whole, "report.json") != readFile(t, out, "report.json") {
			t.Errorf("%s: report.json differs", out)
		}
		var pages [2]string
		for i, dir := range []string{whole, out} {
			pages[i] = measuredPart.ReplaceAllString(readFile(t, dir, "report.html"), "")
		}
		if pages[0] != pages[1] || len(pages[0]) < 1000 {
			t.Errorf("%s: report.html differs", out)
		}
	}
	start := time.Now()
	mustCall(t, tinyCompare(whole, arms...)...)
	took := time.Since(start)

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
	same(cut)

	seed := time.Now().UnixNano()
	random := rand.New(rand.NewSource(seed))
	ended := false
	for _, signal := range []os.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGKILL} {
		cmd, stderr := program(t, "", tinyCompare(killed, arms...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int63n(int64(took))))
		cmd.Process.Signal(signal)
		err := cmd.Wait()
		switch code := cmd.ProcessState.ExitCode(); {
		case err == nil:
			ended = true // it was quicker
		case signal == syscall.SIGKILL && code == -1 || signal == syscall.SIGINT && (code == 130 || code == -1): // −1: before the program listened
		default:
			t.Fatalf("seed %d, %v: %v: %s", seed, signal, err, stderr)
		}
	}
	mustCall(t, tinyCompare(killed, arms...)...)
	same(killed)
	t.Logf("seed %d; it ended before the last signal: %v", seed, ended)
}

// A run whose weights blow up is recorded, and the others go on: its curve ends,
// it has no speed-up, and the same command does not try it again.
func TestCompareDiverges(t *testing.T) {
	out := filepath.Join(t.TempDir(), "comparison")
	args := tinyCompare(out, "-set", fewImages(t), "-arms", "independent,hot:pairing=independent;lr.learning_rate=3e38;lr.warmup_steps=0;train.max_grad_norm=0;train.max_bad_steps=1")
	stdout, stderr := mustCall(t, args...)
	if !strings.Contains(stderr, "hot, seed 0 diverged at step ") || !strings.Contains(stdout, "hot, seed 0 diverged at step ") {
		t.Fatalf("stdout %q, stderr %q", stdout, stderr)
	}
	var r pipeline.Comparison
	if err := json.Unmarshal([]byte(readFile(t, out, "report.json")), &r); err != nil {
		t.Fatal(err)
	}
	if d := r.Runs[1].Diverged; d == nil || d.Step < 2 || d.Step > 6 || d.Why == "" || r.Runs[0].Diverged != nil || len(r.Runs[0].Evaluations) != 4 || len(r.Runs[1].Evaluations) >= 4 {
		t.Errorf("runs %+v", r.Runs)
	}
	if text := readFile(t, out, "report.html"); !strings.Contains(text, "hot, seed 0, diverged at step") {
		t.Error("the page does not say that a run diverged")
	}
	before := readFile(t, out, "runs", "hot", "seed-0", "log.jsonl")
	mustCall(t, args...)
	if before != readFile(t, out, "runs", "hot", "seed-0", "log.jsonl") {
		t.Error("the run was tried again")
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
