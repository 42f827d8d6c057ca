package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"immiscible/pipeline/checkpoint"
)

// everyDraw turns on everything that draws random numbers.
var everyDraw = []string{
	"model.unet.dropout=0.1", "train.conditioning_dropout=0.2", "train.noise_offset=0.1", "train.input_perturbation=0.1",
}

// The resume law, with SIGKILL at random moments: the run that was killed three
// times and started again by the same command ends in the same bits as the run
// that was not. 24 batches of 8 are 4.4 epochs.
func TestResumeAfterKill(t *testing.T) {
	const steps = 24
	for name, sets := range map[string][]string{
		"linear within class, every draw": everyDraw,
		"knn, v_prediction, min-SNR, cosine": {"noise.pairing=knn", "noise.per_class=false", "noise.knn_k=5.5", "train.prediction_type=v_prediction",
			"train.snr_gamma=5", "lr.schedule=cosine", "train.micro_batch=8", "model.unet.dropout=0.3", "checkpoint.every_steps=3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sets := append(tinySets(plainSource(t), sets...), "train.max_steps=24")
			want := train(t, "", sets)
			if log := readLog(t, want); len(log) != steps || !finite(log) {
				t.Fatalf("the run itself is at fault:\n%s", untimed(t, log))
			}
			out := filepath.Join(t.TempDir(), "run")
			for range 3 {
				killAtRandom(t, childRun{Sets: sets, Out: out}, steps)
			}
			train(t, out, sets)
			sameRun(t, want, out, steps)
			if got := len(files(t, filepath.Join(out, "samples"))); got != 6 {
				t.Errorf("%d sample grids, want 6", got)
			}
			// The torn record has a slot in each epoch, and is met in it once.
			met := 0
			for _, r := range readLog(t, out) {
				met += r.SkippedRecords
			}
			if met < 8*steps/sourceRecords || met > 8*steps/sourceRecords+1 {
				t.Errorf("%d skipped records in %d epochs", met, 8*steps/sourceRecords)
			}
		})
	}
}

