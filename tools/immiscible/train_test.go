package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"immiscible/pipeline/checkpoint"
)

// tinyTrain is a train command whose steps take milliseconds: the embedded
// garments at 8×8 pixels. more are settings laid over it.
func tinyTrain(out string, more ...string) []string {
	args := []string{"train", "-out", out}
	for _, set := range []string{
		"data.resolution=8", "data.pad=0", "noise.pool_size=32", "train.batch_size=8", "train.micro_batch=4", "lr.warmup_steps=3",
		"checkpoint.every_steps=2", "sample.every_steps=0", "sample.steps=2", "sample.per_class=1", "log.tensorboard=false",
		"model.unet.sample_size=8", "model.unet.block_out_channels=[8,16]", "model.unet.norm_num_groups=4", "model.unet.attention_head_dim=8", "lr.schedule=constant_with_warmup", "lr.learning_rate=1e-3",
		`model.unet.down_block_types=["DownBlock2D","AttnDownBlock2D"]`, `model.unet.up_block_types=["AttnUpBlock2D","UpBlock2D"]`,
	} {
		args = append(args, "-set", set)
	}
	for _, set := range more {
		args = append(args, "-set", set)
	}
	return args
}

// tinyModel is a checkpoint that tests read, made once: of ten classes, trained
// with conditioning dropout.
var tinyModel struct {
	once sync.Once
	dir  string
}

func trainedModel(t *testing.T) string {
	t.Helper()
	tinyModel.once.Do(func() {
		dir, err := os.MkdirTemp("", "immiscible-test-")
		if err != nil {
			t.Fatal(err)
		}
		tinyModel.dir = dir
		mustCall(t, tinyTrain(filepath.Join(dir, "run"), "train.max_steps=6", "train.conditioning_dropout=0.1", "model.unet.num_class_embeds=11")...)
	})
	return filepath.Join(tinyModel.dir, "run", "checkpoint-6")
}

// mustCall runs the program in this process and fails the test unless it succeeds.
func mustCall(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	status, stdout, stderr := call(t.Context(), args...)
	if status != 0 {
		t.Fatalf("immiscible %s: status %d: %s", strings.Join(args, " "), status, stderr)
	}
	return stdout, stderr
}

// program is the program as a process of its own, its standard error in the
// returned buffer, which may be read after Wait.
func program(t *testing.T, variable string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "IMMISCIBLE_TEST_MAIN=1", variable)
	cmd.Stderr = &stderr
	return cmd, &stderr
}

// tree reads every file below dir, by path; a folder that is not there is nil.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			all[path] = ""
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// logLines is the number of finished lines of a run's log.
func logLines(out string) int {
	text, err := os.ReadFile(filepath.Join(out, "log.jsonl"))
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte("\n"))
}

// steadyLog is a run's log without its clocks.
func steadyLog(t *testing.T, out string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		for _, clock := range []string{"pair_ms", "pair_wait_ms", "step_ms", "images_per_second"} {
			delete(fields, clock)
		}
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			fmt.Fprintf(&b, "%s %v, ", key, fields[key])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sameEnd holds the end of a run that was stopped against one that was not.
func sameEnd(t *testing.T, want, got, last string) {
	t.Helper()
	for _, part := range []string{last, "samples"} {
		w, g := tree(t, filepath.Join(want, part)), tree(t, filepath.Join(got, part))
		for path, data := range w {
			if other := filepath.Join(got, strings.TrimPrefix(path, want)); g[other] != data {
				t.Errorf("%s is not the same", other)
			}
		}
		if len(w) != len(g) || len(w) == 0 {
			t.Errorf("%s: %d files, want %d", part, len(g), len(w))
		}
	}
	if w, g := steadyLog(t, want), steadyLog(t, got); w != g {
		t.Errorf("the log is\n%swant\n%s", g, w)
	}
}

// SIGINT and SIGTERM end the step, leave a checkpoint of it and the status of
// the signal, and the same command goes on to the bits of a run that never
// stopped.
func TestTrainStopsAndGoesOn(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	step := 0
	for _, stop := range []struct {
		signal syscall.Signal
		status int
		name   string
	}{{syscall.SIGINT, 130, "SIGINT"}, {syscall.SIGTERM, 143, "SIGTERM"}} {
		cmd, stderr := program(t, "", tinyTrain(out, "train.max_steps=100000", "checkpoint.every_steps=0")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // fails where it has ended
		for deadline := time.Now().Add(2 * time.Minute); logLines(out) < step+3; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no step after step %d", step)
			}
		}
		if err := cmd.Process.Signal(stop.signal); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != stop.status {
			t.Fatalf("%s: ended with %v, want status %d: %s", stop.name, err, stop.status, stderr)
		}
		step = logLines(out)
		end := fmt.Sprintf("%s holds %d of 100000 steps, and the same command goes on: stopped by %s\n", out, step, stop.name)
		if text := stderr.String(); !strings.HasSuffix(text, end) || !strings.Contains(text, stop.name+": stopping") {
			t.Errorf("%s: stderr is %q, want %q at its end", stop.name, text, end)
		}
		if path, at, ok, err := checkpoint.Latest(out); err != nil || !ok || at != step || checkpoint.Verify(path) != nil {
			t.Fatalf("%s: %d steps are logged, and the latest checkpoint is %q, %v", stop.name, step, path, err)
		}
	}
	last := strconv.Itoa(step + 3)
	mustCall(t, tinyTrain(out, "train.max_steps="+last, "checkpoint.every_steps=0")...)
	whole := filepath.Join(t.TempDir(), "run")
	mustCall(t, tinyTrain(whole, "train.max_steps="+last, "checkpoint.every_steps=0")...)
	sameEnd(t, whole, out, "checkpoint-"+last)
}

