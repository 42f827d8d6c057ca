package runlog

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// record is the log line of a step in these tests.
func record(step int) Record {
	return Record{Step: step, Position: int64(64 * step), Loss: Number(1 / float64(step)), LR: 1e-3,
		DistanceBefore: 100.5, DistanceAfter: 98.25, PairMS: 3.5, StepMS: 250, ImagesPerSecond: 256}
}

// writeLog writes the lines of steps 1…n to a new log and returns its path.
func writeLog(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.jsonl")
	appendSteps(t, path, 1, n)
	return path
}

// appendSteps writes the lines of steps from…to.
func appendSteps(t *testing.T, path string, from, to int) {
	t.Helper()
	log, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	for step := from; step <= to; step++ {
		if err := log.Append(record(step)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// read is a file's text.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Others read these lines: names, order and form are frozen.
func TestRecordJSON(t *testing.T) {
	cases := []struct {
		r    Record
		want string
	}{
		{record(4), `{"step":4,"position":256,"loss":0.25,"lr":0.001,"grad_norm":0,"distance_before":100.5,"distance_after":98.25,"pair_ms":3.5,"step_ms":250,"images_per_second":256}`},
		{Record{Step: 5, Position: 320, Loss: Number(math.Inf(1)), GradNorm: Number(math.NaN()), LR: 1e-7, SkippedRecords: 2, Skipped: "conv_in.weight.grad is not finite"},
			`{"step":5,"position":320,"loss":null,"lr":1e-7,"grad_norm":null,"distance_before":0,"distance_after":0,"pair_ms":0,"step_ms":0,"images_per_second":0,"skipped_records":2,"skipped":"conv_in.weight.grad is not finite"}`},
	}
	for _, c := range cases {
		got, err := json.Marshal(c.r)
		if err != nil || string(got) != c.want {
			t.Errorf("step %d is %s, %v\nwant %s", c.r.Step, got, err, c.want)
		}
		var back Record
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatal(err)
		}
		if math.IsNaN(float64(c.r.GradNorm)) != math.IsNaN(float64(back.GradNorm)) || back.LR != c.r.LR || back.Skipped != c.r.Skipped {
			t.Errorf("step %d reads back as %+v", c.r.Step, back)
		}
	}
}

func TestSummary(t *testing.T) {
	if got, want := record(4).Summary(), "loss 0.2500  distance -2.24 %"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (Record{Loss: Number(math.NaN()), Skipped: "why"}).Summary(), "loss NaN  skipped"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A log cut back to step n and continued is the log of a run that was never
// interrupted, wherever in its bytes the interruption fell.
func TestCutBackAnywhere(t *testing.T) {
	whole := read(t, writeLog(t, 4))
	lines := strings.SplitAfter(whole, "\n")
	second := len(lines[0] + lines[1])
	for size := second; size <= len(whole); size++ {
		path := filepath.Join(t.TempDir(), "log.jsonl")
		if err := os.WriteFile(path, []byte(whole[:size]), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := CutBack(path, 2); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != whole[:second] {
			t.Fatalf("a log of %d bytes is cut back to %q", size, got)
		}
		appendSteps(t, path, 3, 4)
		if read(t, path) != whole {
			t.Fatalf("a log of %d bytes is continued otherwise", size)
		}
	}
}

func TestCutBack(t *testing.T) {
	three := read(t, writeLog(t, 3))
	one := read(t, writeLog(t, 1))
	cases := []struct {
		name, text string
		step       int
		want       string
	}{
		{"to nothing", three, 0, ""},
		{"nothing to cut", three, 3, three},
		{"a later step than there is", three, 9, three},
		{"torn line before the step", three + `{"step":4,"pos`, 9, three},
		{"rubbish after the step", three + "\x00\x00\x00\nxyz\n", 3, three},
		{"the step's own line is missing", one + strings.ReplaceAll(one, `"step":1,`, `"step":5,`), 3, one},
		{"empty", "", 3, ""},
	}
	for _, c := range cases {
		path := filepath.Join(t.TempDir(), "log.jsonl")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := CutBack(path, c.step); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := read(t, path); got != c.want {
			t.Errorf("%s: got %q", c.name, got)
		}
	}
	missing := filepath.Join(t.TempDir(), "log.jsonl")
	if err := CutBack(missing, 2); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing log was made: %v", err)
	}
}

// A log that is damaged before the step is not touched, and the line is named.
func TestCutBackRefuses(t *testing.T) {
	three := read(t, writeLog(t, 3))
	for _, text := range []string{
		strings.Replace(three, `"step":2`, `"stop":2`, 1),
		strings.Replace(three, `"step":2`, `"step":1`, 1),
		strings.Replace(three, `{"step":2`, `x`, 1),
	} {
		path := filepath.Join(t.TempDir(), "log.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := CutBack(path, 3)
		if err == nil || !strings.Contains(err.Error(), "log.jsonl: line 2 is not the log line of a step after 1") {
			t.Errorf("%v", err)
		}
		if read(t, path) != text {
			t.Errorf("the log was changed")
		}
	}
}

func TestLogErrors(t *testing.T) {
	if _, err := OpenLog(filepath.Join(t.TempDir(), "none", "log.jsonl")); err == nil || !strings.HasPrefix(err.Error(), "open the log: ") {
		t.Errorf("no folder: %v", err)
	}
	log, err := OpenLog("/dev/full") // whose writes fail as on a full disk
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append(record(7)); !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "write the log: step 7: ") {
		t.Errorf("full disk: %v", err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}
