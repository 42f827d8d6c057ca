package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"immiscible/pipeline/npy"
)

// scipyExample is the matrix in scipy.optimize.linear_sum_assignment's manual,
// whose only optimum is [1, 0, 2] with total 5.
var scipyExample = []float64{4, 1, 3, 2, 0, 5, 3, 2, 2}

func writeCost[T npy.Element](t *testing.T, rows, cols int, cost []T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cost.npy")
	if err := npy.Write(path, []int{rows, cols}, cost); err != nil {
		t.Fatal(err)
	}
	return path
}

func readPerm(t *testing.T, path string) []int64 {
	t.Helper()
	a, err := npy.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	perm, err := a.Int64()
	if err != nil || len(a.Shape) != 1 {
		t.Fatalf("%s: shape %v, %v, want 1-D int64", path, a.Shape, err)
	}
	return perm
}

func TestAssignSolve(t *testing.T) {
	threads := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(threads) })
	cost := writeCost(t, 3, 3, scipyExample)
	perm := filepath.Join(filepath.Dir(cost), "perm.npy")
	for _, args := range [][]string{{cost, "-out", perm}, {"-out", perm, cost}, {"-threads", "1", cost, "-out", perm}} {
		os.Remove(perm)
		status, stdout, stderr := call(t.Context(), append([]string{"assign", "solve"}, args...)...)
		if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "3 × 3: total 5, solved in ") {
			t.Fatalf("%q: got status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
		if got := readPerm(t, perm); !reflect.DeepEqual(got, []int64{1, 0, 2}) {
			t.Errorf("%q: got %v, want [1 0 2]", args, got)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(cost))
	if err != nil || len(entries) != 2 {
		t.Errorf("folder holds %v (%v), want the two files only", entries, err)
	}
}

// Rectangles against every assignment there is, and the JSON against the file.
func TestAssignSolveAgainstBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	for round := range 20 {
		rows := 1 + round%5
		cols := rows + round%3
		cost := make([]float32, rows*cols)
		for i := range cost {
			cost[i] = float32(rng.NormFloat64())
		}
		path := writeCost(t, rows, cols, cost)
		out := filepath.Join(filepath.Dir(path), "perm.npy")
		status, stdout, stderr := call(t.Context(), "assign", "solve", "-json", path, "-out", out)
		var result struct {
			Rows, Cols int
			Total      float64
			SolveMS    *float64 `json:"solve_ms"`
			Out        string
		}
		if err := json.Unmarshal([]byte(stdout), &result); status != 0 || err != nil || strings.Count(stdout, "\n") != 1 {
			t.Fatalf("got status %d, stdout %q (%v), stderr %q", status, stdout, err, stderr)
		}
		total, sum, used := 0.0, 0.0, map[int64]bool{}
		for i, j := range readPerm(t, out) {
			used[j] = true
			total += float64(cost[i*cols+int(j)])
			sum += math.Abs(float64(cost[i*cols+int(j)]))
		}
		best := cheapest(cost, cols, 0, make([]bool, cols))
		// Optimal as design §9 defines it: excess ≤ 1e-6 · Σ|chosen entries|.
		if len(used) != rows || total-best > 1e-6*sum {
			t.Errorf("%d × %d: total %g over %d columns, want %g over %d", rows, cols, total, len(used), best, rows)
		}
		if result.Rows != rows || result.Cols != cols || result.Total != total || result.SolveMS == nil || result.Out != out {
			t.Errorf("%s does not say what was written: total %g", stdout, total)
		}
	}
}

// cheapest tries every column for each row from row on.
func cheapest(cost []float32, cols, row int, taken []bool) float64 {
	if row*cols == len(cost) {
		return 0
	}
	best := math.Inf(1)
	for j := range cols {
		if !taken[j] {
			taken[j] = true
			best = min(best, float64(cost[row*cols+j])+cheapest(cost, cols, row+1, taken))
			taken[j] = false
		}
	}
	return best
}

