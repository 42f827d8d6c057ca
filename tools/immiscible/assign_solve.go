package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"immiscible/assign"
	"immiscible/pipeline/npy"
	"immiscible/pipeline/whole"
)

func assignSolve() Command {
	var out string
	var threads int
	var asJSON bool
	return Command{
		Name:  "assign solve",
		Usage: "COST.npy -out PERM.npy [-threads N] [-json]",
		Short: "the cheapest assignment of a cost matrix",
		Long: `Reads a cost matrix, rows × columns with rows ≤ columns, gives every row a column of its own such
that the sum of the chosen entries is smallest, and writes the columns: PERM[i] = j says that row i
takes column j. The solution is exact for the matrix rounded to float32.

COST.npy is a NumPy file, little-endian float32 or float64, C or Fortran order, all entries finite
and within float32's range. PERM.npy becomes a 1-D int64 file; it is whole or not there.

With -json: {"rows", "cols", "total" (the sum of the chosen entries), "solve_ms", "out"}.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&out, "out", "", "write the columns to `PERM.npy`")
			threadsFlag(flags, &threads)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, _ io.Writer) error {
			if len(args) != 1 {
				return usagef("%d cost files, want one", len(args))
			}
			if out == "" {
				return usagef("no -out, want the file for the columns")
			}
			if sameFile(args[0], out) {
				return usagef("-out %s is the cost file itself, want another name", out)
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			if err := probe(out); err != nil {
				return err
			}
			cost, rows, cols, err := readCost(args[0])
			if err != nil {
				return err
			}
			start := time.Now()
			perm, err := solve(ctx, cost, rows, cols)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			took := time.Since(start)
			total, columns := 0.0, make([]int64, rows)
			for i, j := range perm {
				total += float64(cost[i*cols+j])
				columns[i] = int64(j)
			}
			if err := npy.Write(out, []int{rows}, columns); err != nil {
				return err
			}
			ms := float64(took.Microseconds()) / 1000
			if asJSON {
				return printJSON(stdout, struct {
					Rows    int     `json:"rows"`
					Cols    int     `json:"cols"`
					Total   float64 `json:"total"`
					SolveMS float64 `json:"solve_ms"`
					Out     string  `json:"out"`
				}{rows, cols, total, ms, out})
			}
			_, err = fmt.Fprintf(stdout, "%d × %d: total %.9g, solved in %.1f ms, written to %s\n", rows, cols, total, ms, out)
			return err
		},
	}
}

// readCost reads a cost matrix as row-major float32 and refuses what has no
// assignment. Errors begin with the path.
func readCost(path string) (cost []float32, rows, cols int, err error) {
	fail := func(format string, args ...any) ([]float32, int, int, error) {
		return nil, 0, 0, fmt.Errorf("%s: "+format, append([]any{path}, args...)...)
	}
	a, err := npy.Read(path)
	if err != nil {
		return nil, 0, 0, err
	}
	if len(a.Shape) != 2 {
		return fail("has %d dimensions, want 2: rows and columns", len(a.Shape))
	}
	rows, cols = a.Shape[0], a.Shape[1]
	if rows == 0 || cols == 0 {
		return fail("has %d rows and %d columns, want at least one of each", rows, cols)
	}
	if rows > cols {
		return fail("has %d rows and %d columns, want rows ≤ columns: transpose it", rows, cols)
	}
	cost, err = a.Float32()
	if err != nil {
		return fail("%w", err)
	}
	for i, x := range cost {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fail("entry %s is %v, want a finite number", a.Index(i), x)
		}
	}
	return cost, rows, cols, nil
}

// solve gives up waiting for the solver when ctx is done; the program ends
// then, and the solver with it.
func solve(ctx context.Context, cost []float32, rows, cols int) ([]int, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var perm []int
	var err error
	done := make(chan struct{})
	go func() {
		perm, err = assign.Linear(cost, rows, cols)
		close(done)
	}()
	select {
	case <-done:
		return perm, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// sameFile tells whether two names are one file.
func sameFile(a, b string) bool {
	fa, errA := os.Stat(a)
	fb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// probe finds out before the work whether a file can be made beside path.
func probe(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s: is a folder, want a file's name", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), whole.Temporary+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("%s: cannot be written: %w", path, err)
	}
	f.Close()
	return os.Remove(f.Name())
}
