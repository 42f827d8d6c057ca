package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is what the rules look at: every Go file as a syntax tree, and every
// file that git tracks or would track.
type module struct {
	Root     string // where commands run; "" in tests that live in memory
	Path     string // module path, "immiscible"
	Fset     *token.FileSet
	Files    []*file
	Tracked  []string // slash-separated paths relative to Root
	Read     func(name string) ([]byte, error)
	Findings []finding // files that do not parse
}

// file is one Go file.
type file struct {
	Name      string // path relative to the root, "models/onnx/check.go"
	Dir       string // "models/onnx"; the root's is "."
	Src       []byte
	Tree      *ast.File
	Test      bool // _test.go
	Generated bool // carries the "Code generated … DO NOT EDIT." line
}

// testOnly tells packages that only tests may import: helpers such as
// enginetest, and refeval, the slow float64 evaluator.
func testOnly(dir string) bool {
	base := path.Base(dir)
	return strings.HasSuffix(base, "test") || base == "refeval"
}

// forTests tells whether nothing but tests can reach the file's code.
func (f *file) forTests() bool { return f.Test || testOnly(f.Dir) }

// importPath returns the import's path without quotes.
func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}

// internal returns the folder of a package of this module.
func (m *module) internal(p string) (dir string, ok bool) {
	if p == m.Path {
		return ".", true
	}
	return strings.CutPrefix(p, m.Path+"/")
}

// line returns the line of a position.
func (m *module) line(pos token.Pos) int { return m.Fset.Position(pos).Line }

// add parses one Go file. A file that does not parse becomes a finding.
func (m *module) add(name string, src []byte) {
	tree, err := parser.ParseFile(m.Fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		f := finding{File: name, Text: err.Error()}
		var list scanner.ErrorList
		if errors.As(err, &list) {
			f.Line, f.Text = list[0].Pos.Line, list[0].Msg
		}
		m.Findings = append(m.Findings, f)
		return
	}
	m.Files = append(m.Files, &file{
		Name: name, Dir: path.Dir(name), Src: src, Tree: tree,
		Test: strings.HasSuffix(name, "_test.go"), Generated: ast.IsGenerated(tree),
	})
}

// load reads the module that holds dir. Files left out by build constraints on
// this machine are read too: rules hold on every platform.
func load(dir string) (*module, error) {
	gomod, err := output(dir, "go", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	modPath, err := output(root, "go", "list", "-m")
	if err != nil {
		return nil, err
	}
	m := &module{
		Root: root, Path: strings.TrimSpace(string(modPath)), Fset: token.NewFileSet(),
		Read: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(root, filepath.FromSlash(name))) },
	}
	names, err := goFiles(root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		src, err := m.Read(name)
		if err != nil {
			return nil, err
		}
		m.add(name, src)
	}
	tracked, err := output(root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(string(tracked), "\x00") {
		if name != "" {
			m.Tracked = append(m.Tracked, name)
		}
	}
	return m, nil
}

// goFiles lists the Go files of every package below root, in order.
func goFiles(root string) ([]string, error) {
	// -find leaves dependencies unresolved: a missing module is go vet's finding.
	list, err := output(root, "go", "list", "-e", "-find", "-json", "./...")
	if err != nil {
		return nil, err
	}
	var names []string
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var p struct {
			Dir                                                                          string
			GoFiles, CgoFiles, IgnoredGoFiles, InvalidGoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list -json: %w", err)
		}
		rel, err := filepath.Rel(root, p.Dir)
		if err != nil {
			return nil, err
		}
		for _, group := range [][]string{p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.InvalidGoFiles, p.TestGoFiles, p.XTestGoFiles} {
			for _, name := range group {
				names = append(names, path.Join(filepath.ToSlash(rel), name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil // an invalid file stands in two groups
}

// output runs a command in dir and returns its standard output; the error
// carries the first line of standard error.
func output(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			first, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
			err = fmt.Errorf("%w: %s", err, first)
		}
		return nil, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, nil
}
