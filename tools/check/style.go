package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"slices"
	"strings"
)

// Lines of a file that is neither a test nor generated: question one at 400,
// split it at 600 (design §2).
const (
	warnLines = 400
	maxLines  = 600
)

// checkFormat compares every file with gofmt's output.
func checkFormat(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		want, err := format.Source(f.Src)
		if err != nil || bytes.Equal(want, f.Src) {
			continue // a file that does not parse is already a finding
		}
		have, line := bytes.Split(f.Src, []byte("\n")), 1
		for i, l := range bytes.Split(want, []byte("\n")) {
			if i >= len(have) || !bytes.Equal(l, have[i]) {
				line = i + 1
				break
			}
		}
		out = append(out, finding{File: f.Name, Line: line, Text: "not formatted, want the output of gofmt -w"})
	}
	return out
}

// checkSizes warns of long files and fails on very long ones.
func checkSizes(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		if f.Test || f.Generated {
			continue
		}
		lines := bytes.Count(f.Src, []byte("\n"))
		if lines > warnLines {
			out = append(out, finding{File: f.Name, Warn: lines <= maxLines, Text: fmt.Sprintf("%d lines, want 80–300; %d is the limit", lines, maxLines)})
		}
	}
	return out
}

// checkDocs wants a doc comment on every package and on every exported
// function, method, type, constant and variable. One comment above a group of
// constants or variables is enough. Struct fields are left to the reader.
func checkDocs(m *module) []finding {
	var out []finding
	documented, first := map[string]bool{}, map[string]*file{}
	for _, f := range m.Files {
		if f.Test {
			continue
		}
		if first[f.Dir] == nil {
			first[f.Dir] = f
		}
		if f.Tree.Doc != nil && !f.Generated {
			documented[f.Dir] = true
		}
		if !f.Generated {
			out = append(out, undocumented(m, f)...)
		}
	}
	for dir, f := range first {
		if !documented[dir] {
			out = append(out, finding{File: f.Name, Line: m.line(f.Tree.Package), Text: fmt.Sprintf("package %s has no doc comment, want one in doc.go or above the main file", f.Tree.Name.Name)})
		}
	}
	return out
}

func undocumented(m *module, f *file) []finding {
	var out []finding
	want := func(name *ast.Ident, docs ...*ast.CommentGroup) {
		if name.IsExported() && !slices.ContainsFunc(docs, func(c *ast.CommentGroup) bool { return c != nil }) {
			out = append(out, finding{File: f.Name, Line: m.line(name.Pos()), Text: fmt.Sprintf("exported %s has no comment, want what it does, shapes, units and errors", name.Name)})
		}
	}
	for _, decl := range f.Tree.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				want(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					want(s.Name, d.Doc, s.Doc, s.Comment)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						want(name, d.Doc, s.Doc, s.Comment)
					}
				}
			}
		}
	}
	return out
}

// receiver returns the name of a method's type: T in T, *T and *T[P].
func receiver(fn *ast.FuncDecl) string {
	name := ""
	ast.Inspect(fn.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return name == ""
	})
	return name
}

// machinePaths are beginnings of absolute paths that exist on one machine only.
// They are put together here so that this file does not break its own rule.
var machinePaths = []string{"/" + "work/", "/" + "root/", "/" + "home/"}

// checkPaths fails on absolute paths of somebody's machine in any text file.
func checkPaths(m *module) []finding {
	var out []finding
	for _, name := range m.Tracked {
		data, err := m.Read(name)
		if err != nil || bytes.IndexByte(data, 0) >= 0 {
			continue // deleted but not yet committed, or binary
		}
		for i, line := range strings.Split(string(data), "\n") {
			for _, p := range machinePaths {
				if at := strings.Index(line, p); at >= 0 && !inPath(line, at) {
					out = append(out, finding{File: name, Line: i + 1, Text: fmt.Sprintf("path %s… of one machine, want a relative one", p)})
				}
			}
		}
	}
	return out
}

// inPath tells whether the slash at index at continues a longer path or a URL.
func inPath(line string, at int) bool {
	if at == 0 {
		return false
	}
	c := line[at-1]
	return token.IsIdentifier(string(c)) || '0' <= c && c <= '9' || strings.IndexByte("/.-~}*$", c) >= 0
}
