package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"immiscible/pipeline"
	"immiscible/pipeline/metrics/extractor"
)

func evaluate() Command {
	o := pipeline.EvaluateOptions{}
	var out string
	var asJSON bool
	var threads int
	return Command{
		Name: "evaluate",
		Usage: `METRIC GENERATED REFERENCE [-features F] [-input_range R] [-resize clean|pytorch]
  [-output NAME] [-resolution N] [-normalize] [-k K] [-subsets N] [-subset_size N] [-seed S]
  [-provider P] [-threads N] [-json]
  or stats IMAGES -out F.npz`,
		Short: "FID, KID and other distances of two sets",
		Long: `METRIC is one of
  fid                Fréchet distance of Gaussians (covariance divided by N − 1)
  sfid               the same on spatial features: the first seven channels of -output [N, C, H, W], a number
                     a position (arXiv 2103.03841; in ADM's evaluator Inception's mixed_6/conv, 7 × 17 × 17)
  kid                unbiased, kernel (x·y/D + 1)³, mean and deviation over random subsets
  precision-recall   shares of rows within the k-th neighbour's distance of the other set's rows
  density-coverage   their robust counterparts
  cmmd               1000 × MMD² with a Gaussian kernel, σ = 10, for CLIP embeddings: -normalize
  clipscore          100 × mean cosine of row i of GENERATED (images) and of REFERENCE (texts)

GENERATED and REFERENCE are each a .npy [N, D], a .npz (feats, or for fid mu and sigma), or images: a
folder, WebDataset tars, a glob, or fashion-mnist for the embedded set. Images need -features: an ONNX
network, input [N, C, H, W], output [N, D] or [N, C, H, W] (averaged over positions), or
fashion-mnist, the classifier that comes with this program. What R may be is what the network wants to
see: 0..1 (pytorch-fid's Inception), 0..255 (clean-fid's), -1..1, imagenet or clip (their means and
deviations). The result names both sets, the network and their SHA-256.

stats writes mu and sigma of a set, as pytorch-fid and clean-fid read them.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.Features.Model, "features", "", "network `F` that reads images: an ONNX file, or fashion-mnist")
			flags.StringVar(&o.Features.InputRange, "input_range", "0..1", strings.Join(extractor.Ranges(), ", "))
			flags.StringVar(&o.Features.Resize, "resize", extractor.ResizeClean, "to a network's fixed size: clean (Pillow's bicubic) or pytorch (bilinear)")
			flags.StringVar(&o.Features.Output, "output", "", "`NAME` of the network's output; the first")
			flags.IntVar(&o.Resolution, "resolution", 0, "bring images to `N` pixels and a square first; 0: as the first one is")
			flags.BoolVar(&o.Normalize, "normalize", false, "divide each row by its length")
			flags.IntVar(&o.K, "k", 5, "nearest neighbours")
			flags.IntVar(&o.Subsets, "subsets", 100, "subsets of kid")
			flags.IntVar(&o.SubsetSize, "subset_size", 1000, "rows of a subset, at most all")
			flags.Uint64Var(&o.Seed, "seed", 0, "seed of the subsets")
			flags.StringVar(&o.Engine.Provider, "provider", "auto", "auto, cpu or cuda")
			flags.StringVar(&out, "out", "", "stats: file `F.npz` to write")
			threadsFlag(flags, &threads)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if err := checkEvaluate(args, o, out); err != nil {
				return err
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			o.Engine.Threads = threads
			o.Engine.Log = func(line string) { fmt.Fprintln(stderr, line) }
			o.Messages = stderr
			var e *pipeline.Evaluation
			var err error
			if o.Metric = args[0]; o.Metric == "stats" {
				o.Reference = args[1]
				e, err = pipeline.Statistics(ctx, o, out)
			} else {
				o.Generated, o.Reference = args[1], args[2]
				e, err = pipeline.Evaluate(ctx, o)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(stdout, e)
			}
			_, err = io.WriteString(stdout, evaluationText(e, out))
			return err
		},
	}
}

// checkEvaluate refuses wrong use.
func checkEvaluate(args []string, o pipeline.EvaluateOptions, out string) error {
	switch {
	case len(args) == 0:
		return usagef("no metric, want one of %s, or stats", strings.Join(pipeline.Metrics(), ", "))
	case args[0] == "stats" && len(args) != 2:
		return usagef("stats and %d more arguments, want one: the set", len(args)-1)
	case args[0] == "stats" && out == "":
		return usagef("no -out, want a .npz file to write")
	case args[0] == "stats" && !strings.HasSuffix(out, ".npz"):
		return usagef("-out %q, want a name that ends in .npz", out)
	case args[0] == "stats":
	case !slices.Contains(pipeline.Metrics(), args[0]):
		return usagef("metric %q, want one of %s, or stats", args[0], strings.Join(pipeline.Metrics(), ", "))
	case len(args) != 3:
		return usagef("%s and %d more arguments, want two: GENERATED and REFERENCE", args[0], len(args)-1)
	case out != "":
		return usagef("-out is for stats")
	}
	switch {
	case !slices.Contains(extractor.Ranges(), o.Features.InputRange):
		return usagef("-input_range %q, want one of %s", o.Features.InputRange, strings.Join(extractor.Ranges(), ", "))
	case o.Features.Resize != extractor.ResizeClean && o.Features.Resize != extractor.ResizePyTorch:
		return usagef("-resize %q, want %s or %s", o.Features.Resize, extractor.ResizeClean, extractor.ResizePyTorch)
	case o.K < 1:
		return usagef("-k %d, want at least 1", o.K)
	case o.Subsets < 1:
		return usagef("-subsets %d, want at least 1", o.Subsets)
	case o.SubsetSize < 2:
		return usagef("-subset_size %d, want at least 2", o.SubsetSize)
	case o.Resolution < 0:
		return usagef("-resolution %d, want 0 or more", o.Resolution)
	}
	return checkProvider(o.Engine.Provider)
}

// evaluationText is an evaluation for people.
func evaluationText(e *pipeline.Evaluation, out string) string {
	var b strings.Builder
	for _, v := range e.Values() {
		fmt.Fprintf(&b, "%-10s %.6g\n", v.Name, v.Value)
	}
	set := func(what string, s pipeline.EvaluatedSet) {
		rows := "statistics"
		if s.N > 0 {
			rows = fmt.Sprintf("%d rows", s.N)
		}
		fmt.Fprintf(&b, "%-10s %s, %s, sha256 %s\n", what, s.Name, rows, s.SHA256)
	}
	if e.Metric == "stats" {
		set("set", e.Reference)
	} else {
		set("generated", *e.Generated)
		set("reference", e.Reference)
	}
	if f := e.Features; f != nil {
		fmt.Fprintf(&b, "%-10s %s, %d numbers, sha256 %s\n", "features", f.Name, e.Dim, f.SHA256)
	} else {
		fmt.Fprintf(&b, "%-10s %d numbers\n", "features", e.Dim)
	}
	if out != "" {
		fmt.Fprintf(&b, "%-10s %s\n", "written", out)
	}
	return b.String()
}
