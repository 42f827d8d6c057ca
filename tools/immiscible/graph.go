package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"immiscible/pipeline"
)

// dimFlag declares -dim NAME=NUMBER, which may be given several times.
func dimFlag(flags *flag.FlagSet, dims *map[string]int) {
	*dims = map[string]int{}
	flags.Func("dim", "number of a symbolic dimension, `NAME=N`; once for each", func(text string) error {
		name, number, ok := strings.Cut(text, "=")
		n, err := strconv.Atoi(number)
		if !ok || name == "" || err != nil || n < 1 {
			return fmt.Errorf("want NAME=NUMBER, a number of at least 1")
		}
		if old, ok := (*dims)[name]; ok && old != n {
			return fmt.Errorf("%s is %d already", name, old)
		}
		(*dims)[name] = n
		return nil
	})
}

func graphShow() Command {
	var dims map[string]int
	var asJSON, dot bool
	var scope string
	return Command{
		Name:  "graph show",
		Usage: "FILE.onnx [-dim NAME=N]… [-dot [-scope S]] [-json]",
		Short: "look at an ONNX file: nodes, parameters, work, memory",
		Long: `Imports a forward graph and tells its inputs, outputs and nodes by operator (those computed at import
left out), its parameters, the floating-point operations of its convolutions and products, the
memory of its intermediate values in the forward pass and in a training step, the patterns that were
recognised, and what gets no gradient. Symbolic dimensions without a -dim are taken as 1 for the
first of an input, 64 for height and width, 77 for others.

With -dot it prints a picture for Graphviz instead, of the whole graph or of the nodes at a scope.`,
		Flags: func(flags *flag.FlagSet) {
			dimFlag(flags, &dims)
			flags.BoolVar(&dot, "dot", false, "print a picture in Graphviz's language")
			flags.StringVar(&scope, "scope", "", "of the nodes at or below `S` alone, such as down_blocks.0")
			jsonFlag(flags, &asJSON)
		},
		Run: func(_ context.Context, args []string, stdout, _ io.Writer) error {
			if len(args) != 1 {
				return usagef("%d files, want one", len(args))
			}
			if scope != "" && !dot {
				return usagef("-scope %s without -dot", scope)
			}
			g, s, err := pipeline.OpenGraph(args[0], dims)
			switch {
			case err != nil:
				return err
			case dot:
				picture := g.Dot(scope)
				if !strings.Contains(picture, "label=") {
					return fmt.Errorf("%s has no nodes at scope %q", args[0], scope)
				}
				_, err = io.WriteString(stdout, picture)
				return err
			case asJSON:
				return printJSON(stdout, s)
			}
			_, err = io.WriteString(stdout, graphText(s))
			return err
		},
	}
}

// graphText is the summary as lines for people.
func graphText(s *pipeline.GraphSummary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: opset %d, IR version %d, %s\n", s.File, s.Opset, s.IRVersion, nonEmptyOr(s.Producer, "producer unknown"))
	for _, v := range s.Inputs {
		fmt.Fprintf(&b, "input      %s %s%v\n", v.Name, v.DType, v.Shape)
	}
	for _, v := range s.Outputs {
		fmt.Fprintf(&b, "output     %s %s%v\n", v.Name, v.DType, v.Shape)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Assumed)) {
		fmt.Fprintf(&b, "assumed    %s = %d\n", name, s.Assumed[name])
	}
	total := 0
	for _, n := range s.Nodes {
		total += n
	}
	fmt.Fprintf(&b, "nodes      %d of the file, %d computed at import, %d left:\n", s.FileNodes, s.Folded, total)
	for _, op := range s.Operators() {
		fmt.Fprintf(&b, "  %6d   %s\n", s.Nodes[op], op)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Patterns)) {
		fmt.Fprintf(&b, "recognised %d × %s\n", s.Patterns[name], name)
	}
	fmt.Fprintf(&b, "parameters %d in %d tensors\n", s.Parameters, s.Tensors)
	fmt.Fprintf(&b, "forward    %.3f GFLOPs, %.1f MiB of intermediate values at most\n", float64(s.FLOPs)/1e9, mebibytes(s.PeakBytes))
	if s.TrainBytes > 0 {
		fmt.Fprintf(&b, "training   %.1f MiB of intermediate values at most, all parameters trained\n", mebibytes(s.TrainBytes))
	}
	for _, op := range slices.Sorted(maps.Keys(s.NoGradient)) {
		fmt.Fprintf(&b, "no gradient passes through %d × %s\n", s.NoGradient[op], op)
	}
	for _, key := range s.Ungraded {
		fmt.Fprintf(&b, "no gradient reaches %s\n", key)
	}
	return b.String()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

func nonEmptyOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func graphDifferentiate() Command {
	var o pipeline.DifferentiateOptions
	return Command{
		Name:  "graph differentiate",
		Usage: "FILE.onnx -loss mse|diffusion|cross-entropy -out OUT [-wrt GLOB]… [-dim NAME=N]…",
		Short: "make training artifacts out of somebody's forward graph",
		Long: `Imports a forward graph that another tool exported, differentiates a loss of its first output, and
writes what export writes: training_model.onnx (loss and <name>.grad), eval_model.onnx,
optimizer_model.onnx, grad_norm_model.onnx, model.safetensors and manifest.json. Parameters keep the
names of their initializers.

mse compares with the input target over all elements; cross-entropy takes int64 labels as target;
diffusion adds noise to the input sample as the scheduler_config.json beside the file says.
loss_scale counts 1 where mse and cross-entropy are not given one.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.Loss, "loss", "", "`LOSS`: "+strings.Join(pipeline.Losses(), ", "))
			flags.StringVar(&o.Out, "out", "", "folder `OUT` for the artifacts")
			flags.Func("wrt", "train the parameters that `GLOB` names, * crossing dots, slashes and colons; once for each; default *", func(glob string) error {
				o.Wrt = append(o.Wrt, glob)
				return nil
			})
			dimFlag(flags, &o.Dims)
		},
		Run: func(_ context.Context, args []string, _, stderr io.Writer) error {
			switch {
			case len(args) != 1:
				return usagef("%d files, want one", len(args))
			case !slices.Contains(pipeline.Losses(), o.Loss):
				return usagef("-loss %q, want one of: %s", o.Loss, strings.Join(pipeline.Losses(), ", "))
			case o.Out == "":
				return usagef("no -out, want a folder for the artifacts")
			}
			if len(o.Wrt) == 0 {
				o.Wrt = []string{"*"}
			}
			o.File, o.Messages = args[0], stderr
			return pipeline.Differentiate(o)
		},
	}
}

func graphWeights() Command {
	var from, out string
	return Command{
		Name:  "graph weights",
		Usage: "FILE.onnx [-from WEIGHTS.safetensors] -out OUT",
		Short: "take the weights out of an exported denoiser, and put trained ones in",
		Long: `Without -from it makes OUT a diffusers folder, which train and generate take: the config.json that
stands beside the file, and the file's weights under their state-dict keys, transposed back where the
exporter transposed them. Every parameter of config.json's model must be there, in its shape.

With -from it writes OUT, a copy of the file with these weights, under the file's names for them or
under state-dict keys: same names, same types, same layout.

OUT must not exist; an empty folder will do without -from. It appears whole or not at all.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&from, "from", "", "trained weights `FILE`.safetensors")
			flags.StringVar(&out, "out", "", "folder, or with -from the new `FILE`.onnx")
		},
		Run: func(_ context.Context, args []string, _, _ io.Writer) error {
			switch {
			case len(args) != 1:
				return usagef("%d files, want one", len(args))
			case out == "":
				return usagef("no -out, want a folder, or with -from a file")
			case from == "":
				return pipeline.UnpackGraph(args[0], out)
			}
			return pipeline.RepackGraph(args[0], from, out)
		},
	}
}
