package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"immiscible/datasets"
	"immiscible/models/safetensors"
	"immiscible/pipeline/checkpoint"
)

// Death at each stage of a checkpoint's making, in a run that goes on: the
// newest checkpoint is whole every time, and the run ends in the bits of one
// that never died.
func TestKilledWhileSaving(t *testing.T) {
	const steps = 16
	sets := append(tinySets(plainSource(t), everyDraw...), "train.max_steps=16", "sample.every_steps=2")
	want := train(t, "", sets)
	out := filepath.Join(t.TempDir(), "run")
	// Checkpoint 2 dies at the first stage, checkpoint 4 at the second, and so
	// on. Where a stage is so short that the watcher misses it, the next will do.
	for i, stage := range []string{
		".tmp-checkpoint-2-*",
		".tmp-checkpoint-4-*/unet/diffusion_pytorch_model.safetensors",
		".tmp-checkpoint-6-*/optimizer.safetensors",
		".tmp-checkpoint-8-*/trainer_state.json",
		"checkpoint-10",       // before the grid of its step
		".tmp-pruned-*",       // checkpoint-8 on its way out
		"samples/.tmp-step-*", // in the middle of a grid
	} {
		step := 2 * (i + 1)
		cmd, messages := childRun{Sets: sets, Out: out, Kill: []string{stage, fmt.Sprintf("checkpoint-%d", step)}}.start(t)
		_ = cmd.Wait() // the status below is what counts
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the child ended with %v: %s", stage, status, messages)
		}
		path, latest, ok, err := checkpoint.Latest(out)
		if err != nil || latest > step || ok != (latest > 0) || latest < step-4 {
			t.Fatalf("%s: the latest checkpoint is %q of step %d, %v", stage, path, latest, err)
		}
		if ok {
			if err := checkpoint.Verify(path); err != nil {
				t.Fatalf("%s: %v", stage, err)
			}
		}
	}
	// What any moment may leave is swept.
	for _, name := range []string{".tmp-config-1", "samples/.tmp-image-1", ".tmp-checkpoint-17-1/unet/config.json"} {
		path := filepath.Join(out, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("{"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	train(t, out, sets)
	sameRun(t, want, out, steps)
}

// weights reads a weights folder's tensors, bit for bit.
func weights(t *testing.T, dir string) map[string]string {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(dir, weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]string{}
	for _, tensor := range f.Tensors {
		data, err := f.Bytes(tensor)
		if err != nil {
			t.Fatal(err)
		}
		all[tensor.Name] = string(data)
	}
	return all
}

// poison writes the largest float32, which no layer survives, over elements [from, to) of a tensor in a model folder.
func poison(t *testing.T, dir, key string, from, to int) {
	t.Helper()
	path := filepath.Join(dir, weightsFile)
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tensor, ok := f.Lookup(key)
	f.Close()
	if !ok {
		t.Fatalf("%s has no %s", path, key)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		binary.LittleEndian.PutUint32(data[tensor.Offset+4*int64(i):], math.Float32bits(math.MaxFloat32))
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Where a weight overflows every gradient is NaN: each step is skipped and says
// so, and after max_bad_steps the run ends with the name of the first, with a
// checkpoint in which nothing but the counts has moved.
func TestBadStepsStopTheRun(t *testing.T) {
	source := plainSource(t)
	model := filepath.Join(train(t, "", tinySets(source, "train.max_steps=2")), "checkpoint-2")
	poison(t, filepath.Join(model, "unet"), "mid_block.resnets.0.conv1.weight", 5, 6)
	sets := withoutUNet(tinySets(source, "model.path="+model, "train.max_steps=20", "train.max_bad_steps=3", "checkpoint.every_steps=0"))
	out := filepath.Join(t.TempDir(), "run")
	for again, steps := range []int{3, 4} { // the same command has no more patience than it had
		err := tryTrain(t.Context(), t, out, sets)
		want := fmt.Sprintf("step %d: %d steps in a row had a gradient that is not finite (the first bad tensor: time_embedding.linear_1.weight.grad[0] = NaN)", steps, steps)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("run %d: %v", again+1, err)
		}
		log := readLog(t, out)
		for _, r := range log {
			if r.Skipped != "the gradient is not finite: time_embedding.linear_1.weight.grad[0] = NaN" || !math.IsNaN(float64(r.Loss)) || !math.IsNaN(float64(r.GradNorm)) {
				t.Errorf("step %d is logged as %+v", r.Step, r)
			}
		}
		path, step, ok, err := checkpoint.Latest(out)
		if err != nil || !ok || step != steps || len(log) != steps {
			t.Fatalf("run %d: %d lines, the latest checkpoint is %q, %v", again+1, len(log), path, err)
		}
		state, err := checkpoint.Read(path)
		if err != nil || state.BadSteps != steps || state.Updates != 0 || state.Position != int64(8*steps) {
			t.Errorf("run %d: the state is %+v, %v", again+1, state, err)
		}
		if !maps.Equal(weights(t, filepath.Join(path, "unet")), weights(t, filepath.Join(model, "unet"))) {
			t.Error("skipped steps have changed the weights")
		}
	}
}

// A weight that becomes NaN while the run goes on, which no file can bring in, is
// the first bad tensor: it stands before every gradient that it spoils.
func TestWeightBecomesNaN(t *testing.T) {
	const key, at = "mid_block.resnets.0.conv1.weight", 5
	c, err := LoadConfig("", "", tinySets(plainSource(t), "train.max_steps=20", "train.max_bad_steps=2", "checkpoint.every_steps=0"))
	if err != nil {
		t.Fatal(err)
	}
	o := TrainOptions{Out: filepath.Join(t.TempDir(), "run"), Resume: "auto", Messages: io.Discard}
	o.observe = func(_ context.Context, step int, tr *trainer) error {
		for _, p := range tr.state.Layout.Params {
			if step != 2 || p.Key != key {
				continue
			}
			values, err := p.Read(tr.state.Params)
			if err != nil {
				return err
			}
			values[at] = float32(math.NaN())
			return p.write(tr.state.Params, values)
		}
		return nil
	}
	err = Train(t.Context(), c, o)
	if want := "step 3: the weight " + key + "[5] = NaN: nothing was saved after step 0"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if saved, _ := filepath.Glob(filepath.Join(o.Out, "checkpoint-*")); len(saved) != 0 {
		t.Errorf("a broken weight was saved: %v", saved)
	}
}

// A learning rate beyond reason ends the same way, by itself.
func TestLearningRateBeyondReason(t *testing.T) {
	err := tryTrain(t.Context(), t, filepath.Join(t.TempDir(), "run"),
		tinySets(plainSource(t), "train.max_steps=20", "train.max_bad_steps=2", "lr.learning_rate=1e30", "lr.schedule=constant", "lr.warmup_steps=0", "train.micro_batch=8"))
	if err == nil || !strings.Contains(err.Error(), "2 steps in a row had a gradient that is not finite") || !strings.Contains(err.Error(), "lower lr.learning_rate") {
		t.Errorf("got %v", err)
	}
}

// A class whose embedding overflows spoils exactly the batches that hold it: they
// change no bit of weights, average and moments, count as steps but not as
// updates, and training goes on.
func TestOneBadStepIsSkipped(t *testing.T) {
	const steps, rare = 12, 20
	source := tarSource(t, func(i int) int {
		if i == rare {
			return 3
		}
		return i % 3
	}, -1)
	model := filepath.Join(train(t, "", tinySets(source, "train.max_steps=2")), "checkpoint-2")
	dim := 32 // of the class embedding: 4 × the first block's channels
	for _, part := range []string{"unet", "unet_ema"} {
		poison(t, filepath.Join(model, part), "class_embedding.weight", 3*dim, 4*dim)
	}
	sets := withoutUNet(tinySets(source, "model.path="+model, "train.max_steps=12", "train.max_bad_steps=2",
		"checkpoint.every_steps=1", "checkpoint.keep=0", "optimizer.weight_decay=0.1", "lr.schedule=constant", "lr.warmup_steps=0"))
	out := train(t, "", sets)

	c, err := LoadConfig("", "", sets)
	if err != nil {
		t.Fatal(err)
	}
	data, err := datasets.Open(t.Context(), c.dataOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	var bad []int // steps whose batch holds the rare record
	for at := int64(0); at < 8*steps; at++ {
		e, err := data.Example(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if e.Label == 3 {
			bad = append(bad, int(at/8)+1)
		}
	}
	if len(bad) < 2 || len(bad) > 4 || slices.Contains(bad, 1) || slices.Contains(bad, 2) && slices.Contains(bad, 3) {
		t.Fatalf("the rare record is in the batches of steps %v: want it a few times, not first, not twice in a row", bad)
	}

	log, updates := readLog(t, out), 0
	if len(log) != steps {
		t.Fatalf("%d lines of log, want %d", len(log), steps)
	}
	for step := 1; step <= steps; step++ {
		skip := slices.Contains(bad, step)
		if (log[step-1].Skipped != "") != skip {
			t.Errorf("step %d of bad steps %v: skipped is %q", step, bad, log[step-1].Skipped)
		}
		if !skip {
			updates++
		}
		at := filepath.Join(out, fmt.Sprintf("checkpoint-%d", step))
		state, err := checkpoint.Read(at)
		if err != nil || state.Updates != updates || state.BadSteps != boolInt(skip) || state.Step != step || state.Position != int64(8*step) {
			t.Errorf("step %d: the state is %+v, %v; want %d updates", step, state, err, updates)
		}
		if step == 1 {
			continue
		}
		before, after := files(t, filepath.Join(out, fmt.Sprintf("checkpoint-%d", step-1))), files(t, at)
		for _, name := range []string{"unet/" + weightsFile, "unet_ema/" + weightsFile, optimizerFile} {
			if (before[name] == after[name]) != skip {
				t.Errorf("step %d, skipped %v: %s is the same: %v", step, skip, name, before[name] == after[name])
			}
		}
	}
	for key, data := range weights(t, filepath.Join(out, "checkpoint-12", "unet")) {
		for i := 0; i < len(data); i += 4 {
			x := math.Float32frombits(binary.LittleEndian.Uint32([]byte(data[i : i+4])))
			if poisoned := key == "class_embedding.weight" && i/4 >= 3*dim && i/4 < 4*dim; (x > 1e38) != poisoned || math.IsNaN(float64(x)) {
				t.Fatalf("%s[%d] = %v", key, i/4, x)
			}
		}
	}
}

// A label that the model has no class for ends the run with the record's name,
// and the steps before it are kept.
func TestLabelOutOfRange(t *testing.T) {
	source := tarSource(t, func(i int) int {
		if i == 30 {
			return 4
		}
		return i % 4
	}, -1)
	out := filepath.Join(t.TempDir(), "run")
	err := tryTrain(t.Context(), t, out, tinySets(source, "train.max_steps=20", "checkpoint.every_steps=0", "data.prefetch=1"))
	if err == nil || !strings.Contains(err.Error(), `record "00030"`) || !strings.Contains(err.Error(), "label 4, want 0 to 3") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	log := readLog(t, out)
	if _, step, ok, err := checkpoint.Latest(out); err != nil || step != len(log) || ok != (len(log) > 0) {
		t.Errorf("%d steps are logged, the latest checkpoint is of step %d, %v", len(log), step, err)
	}
}
