package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

func help() Command {
	return Command{
		Name:  "help",
		Usage: "[COMMAND]",
		Short: "what a command does, and its flags",
		Long:  "Prints the list of commands, or what one command does, its arguments and its flags.",
		Run: func(_ context.Context, args []string, stdout, _ io.Writer) error {
			text := overview(commands())
			if len(args) > 0 {
				c, rest, err := find(commands(), args)
				if err != nil {
					return err
				}
				if len(rest) > 0 {
					return usagef("%q after the name of a command, want nothing", strings.Join(rest, " "))
				}
				text = details(c)
			}
			_, err := io.WriteString(stdout, text)
			return err
		},
	}
}

// overview is the list of commands.
func overview(all []Command) string {
	var b strings.Builder
	b.WriteString("immiscible trains diffusion models with Immiscible Diffusion, on ONNX Runtime.\n\nusage: immiscible COMMAND [ARGUMENT]…\n\n")
	width := 0
	for _, c := range all {
		width = max(width, len(c.Name))
	}
	for _, c := range all {
		fmt.Fprintf(&b, "  %-*s   %s\n", width, c.Name, c.Short)
	}
	b.WriteString("\n\"immiscible help COMMAND\" tells more. Flags may stand before or after the other arguments.\n" +
		"Exit status: 0 done, 1 failed, 2 used wrongly, 130 or 143 stopped by SIGINT or SIGTERM.\n")
	return b.String()
}

// details is what help says about one command. The files of testdata/help hold
// it for every command; go test ./tools/immiscible -update writes them.
func details(c Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nusage: %s\n\n%s\n", c.Name, c.Short, synopsis(c), strings.TrimSpace(c.Long))
	first := true
	flagSet(c).VisitAll(func(f *flag.Flag) {
		if first {
			b.WriteString("\nflags:\n")
			first = false
		}
		value, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  %-18s %s", strings.TrimSpace("-"+f.Name+" "+value), usage)
		if d := f.DefValue; d != "" && d != "0" && d != "false" {
			fmt.Fprintf(&b, " (default %s)", d)
		}
		b.WriteString("\n")
	})
	return b.String()
}

// synopsis is the command's call in one line.
func synopsis(c Command) string {
	return strings.TrimSpace("immiscible " + c.Name + " " + c.Usage)
}
