package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"immiscible/models/engine"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/whole"
)

// CompareMeasured is measured.json: where the comparison ran, how long it took
// and what the arms did to the noise. Another machine gives other times; and a
// run that was killed before its noise was measured measures later images.
type CompareMeasured struct {
	Schema      string               `json:"schema"`  // immiscible.compare_measured/1
	Program     string               `json:"program"` // that wrote the report; runs that were finished before may be of another
	Go          string               `json:"go"`
	ONNXRuntime string               `json:"onnx_runtime"`
	Platform    string               `json:"platform"`
	Provider    string               `json:"provider"`
	Threads     int                  `json:"threads"`
	CPU         string               `json:"cpu"`
	CPUs        int                  `json:"cpus"`
	GPUs        []string             `json:"gpus"`
	MemoryBytes int64                `json:"memory_bytes"`
	Runs        []CompareMeasuredRun `json:"runs"`
}

// CompareMeasuredRun is the part of one arm from one seed.
type CompareMeasuredRun struct {
	Arm          string        `json:"arm"`
	Seed         int64         `json:"seed"`
	StepMS       runlog.Number `json:"step_ms"`       // median
	TrainSeconds float64       `json:"train_seconds"` // of all steps; what a kill undid is not counted
	JudgeSeconds *float64      `json:"judge_seconds"` // null: judged by a program that did not keep it
	Noise        *NoiseLaw     `json:"noise,omitempty"`
}

func newMeasured(e *engine.Engine, program string) *CompareMeasured {
	return &CompareMeasured{Schema: "immiscible.compare_measured/1", Program: program, Go: runtime.Version(), ONNXRuntime: e.Version,
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Provider: e.Provider, Threads: e.Threads}
}

// add gathers a run's figures. What is not there is left out: it says nothing
// about the comparison.
func (m *CompareMeasured) add(run *CompareRun, log []runlog.Record, kept *evaluations, out string) error {
	r := CompareMeasuredRun{Arm: run.Arm, Seed: run.Seed}
	var steps []float64
	for _, record := range log {
		steps = append(steps, float64(record.StepMS))
		r.TrainSeconds += float64(record.StepMS) / 1e3
	}
	if slices.Sort(steps); len(steps) > 0 {
		r.StepMS = runlog.Number(steps[len(steps)/2])
	}
	judged, timed := 0.0, true
	for _, e := range kept.all {
		judged, timed = judged+e.Seconds, timed && e.Seconds > 0
	}
	if timed && len(kept.all) > 0 {
		r.JudgeSeconds = &judged
	}
	text, err := os.ReadFile(filepath.Join(out, noiseLawFile))
	if err == nil {
		r.Noise = &NoiseLaw{}
		err = json.Unmarshal(text, r.Noise)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", filepath.Join(out, noiseLawFile), err)
	}
	m.Runs = append(m.Runs, r)
	return nil
}

// write adds what the machine is and writes measured.json.
func (m *CompareMeasured) write(ctx context.Context, path string, c Config) error {
	d := engine.Diagnose(ctx, c.engineOptions(func(string) {}))
	m.CPU, m.CPUs, m.GPUs, m.MemoryBytes = d.CPU, d.CPUs, d.GPUs, d.MemoryBytes
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return whole.File(path, append(text, '\n'))
}