// A disk that is full, as a limit on the size of files, ends the run with one
// line that says what is safe; nothing half-written stays, and once there is
// room the same command ends in the bits of a run that always had it. The first
// limit strikes while a checkpoint is written, the second while the log is.
func TestTrainOnAFullDisk(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "run")
	mustCall(t, tinyTrain(whole, "train.max_steps=72", "checkpoint.every_steps=6")...)
	info, err := os.Stat(filepath.Join(whole, "checkpoint-72", "optimizer.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		limit func(log int64) int64
		want  string
	}{
		"checkpoint": {func(int64) int64 { return info.Size() - 1 }, "write OUT/checkpoint-66: no space left for it: "},
		"log":        {func(log int64) int64 { return log + 700 }, "write the log: step 6"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			mustCall(t, tinyTrain(out, "train.max_steps=60", "checkpoint.every_steps=6")...)
			if err := os.Remove(filepath.Join(out, "samples", "step-60.png")); err != nil {
				t.Fatal(err)
			}
			log, err := os.Stat(filepath.Join(out, "log.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			limit := test.limit(log.Size())
			args := tinyTrain(out, "train.max_steps=72", "checkpoint.every_steps=6")
			cmd, stderr := program(t, fmt.Sprintf("IMMISCIBLE_TEST_FSIZE=%d", limit), args...)
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Fatalf("ended with %v, want status 1: %s", err, stderr)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			want := strings.ReplaceAll(test.want, "OUT", out)
			if got := lines[len(lines)-1]; !strings.HasPrefix(got, want) || !strings.Contains(got, "file too large") {
				t.Errorf("the last line is %q, want %q…", got, want)
			}
			if name == "checkpoint" && !strings.Contains(stderr.String(), filepath.Join(out, "checkpoint-60")+", is whole: free some space") {
				t.Errorf("stderr is %q, want what is safe and what to do", stderr)
			}
			path, step, _, err := checkpoint.Latest(out)
			if err != nil || step != 60 || checkpoint.Verify(path) != nil {
				t.Errorf("the latest checkpoint is %q, %v, want checkpoint-60, whole", path, err)
			}
			for path := range tree(t, out) {
				if strings.Contains(path, ".tmp-") {
					t.Errorf("%s was left", path)
				}
			}
			mustCall(t, args...)
			sameEnd(t, whole, out, "checkpoint-72")
		})
	}
}

// -resume takes a checkpoint's path too, here into another folder.
func TestTrainFromAPath(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "run")
	mustCall(t, tinyTrain(whole, "train.max_steps=6", "checkpoint.keep=0")...)
	out := filepath.Join(t.TempDir(), "branch")
	branch := append(tinyTrain(out, "train.max_steps=6", "checkpoint.keep=0"), "-resume", filepath.Join(whole, "checkpoint-4"))
	mustCall(t, branch...)
	want, got := tree(t, filepath.Join(whole, "checkpoint-6")), tree(t, filepath.Join(out, "checkpoint-6"))
	for path, data := range want {
		if got[filepath.Join(out, strings.TrimPrefix(path, whole))] != data {
			t.Errorf("%s is not the same in %s", path, out)
		}
	}
	if n := logLines(out); n != 2 {
		t.Errorf("%d lines of log, want those of steps 5 and 6", n)
	}
	// The same command goes on in the branch, which here is done.
	before := tree(t, out)
	if _, stderr := mustCall(t, branch...); !strings.Contains(stderr, "nothing to do") || !maps.Equal(before, tree(t, out)) {
		t.Errorf("the same command again: %s", stderr)
	}
	// Within a run, steps that are there already are not done twice.
	badCall{"back", append(tinyTrain(whole, "train.max_steps=6", "checkpoint.keep=0"), "-resume", filepath.Join(whole, "checkpoint-4")), 1,
		"checkpoint-6 is later, and its steps would be done twice"}.check(t, whole)
}

// A dry run says what it would do and does nothing.
func TestTrainDryRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	stdout, stderr := mustCall(t, append(tinyTrain(out), "-dry-run")...)
	if tree(t, out) != nil || stderr != "" {
		t.Errorf("a dry run spoke (%q) or wrote %v", stderr, tree(t, out))
	}
	for _, want := range []string{"\n[train]\n", "batch_size = 8\n", "\nparameters        ", "GFLOP a step", "\npublished         none"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("a dry run does not say %q:\n%s", want, stdout)
		}
	}
	stdout, _ = mustCall(t, append(tinyTrain(out), "-dry-run", "-json")...)
	var plan struct {
		Parameters, StateBytes int64
		Config                 struct {
			Train struct {
				BatchSize int `json:"batch_size"`
			}
			Model struct {
				UNet struct {
					SampleSize int `json:"sample_size"`
				}
			}
			Runtime struct{ CUDA map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &plan); err != nil || plan.Parameters == 0 ||
		plan.Config.Train.BatchSize != 8 || plan.Config.Model.UNet.SampleSize != 8 || plan.Config.Runtime.CUDA["use_tf32"] != true {
		t.Errorf("-json gives %q, %v", stdout, err)
	}
}

// A context that is cancelled before the first step leaves a run that can begin.
func TestTrainCancelledAtOnce(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped{syscall.SIGINT})
	if status, _, stderr := call(ctx, tinyTrain(out, "train.max_steps=2")...); status != 130 {
		t.Errorf("status %d: %s", status, stderr)
	}
	mustCall(t, tinyTrain(out, "train.max_steps=2")...)
}
