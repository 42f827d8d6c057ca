//go:build fakegpu

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"immiscible/models/engine/fakegpu"
)

// ONNX Runtime's own CUDA provider, the one that a GPU runs, on libraries that stand
// in for NVIDIA's: it makes the sessions, places the nodes, takes memory, copies and
// launches as on a GPU, and computes nothing.
//
//	go test -tags fakegpu -run FakeGPU ./tools/immiscible
//
// It has a build tag because it fetches onnxruntime-gpu, 270 MB, where the cache has
// none.

var fakeGPU = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "fakegpu-"); err == nil {
		err = fakegpu.Build(dir)
	}
	return dir, err
})

// onFakeGPU runs a command of the program, and gives what it printed and what the
// libraries counted. env are further variables.
func onFakeGPU(t *testing.T, env []string, args ...string) (stdout, stderr string, counts map[string]int64, err error) {
	t.Helper()
	dir, err := fakeGPU()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "counts")
	var out, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "IMMISCIBLE_TEST_MAIN=1", "LD_LIBRARY_PATH="+dir, "FAKEGPU_IDLE=1", "FAKEGPU_COUNTS="+file)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	counts, countErr := fakegpu.Counts(file)
	if countErr != nil {
		t.Fatalf("%v: %v: %s", countErr, err, log.String())
	}
	for name := range counts {
		if strings.HasPrefix(name, "refused while recording") {
			t.Errorf("%v: %s", args, name)
		}
	}
	return out.String(), log.String(), counts, err
}

// A step on a GPU: no node is left to the CPU, which the program proves itself;
// what crosses the bus is the inputs, the loss and the norm, and what a kernel of ONNX
// Runtime's sends of its own; the activations are as the plan
// says, to 10 % or, in small models, a block or two of the arena.
func TestFakeGPUStep(t *testing.T) {
	type counted struct {
		Device struct {
			BytesUp   float64 `json:"bytes_up"`
			BytesDown float64 `json:"bytes_down"`
			HeldMB    float64 `json:"held_mb"`
			Estimated struct {
				Activations int64 `json:"activations"`
			} `json:"estimated_bytes"`
		} `json:"device"`
	}
	half, again := "train.mixed_precision=fp16", "train.gradient_checkpointing=true"
	for _, c := range [][]string{
		{"-preset", "fashion-mnist"},
		{"-preset", "fashion-mnist", "-set", half},
		{"-preset", "fashion-mnist", "-set", "train.mixed_precision=bf16"},
		{"-preset", "fashion-mnist", "-set", half, "-set", again},
		{"-preset", "cifar10-ddim", "-set", half},
		{"-model", "../../pipeline/testdata/sd-tiny", "-set", half},
		{"-model", "../../pipeline/testdata/sd-tiny", "-set", half, "-set", again},
	} {
		for _, operators := range []string{"standard", "native"} {
			t.Run(operators+" "+strings.Join(c, " "), func(t *testing.T) {
				run := func(steps int) (r counted, counts map[string]int64) {
					args := append([]string{"bench", "step", "-json", "-batch", "16", "-steps", fmt.Sprint(steps), "-set", "runtime.provider=cuda", "-set", "runtime.operators=" + operators}, c...)
					stdout, stderr, counts, err := onFakeGPU(t, nil, args...)
					if err != nil {
						t.Fatalf("%v: %s", err, stderr)
					}
					if err := json.Unmarshal([]byte(stdout), &r); err != nil {
						t.Fatalf("%v: %s", err, stdout)
					}
					return r, counts
				}
				_, short := run(2)
				r, long := run(6)
				each := func(name string) int64 { return (long[name] - short[name]) / 4 }
				d := r.Device
				if up := each("bytes up") + each("bytes up in the default stream"); float64(up) > d.BytesUp+128<<10 {
					t.Errorf("%d bytes go up a step, and the inputs are %.0f", up, d.BytesUp)
				}
				if down := each("bytes down") + each("bytes down in the default stream"); float64(down) > d.BytesDown {
					t.Errorf("%d bytes come down a step, want %.0f: loss and norm", down, d.BytesDown)
				}
				if waits := each("waits for a stream") + each("waits for an event") + each("waits for the device"); waits > 16 {
					t.Errorf("%d waits for the GPU a step", waits)
				}
				plan := float64(d.Estimated.Activations) / (1 << 20)
				if math.Abs(plan-d.HeldMB) > max(0.1*d.HeldMB, 2.5) {
					t.Errorf("the plan says %.1f MiB of activations, and ONNX Runtime holds %.1f", plan, d.HeldMB)
				}
				t.Logf("%d kernels of ONNX Runtime's, %.1f MiB of activations (%.1f planned)", each("kernels"), d.HeldMB, plan)
			})
		}
	}
}

// Whole runs: samples, checkpoints, a resumed run, recorded steps, and generation
// from what they wrote.
func TestFakeGPURuns(t *testing.T) {
	for _, operators := range []string{"standard", "native"} {
		for _, sets := range [][]string{
			{"runtime.cuda.enable_cuda_graph=false"},
			{"runtime.cuda.enable_cuda_graph=true", "train.mixed_precision=fp16"},
			{"runtime.deterministic=true"},
			{"train.micro_batch=32", "train.mixed_precision=fp16"},
		} {
			t.Run(operators+" "+strings.Join(sets, " "), func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "run")
				for _, steps := range []string{"4", "8"} {
					args := []string{"train", "-out", out, "-set", "runtime.provider=cuda", "-set", "runtime.operators=" + operators,
						"-set", "sample.steps=2", "-set", "sample.every_steps=4", "-set", "train.max_steps=" + steps}
					for _, s := range sets {
						args = append(args, "-set", s)
					}
					_, stderr, counts, err := onFakeGPU(t, nil, args...)
					if err != nil {
						t.Fatalf("%v: %s", err, stderr)
					}
					if recorded := counts["graphs recorded"]; strings.HasSuffix(sets[0], "graph=true") != (recorded > 0) {
						t.Errorf("%s: %d graphs recorded", sets[0], recorded)
					}
				}
				_, stderr, _, err := onFakeGPU(t, nil, "generate", "-model", filepath.Join(out, "checkpoint-8"), "-out", filepath.Join(out, "images"), "-n", "1", "-steps", "2", "-provider", "cuda")
				if err != nil {
					t.Fatalf("%v: %s", err, stderr)
				}
			})
		}
	}
}

// Out of memory ends with the plan, the largest activations, and what to change.
func TestFakeGPUOutOfMemory(t *testing.T) {
	_, stderr, _, err := onFakeGPU(t, []string{"FAKEGPU_MIB=3000"}, "train", "-out", filepath.Join(t.TempDir(), "run"), "-set", "runtime.provider=cuda", "-set", "train.max_steps=2",
		"-set", "train.batch_size=2048", "-set", "train.micro_batch=2048", "-set", "noise.pool_size=2048")
	if err == nil {
		t.Fatal("a run of more than 8 GiB fits into 3")
	}
	for _, want := range []string{"memory", "train.micro_batch", "MiB"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("got %q, want it to name %s", stderr, want)
		}
	}
}