// killAtRandom trains in a child and kills it some steps later, at any moment of
// a step. A child that was faster has finished the run.
func killAtRandom(t *testing.T, run childRun, steps int) {
	t.Helper()
	lines := func() int {
		text, err := os.ReadFile(filepath.Join(run.Out, "log.jsonl"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Count(string(text), "\n")
	}
	cmd, messages := run.start(t)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	_, begun, _, err := checkpoint.Latest(run.Out)
	if err != nil {
		t.Fatal(err)
	}
	until := begun + 1 + rand.IntN((steps-begun)/2+1)
	wait := time.Duration(rand.IntN(20_000)) * time.Microsecond
	t.Logf("a child from step %d is killed %s after step %d", begun, wait, until)
	for deadline := time.Now().Add(2 * time.Minute); lines() < until && time.Now().Before(deadline); {
		select {
		case err := <-done:
			t.Fatalf("the child ended by itself: %v: %s", err, messages)
		case <-time.After(time.Millisecond):
		}
	}
	time.Sleep(wait)
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-done
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signal() != syscall.SIGKILL && status.ExitStatus() != 0 {
		t.Fatalf("the child ended with %v: %s", status, messages)
	}
}

// The same in pieces that end at a checkpoint each: in the middle of a pool,
// at its end, at an epoch's end, and in epochs ≥ 1. Here a folder's weights are
// trained further, only a part of them, and without a moving average.
func TestResumeInPieces(t *testing.T) {
	const steps = 12
	source := plainSource(t)
	base := train(t, "", tinySets(source, "train.max_steps=2"))
	sets := withoutUNet(tinySets(source, "model.path="+filepath.Join(base, "checkpoint-2"), "noise.pairing=independent", "noise.per_class=false",
		`train.parameters=["*.attentions.*","conv_out.*"]`, "ema.enabled=false", "optimizer.weight_decay=0.1", "sample.every_steps=0"))
	want := train(t, "", append(sets, "train.max_steps=12"))
	out := filepath.Join(t.TempDir(), "run")
	for _, max := range []string{"1", "4", "5", "6", "11", "12"} {
		train(t, out, append(sets, "train.max_steps="+max))
	}
	for _, piece := range []string{"1", "4", "5", "6", "11"} { // the last step of each had a grid
		if err := os.Remove(filepath.Join(out, "samples", "step-"+piece+".png")); err != nil {
			t.Error(err)
		}
	}
	sameRun(t, want, out, steps)
	if _, err := os.Stat(filepath.Join(out, "checkpoint-12", "unet_ema")); err == nil {
		t.Error("ema.enabled=false left a moving average")
	}
	// A frozen weight is the folder's, a trained one is not.
	before, after := weights(t, filepath.Join(base, "checkpoint-2", "unet")), weights(t, filepath.Join(out, "checkpoint-12", "unet"))
	for key, frozen := range map[string]bool{"conv_in.weight": true, "conv_out.weight": false, "mid_block.attentions.0.to_q.weight": false} {
		if (before[key] == after[key]) != frozen || len(before[key]) == 0 {
			t.Errorf("%s: frozen is %v, want %v", key, before[key] == after[key], frozen)
		}
	}
}

// A run that is done says so and touches nothing; another configuration is
// refused by the name of the key, and touches nothing either.
func TestResumeOfAFinishedRun(t *testing.T) {
	sets := tinySets(plainSource(t), "train.max_steps=4")
	out := train(t, "", sets)
	before := files(t, out)
	train(t, out, sets)
	err := tryTrain(t.Context(), t, out, append(sets, "train.max_steps=6", "train.noise_offset=0.1"))
	if err == nil || !strings.Contains(err.Error(), "[train] noise_offset is 0.1 now and was 0.0") {
		t.Errorf("another configuration: %v", err)
	}
	if err := tryTrain(t.Context(), t, out, append(sets, "train.max_steps=3")); err != nil {
		t.Errorf("fewer steps than there are: %v", err)
	}
	after := files(t, out)
	for name, data := range before {
		if after[name] != data {
			t.Errorf("%s has changed", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, before %d", len(after), len(before))
	}
}

// A run that is stopped while it draws the grid of its last step has the
// checkpoint, and the same command draws the grid.
func TestStoppedInASample(t *testing.T) {
	sets := tinySets(plainSource(t), "train.max_steps=4", "sample.steps=500", "sample.every_steps=0", "log.tensorboard=false")
	want := train(t, "", sets)
	out := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("a reason")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(out, "checkpoint-4")); err == nil {
				cancel(reason)
			}
		}
	}()
	if err := tryTrain(ctx, t, out, sets); !errors.Is(err, reason) || !strings.Contains(err.Error(), "holds 4 of 4 steps") {
		t.Fatalf("the stopped run: %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "samples", "step-4.png")); err == nil {
		t.Fatal("the grid was drawn, so that the run was not stopped in it")
	}
	train(t, out, sets)
	sameRun(t, want, out, 4)
}

// Two processes cannot train in one folder: the second would sweep what the
// first is writing. It reads nothing before it knows: not even a config.toml that
// would be refused.
func TestFolderIsHeld(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	release, err := holdFolder(out)
	if err != nil {
		t.Fatal(err)
	}
	sets := tinySets(plainSource(t), "train.max_steps=2")
	config := filepath.Join(out, "config.toml")
	torn := errors.Join(os.MkdirAll(filepath.Join(out, "checkpoint-1"), 0o755), os.WriteFile(config, []byte("[train"), 0o644))
	if err := tryTrain(t.Context(), t, out, sets); torn != nil || err == nil || !strings.Contains(err.Error(), "another process trains in it") {
		t.Errorf("got %v, %v", err, torn)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(out, "checkpoint-1")), os.Remove(config)); err != nil {
		t.Fatal(err)
	}
	release(false) // as a run that has not begun: nothing of it is left
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	train(t, out, sets)
	again, err := holdFolder(out)
	if err != nil {
		t.Fatal(err)
	}
	again(false)
	if _, err := os.Stat(filepath.Join(out, lockFile)); err != nil {
		t.Errorf("a lock that was there is gone: %v", err)
	}
}

// A run whose newest checkpoint was damaged goes on from the one before, says so
// in one line, and ends in the bits of a run that nothing happened to. Where there
// is no other, it does not start anew unasked.
func TestDamagedCheckpointIsNamed(t *testing.T) {
	sets := tinySets(plainSource(t), "checkpoint.keep=0")
	want := train(t, "", append(sets, "train.max_steps=6"))
	out := train(t, "", append(sets, "train.max_steps=4"))
	damage := func(step string) {
		path := filepath.Join(out, step, optimizerFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-3] ^= 1
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	damage("checkpoint-4")
	c, err := LoadConfig("", "", append(sets, "train.max_steps=6"))
	if err != nil {
		t.Fatal(err)
	}
	var messages strings.Builder
	if err := Train(t.Context(), c, TrainOptions{Out: out, Resume: "auto", Messages: &messages}); err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(messages.String()) {
		if strings.HasPrefix(line, "warning: "+filepath.Join(out, "checkpoint-4")+" is no whole checkpoint: "+optimizerFile+" has SHA-256 ") &&
			strings.HasSuffix(line, ": it is passed over, and the run goes on from "+filepath.Join(out, "checkpoint-2")+"\n") {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the warning stands %d times in:\n%s", found, messages.String())
	}
	if err := os.Remove(filepath.Join(out, "samples", "step-4.png")); err != nil { // the grid of the first run's last step
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(want, "samples", "step-4.png")); err != nil {
		t.Error(err)
	}
	sameRun(t, want, out, 6)
	for _, step := range []string{"checkpoint-2", "checkpoint-4", "checkpoint-6"} {
		damage(step)
	}
	before := files(t, out)
	err = tryTrain(t.Context(), t, out, append(sets, "train.max_steps=8"))
	if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(out, "checkpoint-6")+" is no whole checkpoint") || !strings.HasSuffix(err.Error(), "remove it to start anew") {
		t.Errorf("with no whole checkpoint: %v", err)
	}
	for name, data := range files(t, out) {
		if before[name] != data {
			t.Errorf("%s has changed", name)
		}
	}
}

// Other data have another order: a run does not go on with them unawares.
func TestResumeOfOtherData(t *testing.T) {
	shards := t.TempDir()
	shard := func(name string) {
		if err := os.Link(plainSource(t), filepath.Join(shards, name)); err != nil {
			t.Fatal(err)
		}
	}
	shard("a.tar")
	sets := tinySets(filepath.Join(shards, "*.tar"), "train.max_steps=2")
	out := train(t, "", sets)
	shard("b.tar")
	err := tryTrain(t.Context(), t, out, append(sets, "train.max_steps=4"))
	if err == nil || !strings.Contains(err.Error(), "the data hold 86 records, and held 43 when") {
		t.Errorf("got %v", err)
	}
}
