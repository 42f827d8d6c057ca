// Check is the one gate of this repository: the same command on a desk and in
// CI. It reads the module as syntax trees and holds the house rules that no
// compiler knows (one-way imports, one door a third-party package, no init, no
// skipped test, documented exports, file sizes, …), then runs go vet,
// staticcheck and go mod tidy -diff.
//
//	go run ./tools/check          the gate
//	go run ./tools/check -full    also every test: none may skip, 15 minutes at most
//
// A finding is one line, "file:line: what, want …". Lines that begin with
// "warning" do not fail. Exit status: 0 clean, 1 findings, 2 could not check.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

// finding is one broken rule at one place.
type finding struct {
	File string // slash-separated, relative to the module's root
	Line int    // counted from 1; 0: the file as a whole
	Text string // what is there, and what is wanted
	Warn bool   // worth a look, does not fail
}

func (f finding) String() string {
	prefix := ""
	if f.Warn {
		prefix = "warning: "
	}
	if f.Line == 0 {
		return fmt.Sprintf("%s%s: %s", prefix, f.File, f.Text)
	}
	return fmt.Sprintf("%s%s:%d: %s", prefix, f.File, f.Line, f.Text)
}

// sourceRules look at syntax trees and bytes only; they run in milliseconds.
var sourceRules = []func(*module) []finding{
	checkFormat,
	checkLayers,
	checkDoors,
	checkTestOnly,
	checkRandom,
	checkInit,
	checkPanics,
	checkSkips,
	checkPrints,
	checkSizes,
	checkDocs,
	checkPaths,
}

// commandRules run the Go toolchain over the whole module.
var commandRules = []func(*module) ([]finding, error){
	checkVet,
	checkStaticcheck,
	checkTidy,
}

func main() {
	full := flag.Bool("full", false, "also run every test; fail if one skips or all take more than 15 minutes")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "check: argument %q, want none: the whole module is checked\n", flag.Arg(0))
		os.Exit(2)
	}
	os.Exit(run(os.Stdout, os.Stderr, *full))
}

func run(stdout, stderr io.Writer, full bool) int {
	m, err := load(".")
	if err != nil {
		fmt.Fprintln(stderr, "check:", err)
		return 2
	}
	findings := m.Findings
	for _, rule := range sourceRules {
		findings = append(findings, rule(m)...)
	}
	rules := commandRules
	if full {
		rules = append(slices.Clip(rules), func(m *module) ([]finding, error) { return checkTests(m, stdout) })
	}
	for _, rule := range rules {
		found, err := rule(m)
		if err != nil {
			fmt.Fprintln(stderr, "check:", err)
			return 2
		}
		findings = append(findings, found...)
	}
	return report(stdout, m, findings)
}

// report prints the findings in file order and the closing line.
func report(w io.Writer, m *module, findings []finding) int {
	slices.SortStableFunc(findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	failed, warned := 0, 0
	for _, f := range findings {
		fmt.Fprintln(w, f)
		if f.Warn {
			warned++
		} else {
			failed++
		}
	}
	fmt.Fprintf(w, "check: %d Go files, %d failures, %d warnings\n", len(m.Files), failed, warned)
	if failed > 0 {
		return 1
	}
	return 0
}
