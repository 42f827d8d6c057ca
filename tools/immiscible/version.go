package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

func version() Command {
	var asJSON bool
	return Command{
		Name:  "version",
		Usage: "[-json]",
		Short: "the version of this program and of Go",
		Long: `Prints the version that the program was built from (the module's, and the commit where the
go command recorded it), the Go release and the platform. "immiscible doctor" tells about
ONNX Runtime.`,
		Flags: func(flags *flag.FlagSet) { jsonFlag(flags, &asJSON) },
		Run: func(_ context.Context, args []string, stdout, _ io.Writer) error {
			if len(args) > 0 {
				return usagef("argument %q, want none", args[0])
			}
			v, err := buildVersion()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(stdout, v)
			}
			_, err = fmt.Fprintln(stdout, v, v.Go, v.Platform)
			return err
		},
	}
}

// programVersion is what the program was built from.
type programVersion struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (v programVersion) String() string {
	line := "immiscible " + v.Version
	if v.Revision != "" {
		line += " " + v.Revision
	}
	if v.Modified {
		line += " (modified)"
	}
	return line
}

func buildVersion() (programVersion, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return programVersion{}, errors.New("the program holds no build information, want one built by the go command")
	}
	v := programVersion{Version: info.Main.Version, Go: info.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v, nil
}
