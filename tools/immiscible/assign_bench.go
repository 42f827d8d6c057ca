package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"immiscible/assign"
	"immiscible/datasets/rng"
	"immiscible/pipeline"
)

// assignLine is one line of assign bench: one solver on the matrices of one n.
type assignLine struct {
	N              int     `json:"n"`
	Cost           string  `json:"cost"`
	Data           string  `json:"data"`
	Threads        int     `json:"threads"`
	Solver         string  `json:"solver"`
	SolveMS        float64 `json:"solve_ms"` // median over the pools
	SolveQ1        float64 `json:"solve_ms_q1"`
	MatrixMS       float64 `json:"matrix_ms"` // of our product; median
	DistanceBefore float64 `json:"distance_before"`
	DistanceAfter  float64 `json:"distance_after"`
	Pools          int     `json:"pools"`
	Dim            int     `json:"dim"`
	CostDtype      string  `json:"cost_dtype"`
	// Of pools without a matrix, whose solve_ms includes all products: by what part of Σ|chosen costs| the worst of
	// them may exceed the optimum.
	Bound *float64 `json:"bound,omitempty"`
	// Ours divided by the peer's, of the medians and of the lower quartiles; 0 on our own line.
	Ratio   float64 `json:"ratio,omitempty"`
	RatioQ1 float64 `json:"ratio_q1,omitempty"`
}

// assignBenchOptions are the flags of assign bench.
type assignBenchOptions struct {
	data, cost, dtype, peer string
	dim, pools              int
	std, gap                float64
	seed                    uint64
}

