// Immiscible is the one program of this module: it trains diffusion models with
// Immiscible Diffusion, generates images from them, and offers the parts of the
// job (pairing, data, graphs) as commands of their own. A file a command;
// commands lists them all.
//
// Results go to standard output (with -json as one JSON object, or JSON lines),
// progress and logs to standard error. Exit status: 0 done, 1 failed, 2 used
// wrongly, 130 or 143 stopped by SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Command is one command: what help says about it, its flags, and what it does.
type Command struct {
	Name  string // the words that call it: "assign solve"
	Usage string // what follows the name: "COST.npy -out PERM.npy"
	Short string // one line for the list of commands
	Long  string // paragraphs for help, lines of at most 100 characters

	// Flags declares the command's flags; nil where it has none.
	Flags func(*flag.FlagSet)

	// Run does the work. args are the arguments that are no flags, wherever
	// they stood. A command that stops early because ctx is done returns
	// context.Cause(ctx), wrapped in what it leaves behind; one that finished
	// all the same returns nil. Wrong use is an error of usagef.
	Run func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

// commands returns the table of all commands, in the order of the list in
// help. Each call makes them anew: flag values belong to one call.
func commands() []Command {
	return []Command{
		train(),
		generate(),
		evaluate(),
		compare(),
		export(),
		doctor(),
		dataOrder(),
		dataIndex(),
		dataVerify(),
		dataDump(),
		dataCache(),
		dataFetch(),
		assignSolve(),
		assignBench(),
		assignAnalyze(),
		analyzeLayers(),
		analyzeSteps(),
		analyzeTerminal(),
		analyzeBijectivity(),
		analyzeMiscibility(),
		graphShow(),
		graphDifferentiate(),
		graphWeights(),
		tokenize(),
		benchStep(),
		benchData(),
		benchGenerate(),
		version(),
		help(),
	}
}

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals) // from here on a signal ends the program at once
		cause := stopped{s.(syscall.Signal)}
		cancel(cause)
		fmt.Fprintf(os.Stderr, "%s: stopping; a second one ends at once\n", cause.name())
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run calls the command that args name and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	all := commands()
	if len(args) == 0 {
		io.WriteString(stderr, overview(all))
		return 2
	}
	if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		args = append([]string{"help"}, args[1:]...)
	}
	c, rest, err := find(all, args)
	if err == nil {
		flags := flagSet(c)
		args, err = parse(flags, rest)
		if errors.Is(err, flag.ErrHelp) {
			_, err = io.WriteString(stdout, details(c))
		} else if err == nil {
			err = c.Run(ctx, args, stdout, stderr)
		}
	}
	return exit(ctx, c, err, stderr)
}

// exit says why the command ended, in at most three lines, and returns the
// exit status.
func exit(ctx context.Context, c Command, err error, stderr io.Writer) int {
	var wrong usageError
	var signal stopped
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "%s: %v\n", strings.TrimSpace("immiscible "+c.Name), err)
		if c.Name != "" {
			fmt.Fprintf(stderr, "usage: %s\n", strings.Join(strings.Fields(synopsis(c)), " "))
		}
		fmt.Fprintf(stderr, "more: %s\n", strings.TrimSpace("immiscible help "+c.Name))
		return 2
	case errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &signal):
		fmt.Fprintln(stderr, atMost(3, err.Error()))
		return 128 + int(signal.Signal)
	default:
		fmt.Fprintln(stderr, atMost(3, err.Error()))
		return 1
	}
}

// atMost keeps the first n lines of a text.
func atMost(n int, text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// usageError is wrong use of the program: exit status 2.
type usageError struct{ error }

// usagef makes a usageError; the text says what is wrong and what is wanted.
func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// stopped is the cause of a context that a signal cancelled.
type stopped struct{ Signal syscall.Signal }

func (s stopped) name() string {
	if s.Signal == syscall.SIGINT {
		return "SIGINT"
	}
	return "SIGTERM"
}

func (s stopped) Error() string { return "stopped by " + s.name() }

// Is makes the cause count as what it is: the context was cancelled.
func (s stopped) Is(target error) bool { return target == context.Canceled }
