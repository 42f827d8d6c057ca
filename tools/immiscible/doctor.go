package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"immiscible/models/engine"
)

func doctor() Command {
	var o engine.Options
	var asJSON bool
	return Command{
		Name:  "doctor",
		Usage: "[-provider P] [-library F] [-json]",
		Short: "what this machine has, what is missing, and what to do",
		Long: `Looks for ONNX Runtime as train does (ONNXRUNTIME_LIB, then the cache, else a download), opens it and
prints what was found: library, providers, processor, memory, GPUs. Each problem comes with the next
action; exit status 1 if training could not start.

With -json: one object with the same fields.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.Provider, "provider", "auto", "look for provider `P`: auto, cpu or cuda")
			flags.StringVar(&o.Library, "library", "", "use the library `F`")
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if len(args) != 0 {
				return usagef("unexpected argument %q", args[0])
			}
			if err := checkProvider(o.Provider); err != nil {
				return err
			}
			o.Log = func(line string) { fmt.Fprintln(stderr, line) }
			d := engine.Diagnose(ctx, o)
			if asJSON {
				if err := printJSON(stdout, d); err != nil {
					return err
				}
			} else if _, err := io.WriteString(stdout, describe(d)); err != nil {
				return err
			}
			if d.Library.Path == "" || d.Provider == "" || o.Provider != "auto" && d.Provider != o.Provider {
				return fmt.Errorf("training cannot start here: see the problems above")
			}
			return nil
		},
	}
}

func describe(d engine.Diagnosis) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	if d.Library.Path != "" {
		row("library", "ONNX Runtime %s, %s (%s)", d.Library.Version, d.Library.Path, d.Library.Source)
		row("providers", "%s; a run would use %s", strings.Join(d.Providers, ", "), d.Provider)
	}
	row("cache", "%s", d.Cache)
	row("processor", "%s, %d CPUs, %d threads; %s", d.CPU, d.CPUs, d.Threads, strings.Join(d.CPUFeatures, " "))
	row("memory", "%.1f GiB, %.1f GiB available", float64(d.MemoryBytes)/(1<<30), float64(d.AvailableBytes)/(1<<30))
	if len(d.GPUs) > 0 {
		row("GPU", "%s; driver %s", strings.Join(d.GPUs, ", "), d.NvidiaDriver)
	}
	if v := d.CUDA; v != (engine.CUDAVersions{}) {
		or := func(text string) string {
			if text == "" {
				return "not found"
			}
			return text
		}
		row("CUDA", "driver %s, which runs CUDA %s; runtime %s; cuDNN %s; provider %s", or(v.Driver), or(v.DriverCUDA), or(v.Runtime), or(v.CuDNN), or(v.Provider))
		if v.Operators != "" {
			row("operators", "runtime.operators = \"native\" on the GPU: %s", v.Operators)
		}
	}
	for _, p := range d.Problems {
		row("problem", "%s\n%-10s %s", p.What, "  do", p.Do)
	}
	return b.String()
}