func assignBench() Command {
	var o assignBenchOptions
	var sizes string
	var threads int
	var asJSON bool
	return Command{
		Name:  "assign bench",
		Usage: "[-n LIST] [-data D] [-cost C] [-pools R] [-peer CMD] [-threads T] [-json]",
		Short: "time the solver, alone or in turns with others",
		Long: `Pairs R pools of n images with as many Gaussian noises and times the solver alone: no file reading,
no product. Prints medians over the pools, the time of the cost matrix, and the mean distance of image
and noise before and after.

-data: latents (4 smooth channels, 1/f), clusters (ten classes), heavy (a log-normal scale an image)
or gaussian, each of D numbers with standard deviation S.

Above 16,384 images there is no matrix: the time is that of pairing, products included, which ends once
one pass over all costs proves that the total is within -gap of the optimum; the bound is printed. No
peer takes part there.

-peer starts another program that solves the same float32 matrices, in turns with this one. CMD prints
{"ready": true, "solvers": […]}; for each line it reads, a path of COST.npy, it prints a line
{"solver", "solve_ms", "total"} for each of its solvers. Totals are held against ours.
  -peer 'python3 tools/peers/lap.py'

With -json: a line for each n and solver, a peer's with "ratio", our median divided by its.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&sizes, "n", "256,512,1024", "pool sizes, a `LIST`")
			flags.StringVar(&o.data, "data", "latents", "kind of images `D`: "+madeUp)
			flags.IntVar(&o.dim, "dim", 4096, "numbers of an image `D`")
			flags.Float64Var(&o.std, "std", 1, "standard deviation of an image's numbers `S`")
			flags.StringVar(&o.cost, "cost", "dot", "cost `C`: dot (−x·n), l2sq, l2 or l1")
			flags.StringVar(&o.dtype, "cost_dtype", "float32", "digits that our costs are rounded to: float32 or float16; the peer's are not")
			flags.Float64Var(&o.gap, "gap", 1e-3, "part `G` of the total that pools without a matrix may miss")
			flags.IntVar(&o.pools, "pools", 5, "solve `R` pools of each size")
			flags.Uint64Var(&o.seed, "seed", 0, "of images and noise")
			flags.StringVar(&o.peer, "peer", "", "take turns with the command `CMD`")
			threadsFlag(flags, &threads)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			ns, err := assignSizes(sizes)
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q", args[0])
			case err != nil:
				return err
			case o.pools < 1:
				return usagef("-pools %d, want at least 1", o.pools)
			case !(o.gap >= 0 && o.gap < 1):
				return usagef("-gap %v, want a number from 0 to below 1", o.gap)
			case slices.Max(ns) > assign.LargestKept && (o.peer != "" || o.dtype != "float32"):
				return usagef("-n %d with -peer or -cost_dtype %s, want at most %d: there is no matrix above", slices.Max(ns), o.dtype, assign.LargestKept)
			case o.dim < 1:
				return usagef("-dim %d, want at least 1", o.dim)
			case !(o.std > 0) || math.IsInf(o.std, 0):
				return usagef("-std %v, want a number above 0", o.std)
			case o.dtype != "float32" && o.dtype != "float16":
				return usagef("-cost_dtype %q, want float32 or float16", o.dtype)
			}
			switch assign.Cost(o.cost) {
			case assign.CostDot, assign.CostL2Sq, assign.CostL2, assign.CostL1:
			default:
				return usagef("-cost %q, want dot, l2sq, l2 or l1", o.cost)
			}
			if _, err := madeUpImages(o.data, 1, o.dim, o.std, o.seed); err != nil {
				return err
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			var p *lapPeer
			if o.peer != "" {
				if p, err = startLapPeer(ctx, o.peer, stderr); err != nil {
					return err
				}
				defer p.stop()
			}
			if !asJSON {
				fmt.Fprintf(stdout, "%s of %d numbers, cost %s, %d threads, %d pools\n%6s  %-28s %10s %10s %8s %10s  %s\n", o.data, o.dim, o.cost,
					runtime.GOMAXPROCS(0), o.pools, "n", "solver", "median ms", "q1 ms", "ours/it", "matrix ms", "distance")
			}
			for _, n := range ns {
				lines, err := o.run(ctx, n, p)
				if err != nil {
					return err
				}
				for _, l := range lines {
					if asJSON {
						err = printJSON(stdout, l)
					} else {
						err = l.print(stdout)
					}
					if err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
}

// assignSizes reads a list of pool sizes.
func assignSizes(list string) ([]int, error) {
	var ns []int
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return nil, usagef("-n %q, want numbers from 1 up, such as 256,1024", list)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// print writes the line as a row of the table.
func (l assignLine) print(w io.Writer) error {
	ratio, matrix, distance := "", "", ""
	if l.Ratio > 0 {
		ratio = fmt.Sprintf("%.3f", l.Ratio)
	} else {
		if matrix = "none"; l.Bound == nil {
			matrix = fmt.Sprintf("%.1f", l.MatrixMS)
		}
		distance = fmt.Sprintf("%.3f → %.3f (%+.2f %%)", l.DistanceBefore, l.DistanceAfter, 100*(l.DistanceAfter/l.DistanceBefore-1))
		if l.Bound != nil {
			distance += fmt.Sprintf(", within %.2g of the optimum", *l.Bound)
		}
	}
	_, err := fmt.Fprintf(w, "%6d  %-28s %10.2f %10.2f %8s %10s  %s\n", l.N, l.Solver, l.SolveMS, l.SolveQ1, ratio, matrix, distance)
	return err
}

// run solves the pools of one size, each by us and then by the peer's solvers.
func (o assignBenchOptions) run(ctx context.Context, n int, p *lapPeer) ([]assignLine, error) {
	ours := assignLine{N: n, Cost: o.cost, Data: o.data, Threads: runtime.GOMAXPROCS(0), Solver: "immiscible", Pools: o.pools, Dim: o.dim, CostDtype: o.dtype}
	var solve, matrix []float64
	theirs := map[string][]float64{}
	for pool := range o.pools {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		a, err := madeUpImages(o.data, n, o.dim, o.std, o.seed+uint64(pool)<<32)
		if err != nil {
			return nil, err
		}
		noise := make([]float32, n*o.dim)
		for i := range n {
			rng.New(o.seed, fmt.Sprintf("noise/%d", pool), uint64(i)).FillNormal(noise[i*o.dim : (i+1)*o.dim])
		}
		var cost []float32
		var perm []int
		if n > assign.LargestKept {
			var bound float64
			start := time.Now()
			if perm, bound, err = assign.Large(a.X, noise, n, o.dim, assign.Options{Cost: assign.Cost(o.cost), Gap: o.gap}); err != nil {
				return nil, err
			}
			solve = append(solve, time.Since(start).Seconds()*1e3)
			if ours.Bound == nil || bound > *ours.Bound {
				ours.Bound = &bound
			}
		} else {
			start := time.Now()
			if cost, err = assign.CostMatrix(a.X, noise, n, n, o.dim, assign.Cost(o.cost), nil); err != nil {
				return nil, err
			}
			matrix = append(matrix, time.Since(start).Seconds()*1e3)
			used := cost
			if o.dtype == "float16" {
				used = append([]float32(nil), cost...)
				assign.RoundHalf(used)
			}
			runtime.GC() // of the images and noises: no part of the solve
			start = time.Now()
			if perm, err = assign.Linear(used, n, n); err != nil {
				return nil, err
			}
			solve = append(solve, time.Since(start).Seconds()*1e3)
		}
		before, after := assign.Distances(a.X, noise, perm, n, o.dim)
		ours.DistanceBefore += before / float64(o.pools)
		ours.DistanceAfter += after / float64(o.pools)
		if p == nil {
			continue
		}
		var total, chosen float64
		for i, j := range perm {
			total += float64(cost[i*n+j])
			chosen += math.Abs(float64(cost[i*n+j]))
		}
		answers, err := p.solve(cost, n)
		if err != nil {
			return nil, err
		}
		for _, answer := range answers {
			// Optimal as design §9 defines it, float16's digits aside.
			if o.dtype == "float32" && total-answer.Total > 1e-6*chosen {
				return nil, fmt.Errorf("n = %d, pool %d: our total is %.9g, %s found %.9g", n, pool, total, answer.Solver, answer.Total)
			}
			theirs[answer.Solver] = append(theirs[answer.Solver], answer.SolveMS)
		}
	}
	q := pipeline.QuartilesOf(solve)
	ours.SolveMS, ours.SolveQ1 = q.Median, q.Q1
	if matrix != nil {
		ours.MatrixMS = pipeline.QuartilesOf(matrix).Median
	}
	lines := []assignLine{ours}
	if p != nil {
		for _, solver := range p.solvers {
			l, q := ours, pipeline.QuartilesOf(theirs[solver])
			l.Solver, l.SolveMS, l.SolveQ1, l.Ratio, l.RatioQ1 = solver, q.Median, q.Q1, ours.SolveMS/q.Median, ours.SolveQ1/q.Q1
			lines = append(lines, l)
		}
	}
	return lines, nil
}