func TestAssignSolveRefuses(t *testing.T) {
	with := func(at int, x float64) string {
		cost := append([]float64(nil), scipyExample...)
		cost[at] = x
		return writeCost(t, 3, 3, cost)
	}
	good := with(0, 4)
	text := filepath.Join(t.TempDir(), "cost.csv")
	if err := os.WriteFile(text, []byte("1,2\n3,4\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	vector := filepath.Join(t.TempDir(), "vector.npy")
	if err := npy.Write(vector, []int{3}, []float64{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "perm.npy")
	tests := []struct {
		cost, out string
		status    int
		want      string
	}{
		{with(5, math.NaN()), out, 1, "FILE: entry [1, 2] is NaN, want a finite number\n"},
		{with(0, math.Inf(-1)), out, 1, "FILE: entry [0, 0] is -Inf, want a finite number\n"},
		{with(7, 1e39), out, 1, "FILE: entry [2, 1] is 1e+39, beyond float32's range (±3.4028235e+38)\n"},
		{writeCost(t, 3, 2, make([]float32, 6)), out, 1, "FILE: has 3 rows and 2 columns, want rows ≤ columns: transpose it\n"},
		{writeCost(t, 0, 2, []float32{}), out, 1, "FILE: has 0 rows and 2 columns, want at least one of each\n"},
		{writeCost(t, 2, 2, make([]int64, 4)), out, 1, "FILE: holds int64, want float32 or float64\n"},
		{vector, out, 1, "FILE: has 1 dimensions, want 2: rows and columns\n"},
		{text, out, 1, "FILE: is no .npy file: its first bytes are not \\x93NUMPY\n"},
		{filepath.Join(t.TempDir(), "none.npy"), out, 1, "FILE: no such file or directory\n"},
		{good, filepath.Join(t.TempDir(), "none", "perm.npy"), 1, "OUT: cannot be written: "},
		{good, t.TempDir(), 1, "OUT: is a folder, want a file's name\n"},
		{good, good, 2, "immiscible assign solve: -out OUT is the cost file itself, want another name\n"},
		{good, "", 2, "immiscible assign solve: no -out, want the file for the columns\n"},
	}
	for _, test := range tests {
		status, stdout, stderr := call(t.Context(), "assign", "solve", test.cost, "-out", test.out)
		want := strings.ReplaceAll(strings.ReplaceAll(test.want, "FILE", test.cost), "OUT", test.out)
		if status != test.status || stdout != "" || !strings.HasPrefix(stderr, want) {
			t.Errorf("got status %d, stdout %q, stderr %q; want %d and %q", status, stdout, stderr, test.status, want)
		}
		if status == 1 && strings.Count(stderr, "\n") != 1 {
			t.Errorf("got %q, want one line", stderr)
		}
	}
	for _, args := range [][]string{{"-out", out}, {good, good, "-out", out}, {good, "-out", out, "-threads", "-1"}, {good, "-out", out, "-threads", "two"}} {
		if status, _, stderr := call(t.Context(), append([]string{"assign", "solve"}, args...)...); status != 2 || strings.Count(stderr, "\n") != 3 {
			t.Errorf("%q: got status %d, stderr %q, want 2 and three lines", args, status, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused call wrote its output")
	}
}

// A full disk under the result is no success.
func TestAssignSolveReportsLostOutput(t *testing.T) {
	cost := writeCost(t, 3, 3, scipyExample)
	var stderr strings.Builder
	status := run(t.Context(), []string{"assign", "solve", cost, "-out", cost + ".perm", "-json"}, fullDisk{}, &stderr)
	if status != 1 || stderr.String() != "no space left\n" {
		t.Errorf("got status %d, stderr %q, want 1 and the writer's error", status, &stderr)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, fmt.Errorf("no space left") }

func TestAssignSolveStops(t *testing.T) {
	cost := writeCost(t, 3, 3, scipyExample)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped{syscall.SIGTERM})
	status, _, stderr := call(ctx, "assign", "solve", cost, "-out", cost+".perm")
	if status != 143 || stderr != cost+": stopped by SIGTERM\n" {
		t.Errorf("got status %d, stderr %q, want 143", status, stderr)
	}
	if _, err := os.Stat(cost + ".perm"); err == nil {
		t.Error("a stopped call wrote its output")
	}
}
