package main

import (
	"encoding/json"
	"strings"
	"testing"

	"immiscible/models/engine"
)

// A machine that can train gets status 0 and what a run would use; -json says
// the same in one object.
func TestDoctor(t *testing.T) {
	stdout, _ := mustCall(t, "doctor", "-provider", "cpu")
	for _, want := range []string{"library    ONNX Runtime ", "providers  ", "a run would use cpu\n", "cache      ", "processor  ", "memory     "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("doctor does not say %q:\n%s", want, stdout)
		}
	}
	asJSON, _ := mustCall(t, "doctor", "-provider", "cpu", "-json")
	var d engine.Diagnosis
	if err := json.Unmarshal([]byte(asJSON), &d); err != nil || strings.Count(asJSON, "\n") != 1 {
		t.Fatalf("-json gives %q, %v", asJSON, err)
	}
	if d.Provider != "cpu" || d.Library.Path == "" || d.Threads < 1 || d.MemoryBytes == 0 || describe(d) == "" || len(d.Problems) != 0 {
		t.Errorf("-json says %+v", d)
	}
}

// A provider that this machine cannot have is no provider to train with: here a
// library without the CUDA provider, or no GPU at all.
func TestDoctorOfAnotherProvider(t *testing.T) {
	status, stdout, stderr := call(t.Context(), "doctor", "-provider", "cuda")
	if status == 0 && strings.Contains(stdout, "a run would use cuda") {
		return // a machine with a GPU and all that it needs
	}
	if status != 1 || !strings.Contains(stdout, "problem    engine: ") || !strings.Contains(stdout, "cuda") || !strings.HasSuffix(stderr, "training cannot start here: see the problems above\n") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// The versions that were found stand in one row.
func TestDoctorNamesCUDA(t *testing.T) {
	text := describe(engine.Diagnosis{CUDA: engine.CUDAVersions{Driver: "580.65.06", DriverCUDA: "13.0", Runtime: "13.0"}})
	if want := "CUDA       driver 580.65.06, which runs CUDA 13.0; runtime 13.0; cuDNN not found; provider not found\n"; !strings.Contains(text, want) {
		t.Errorf("got %q, want %q in it", text, want)
	}
}

// What is missing comes with the next action, and status 1 where nothing can
// run. With -json the object stands on stdout all the same.
func TestDoctorFindsProblems(t *testing.T) {
	t.Setenv("ONNXRUNTIME_LIB", "none.so")
	for _, args := range [][]string{{"doctor"}, {"doctor", "-json"}} {
		status, stdout, stderr := call(t.Context(), args...)
		if status != 1 || !strings.Contains(stdout, "none.so") || stderr != "training cannot start here: see the problems above\n" {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
		var d engine.Diagnosis
		if len(args) > 1 && (json.Unmarshal([]byte(stdout), &d) != nil || len(d.Problems) == 0 || d.Problems[0].What == "" || d.Problems[0].Do == "") {
			t.Errorf("-json says %q", stdout)
		}
	}
	badCall{"argument", []string{"doctor", "x"}, 2, `unexpected argument "x"`}.check(t, t.TempDir())
	badCall{"provider", []string{"doctor", "-provider", "tpu"}, 2, `-provider "tpu", want auto, cpu or cuda`}.check(t, t.TempDir())
}
