package main

import (
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"immiscible/assign"
)

// fakeSolvers answers every matrix with the given total.
func fakeSolvers(total string) string {
	return `printf '{"ready": true, "solvers": ["a", "b"]}\n'; while read path; do test -s "$path" || exit 3; ` +
		`printf '{"solver": "a", "solve_ms": 2.5, "total": ` + total + `}\n{"solver": "b", "solve_ms": 5, "total": ` + total + `}\n'; done`
}

func TestAssignBench(t *testing.T) {
	threads := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(threads) })
	status, stdout, stderr := call(t.Context(), "assign", "bench", "-n", "8, 40", "-dim", "64", "-pools", "3", "-threads", "1", "-json", "-peer", fakeSolvers("1e9"))
	if status != 0 {
		t.Fatalf("got status %d, stderr %q", status, stderr)
	}
	var lines []assignLine
	for line := range strings.Lines(stdout) {
		var l assignLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if len(lines) != 6 {
		t.Fatalf("%d lines, want 2 sizes × 3 solvers:\n%s", len(lines), stdout)
	}
	for k, l := range lines {
		if n := []int{8, 40}[k/3]; l.N != n || l.Cost != "dot" || l.Data != "latents" || l.Threads != 1 || l.Pools != 3 || l.Solver != []string{"immiscible", "a", "b"}[k%3] {
			t.Errorf("line %d is %+v", k, l)
		}
		if !(l.SolveMS > 0) || !(l.MatrixMS > 0) || !(l.DistanceAfter < l.DistanceBefore) {
			t.Errorf("line %d: %+v lacks a figure", k, l)
		}
		if want := lines[k/3*3].SolveMS / l.SolveMS; k%3 > 0 && l.Ratio != want {
			t.Errorf("line %d: ratio %v, want %v", k, l.Ratio, want)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-peer", fakeSolvers("-1e9")}, 1, "n = 8, pool 0: our total is "},
		{[]string{"-peer", "echo hello"}, 1, "-peer echo hello: no line of JSON"},
		{[]string{"-peer", `echo '{"ready": true}'`}, 1, "its first line lacks"},
		{[]string{"-peer", `echo '{"ready": true, "solvers": ["a"]}'; read p; echo '{"solver": "b"}'`}, 1, "want solver a"},
		{[]string{"-peer", "exit 7"}, 1, "exit status 7"},
		{[]string{"-n", "8,x"}, 2, `-n "8,x", want numbers`},
		{[]string{"-n", "0"}, 2, `-n "0", want numbers`},
		{[]string{"-data", "cubes"}, 2, `-data "cubes", want latents`},
		{[]string{"-dim", "100"}, 2, "-data latents -dim 100, want 4 × a square"},
		{[]string{"-cost", "cosine"}, 2, `-cost "cosine", want dot`},
		{[]string{"-pools", "0"}, 2, "-pools 0, want at least 1"},
		{[]string{"-std", "0"}, 2, "-std 0, want a number above 0"},
		{[]string{"-gap", "1"}, 2, "-gap 1, want a number from 0"},
		{[]string{"-n", "8,20000", "-peer", "true"}, 2, "-n 20000 with -peer"},
		{[]string{"-n", "20000", "-cost_dtype", "float16"}, 2, "there is no matrix above"},
		{[]string{"-cost_dtype", "int8"}, 2, `-cost_dtype "int8"`},
		{[]string{"x"}, 2, `unexpected argument "x"`},
	} {
		args := append([]string{"assign", "bench", "-n", "8", "-dim", "64"}, c.args...)
		status, _, stderr := call(t.Context(), args...)
		if status != c.status || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") > 4 {
			t.Errorf("%q: got status %d, stderr %q", c.args, status, stderr)
		}
	}
}

// Rounded costs give nearly the distance of exact ones, and the table says it.
func TestAssignBenchTable(t *testing.T) {
	for _, kind := range []string{"clusters", "heavy", "gaussian"} {
		status, stdout, stderr := call(t.Context(), "assign", "bench", "-n", "32", "-dim", "50", "-data", kind, "-cost", "l2sq", "-cost_dtype", "float16", "-pools", "1")
		if status != 0 || !strings.Contains(stdout, "immiscible") || !strings.Contains(stdout, "(-") {
			t.Errorf("%s: got status %d, %q, stderr %q", kind, status, stdout, stderr)
		}
	}
}

// A pool above the size of matrices is paired in blocks, and the bound is printed.
func TestAssignBenchLarge(t *testing.T) {
	n := assign.LargestKept + 1
	status, stdout, stderr := call(t.Context(), "assign", "bench", "-n", strconv.Itoa(n), "-dim", "16", "-data", "gaussian", "-gap", "0.02", "-pools", "1", "-json")
	var line assignLine
	if err := json.Unmarshal([]byte(stdout), &line); status != 0 || err != nil {
		t.Fatalf("got status %d, %q, stderr %q", status, stdout, stderr)
	}
	if line.N != n || line.Bound == nil || !(*line.Bound <= 0.02) || line.DistanceAfter >= 0.9*line.DistanceBefore {
		t.Errorf("got %s", stdout)
	}
}
