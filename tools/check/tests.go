package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// maxTestTime is what go test ./... may take on two cores.
const maxTestTime = 15 * time.Minute

// testEvent is a line of go test -json (go doc test2json).
type testEvent struct {
	Action, Package, Test, Output string
}

// checkTests runs every test and prints the output of those that fail and the
// closing line of each package.
func checkTests(m *module, w io.Writer) ([]finding, error) {
	cmd := exec.Command("go", "test", "-json", "-count=1", "./...")
	cmd.Dir, cmd.Stderr = m.Root, w
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	found, readErr := readTests(stdout, w)
	waitErr := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case readErr != nil:
		return nil, fmt.Errorf("go test -json: %w", readErr)
	case waitErr != nil && !errors.As(waitErr, &exit):
		return nil, waitErr
	case waitErr != nil && len(found) == 0:
		found = append(found, finding{File: "go test ./...", Text: waitErr.Error()})
	}
	if took := time.Since(start); took > maxTestTime {
		found = append(found, finding{File: "go test ./...", Text: fmt.Sprintf("took %s, want %s at most", took.Round(time.Second), maxTestTime)})
	}
	return found, nil
}

// readTests turns the event stream into findings: tests that skipped or
// failed. A package without tests "skips" too, with no test name: that is none.
func readTests(r io.Reader, w io.Writer) ([]finding, error) {
	var found []finding
	output := map[string][]string{} // of each test that has not ended
	for dec := json.NewDecoder(r); ; {
		var e testEvent
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return found, err
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "build-output":
			fmt.Fprint(w, e.Output)
		case "output":
			if e.Test == "" {
				fmt.Fprint(w, e.Output)
			} else {
				output[key] = append(output[key], e.Output)
			}
		case "pass":
			delete(output, key)
		case "skip":
			if e.Test != "" {
				found = append(found, finding{File: e.Package, Text: e.Test + " skipped, want a test that runs"})
			}
			delete(output, key)
		case "fail":
			fmt.Fprint(w, strings.Join(output[key], ""))
			name := e.Test
			if name == "" {
				name = "package"
			}
			found = append(found, finding{File: e.Package, Text: name + " failed"})
			delete(output, key)
		case "build-fail":
			found = append(found, finding{File: "go test ./...", Text: "a package does not build"})
		}
	}
}
