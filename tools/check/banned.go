package main

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// checkRandom keeps math/rand out of the product: draws are keyed by (seed,
// stream, position) through datasets/rng, or a resumed run would differ.
func checkRandom(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		for _, spec := range f.Tree.Imports {
			if p := importPath(spec); (p == "math/rand" || p == "math/rand/v2") && !f.forTests() {
				out = append(out, finding{File: f.Name, Line: m.line(spec.Pos()), Text: fmt.Sprintf("imports %s, want datasets/rng outside tests", p)})
			}
		}
	}
	return out
}

// checkInit fails on code that runs because a package was imported: init
// functions, and blank imports, whose only purpose is such code. The blank
// import of embed is how the language spells //go:embed. Generated protobuf
// code registers its types in init.
func checkInit(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		if f.Generated {
			continue
		}
		for _, spec := range f.Tree.Imports {
			if p := importPath(spec); spec.Name != nil && spec.Name.Name == "_" && p != "embed" {
				out = append(out, finding{File: f.Name, Line: m.line(spec.Pos()), Text: fmt.Sprintf("blank import of %s, want an explicit call", p)})
			}
		}
		for _, decl := range f.Tree.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, finding{File: f.Name, Line: m.line(fn.Pos()), Text: "func init, want a function that is called by name"})
			}
		}
	}
	return out
}

// checkPanics holds the one departure from plain error returns: graph building
// panics inside models/graph, and graph.Build is the only recover; but for that
// of datasets/parquet.go, whose library panics on damaged pages.
func checkPanics(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		if f.Test || f.Generated {
			continue
		}
		for _, decl := range f.Tree.Decls {
			fn, _ := decl.(*ast.FuncDecl)
			build := fn != nil && fn.Recv == nil && (fn.Name.Name == "Build" && f.Dir == "models/graph" || fn.Name.Name == "survive" && f.Name == "datasets/parquet.go")
			ast.Inspect(decl, func(n ast.Node) bool {
				switch name := calledIdent(n); {
				case name == "panic" && !matches("models/graph/...", f.Dir):
					out = append(out, finding{File: f.Name, Line: m.line(n.Pos()), Text: "panic, want a returned error outside models/graph"})
				case name == "recover" && !build:
					out = append(out, finding{File: f.Name, Line: m.line(n.Pos()), Text: "recover, want it in graph.Build only"})
				}
				return true
			})
		}
	}
	return out
}

// calledIdent returns the name in a call of a plain identifier, else "".
func calledIdent(n ast.Node) string {
	if call, ok := n.(*ast.CallExpr); ok {
		if id, ok := call.Fun.(*ast.Ident); ok {
			return id.Name
		}
	}
	return ""
}

// selector returns the two names in x.Sel, else "".
func selector(n ast.Node) (x, sel string) {
	if s, ok := n.(*ast.SelectorExpr); ok {
		if id, ok := s.X.(*ast.Ident); ok {
			return id.Name, s.Sel.Name
		}
	}
	return "", ""
}

// checkSkips fails on tests that step aside: what cannot run must be provided
// or be another test.
func checkSkips(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		tests := testingParams(f.Tree)
		ast.Inspect(f.Tree, func(n ast.Node) bool {
			x, sel := selector(n)
			if slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel) && tests[x] {
				out = append(out, finding{File: f.Name, Line: m.line(n.Pos()), Text: fmt.Sprintf("%s.%s, want a test that runs everywhere", x, sel)})
			}
			return true
		})
	}
	return out
}

// testingParams returns the names of all parameters of type *testing.T, B or F
// and testing.TB in a file.
func testingParams(tree *ast.File) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(tree, func(n ast.Node) bool {
		fn, ok := n.(*ast.FuncType)
		if !ok {
			return true
		}
		for _, field := range fn.Params.List {
			typ := field.Type
			if star, ok := typ.(*ast.StarExpr); ok {
				typ = star.X
			}
			if pkg, _ := selector(typ); pkg == "testing" {
				for _, name := range field.Names {
					names[name.Name] = true
				}
			}
		}
		return true
	})
	return names
}

// checkPrints keeps libraries silent: they return numbers and errors; programs
// under tools decide what is said, pipeline/runlog writes it.
func checkPrints(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		if f.forTests() || f.Generated || matches("tools/...", f.Dir) {
			continue
		}
		add := func(n ast.Node, what string) {
			out = append(out, finding{File: f.Name, Line: m.line(n.Pos()), Text: what + ", want a returned value or error: libraries do not speak or exit"})
		}
		for _, spec := range f.Tree.Imports {
			if p := importPath(spec); p == "log" || strings.HasPrefix(p, "log/") {
				add(spec, "imports "+p)
			}
		}
		ast.Inspect(f.Tree, func(n ast.Node) bool {
			if name := calledIdent(n); name == "print" || name == "println" {
				add(n, name)
			}
			switch x, sel := selector(n); {
			case x == "fmt" && slices.Contains([]string{"Print", "Printf", "Println"}, sel), x == "os" && sel == "Exit":
				add(n, x+"."+sel)
			}
			return true
		})
	}
	return out
}
