package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// lintChecks are staticcheck's checks: all but the four that want a fixed
// wording of comments; checkDocs wants that they are there.
const lintChecks = "all,-ST1000,-ST1020,-ST1021,-ST1022"

// lintTags are build tags of files that a plain build leaves out, and that add to
// it where they are given.
const lintTags = "browser"

func checkVet(m *module) ([]finding, error) {
	return toolFindings(m, "go", "vet", "-tags", lintTags, "./...")
}

func checkStaticcheck(m *module) ([]finding, error) {
	found, err := toolFindings(m, "go", "tool", "staticcheck", "-tags", lintTags, "-checks", lintChecks, "./...")
	return slices.DeleteFunc(found, func(f finding) bool {
		return strings.HasSuffix(f.Text, "(compile)") // go vet has said so already
	}), err
}

// checkTidy fails where go mod tidy would change go.mod or go.sum.
func checkTidy(m *module) ([]finding, error) {
	out, failed, err := combined(m.Root, "go", "mod", "tidy", "-diff")
	if err != nil || !failed {
		return nil, err
	}
	for line := range strings.Lines(out) {
		if changed := strings.TrimSpace(line); strings.HasPrefix(line, "+\t") || strings.HasPrefix(line, "-\t") {
			return []finding{{File: "go.mod", Text: fmt.Sprintf("not tidy (%q and perhaps more), want go mod tidy", changed)}}, nil
		}
	}
	return []finding{{File: "go.mod", Text: "go mod tidy -diff: " + firstLine(out)}}, nil
}

// toolFindings runs a tool whose output lines are file:line:column: text.
func toolFindings(m *module, name string, args ...string) ([]finding, error) {
	out, failed, err := combined(m.Root, name, args...)
	if err != nil || !failed {
		return nil, err
	}
	found := parseToolOutput(out)
	if len(found) == 0 {
		return nil, fmt.Errorf("%s %s failed: %s", name, strings.Join(args, " "), firstLine(out))
	}
	return found, nil
}

// parseToolOutput keeps the lines that name a place. Others are headings
// ("# package") and continuations of the line before.
func parseToolOutput(out string) []finding {
	var found []finding
	for line := range strings.Lines(out) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "vet: ")
		file, rest, ok := strings.Cut(line, ":")
		if !ok || !strings.HasSuffix(file, ".go") {
			continue
		}
		number, text, _ := strings.Cut(rest, ":")
		n, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		if column, after, ok := strings.Cut(text, ":"); ok {
			if _, err := strconv.Atoi(column); err == nil {
				text = after
			}
		}
		found = append(found, finding{File: strings.TrimPrefix(file, "./"), Line: n, Text: strings.TrimSpace(text)})
	}
	return found
}

// combined runs a command and returns all it printed. failed: it ran and
// exited non-zero; err: it could not run.
func combined(dir, name string, args ...string) (out string, failed bool, err error) {
	var buf bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &buf, &buf
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return buf.String(), true, nil
	}
	return buf.String(), false, err
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return first
}
