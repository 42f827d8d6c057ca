package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"immiscible/pipeline"
)

// find returns the command whose name args begin with, and the arguments
// behind the name. Of two names the longer counts.
func find(all []Command, args []string) (Command, []string, error) {
	var found Command
	var rest, group []string
	for _, c := range all {
		words := strings.Fields(c.Name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == c.Name && len(c.Name) > len(found.Name) {
			found, rest = c, args[len(words):]
		}
		if words[0] == args[0] {
			group = append(group, c.Name)
		}
	}
	switch {
	case found.Name != "":
		return found, rest, nil
	case len(group) > 0:
		return found, nil, usagef("%q is no command, want one of: %s", strings.Join(args[:min(2, len(args))], " "), strings.Join(group, ", "))
	}
	for _, c := range all {
		group = append(group, c.Name)
	}
	return found, nil, usagef("%q is no command, want one of: %s", args[0], strings.Join(group, ", "))
}

// flagSet declares a command's flags in a set that prints nothing by itself.
func flagSet(c Command) *flag.FlagSet {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if c.Flags != nil {
		c.Flags(flags)
	}
	return flags
}

// parse reads flags that stand before, between and after the other arguments,
// which it returns. After "--" nothing is a flag.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var others []string
	for len(args) > 0 {
		if err := flags.Parse(args); err == flag.ErrHelp {
			return nil, err
		} else if err != nil {
			return nil, usageError{err}
		}
		read := len(args) - flags.NArg()
		if read > 0 && args[read-1] == "--" {
			return append(others, flags.Args()...), nil
		}
		if args = flags.Args(); len(args) > 0 {
			others, args = append(others, args[0]), args[1:]
		}
	}
	return others, nil
}

// threadsFlag declares -threads, which every command that computes has.
func threadsFlag(flags *flag.FlagSet, threads *int) {
	flags.IntVar(threads, "threads", 0, "CPU threads at most `N`; 0: as many as there are cores")
}

// maxThreads is beyond any machine's, and within what the Go runtime takes.
const maxThreads = 4096

// useThreads bounds the threads that run Go code. ONNX Runtime has its own
// pool: commands that open the engine hand the number on.
func useThreads(threads int) error {
	if threads < 0 || threads > maxThreads {
		return usagef("-threads %d, want 0 to %d", threads, maxThreads)
	}
	if threads > 0 {
		runtime.GOMAXPROCS(threads)
	}
	return nil
}

// loadConfig is the settings of a run whose -threads may stand above [runtime] threads.
func loadConfig(preset, file string, sets []string, threads int) (pipeline.Config, error) {
	if err := useThreads(threads); err != nil {
		return pipeline.Config{}, err
	}
	c, err := pipeline.LoadConfig(preset, file, sets)
	if threads != 0 {
		c.Runtime.Threads = threads
	}
	return c, err
}

// checkProvider refuses a -provider that does not exist.
func checkProvider(provider string) error {
	if !slices.Contains([]string{"auto", "cpu", "cuda"}, provider) {
		return usagef("-provider %q, want auto, cpu or cuda", provider)
	}
	return nil
}

// jsonFlag declares -json.
func jsonFlag(flags *flag.FlagSet, asJSON *bool) {
	flags.BoolVar(asJSON, "json", false, "print the result as JSON")
}

// printReport prints a result for programs or for people.
func printReport(w io.Writer, asJSON bool, report fmt.Stringer) error {
	if asJSON {
		return printJSON(w, report)
	}
	_, err := io.WriteString(w, report.String())
	return err
}

// printJSON prints one value as a line of JSON.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
