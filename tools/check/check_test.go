package main

import (
	"fmt"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fake makes a module in memory. A file without a package clause gets a
// documented one, so that a row shows only what its rule is about.
func fake(files map[string]string) *module {
	m := &module{Path: "immiscible", Fset: token.NewFileSet(), Read: func(name string) ([]byte, error) {
		src, ok := files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(src), nil
	}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		m.Tracked = append(m.Tracked, name)
		if src := files[name]; strings.HasSuffix(name, ".go") {
			if !strings.Contains(src, "package ") {
				src = "// Package p is for the test.\npackage p\n\n" + src
			}
			m.add(name, []byte(src))
		}
	}
	return m
}

type one = map[string]string

// Every rule: what it must catch, and the nearest thing it must let pass.
func TestRules(t *testing.T) {
	long := strings.Repeat("var _ = 0\n", 700)
	tests := []struct {
		name  string
		rule  func(*module) []finding
		files map[string]string
		want  string // part of the only finding; "": none
	}{
		{"pipeline imports down", checkLayers, one{"pipeline/train.go": `import "immiscible/models/engine"`}, ""},
		{"models import up", checkLayers, one{"models/unet/a.go": "import \"immiscible/pipeline/optim\"\n"}, "models/unet/a.go:4: models/unet imports pipeline/optim, want only models/unet/..."},
		{"pipeline room imports the pipeline", checkLayers, one{"pipeline/optim/a.go": `import "immiscible/pipeline"`}, "pipeline/optim imports pipeline"},
		{"assign and datasets stay apart", checkLayers, one{"assign/a.go": `import "immiscible/datasets/rng"`}, "assign imports datasets/rng"},
		{"also in tests", checkLayers, one{"assign/a_test.go": `import "immiscible/datasets/rng"`}, "assign imports datasets/rng"},
		{"graph imports nn", checkLayers, one{"models/graph/a.go": `import "immiscible/models/nn"`}, "models/graph imports models/nn"},
		{"unet imports vae", checkLayers, one{"models/unet/a.go": `import "immiscible/models/vae"`}, "models/unet imports models/vae"},
		{"unet imports engine", checkLayers, one{"models/unet/a.go": `import "immiscible/models/engine"`}, "models/unet imports models/engine"},
		{"unet's test may", checkLayers, one{"models/unet/a_test.go": `import "immiscible/models/engine"`}, ""},
		{"and may use refeval", checkLayers, one{"models/onnx/a_test.go": `import "immiscible/models/graph/refeval"`}, ""},
		{"but not what stands above", checkLayers, one{"models/graph/a_test.go": `import "immiscible/models/unet"`}, "models/graph imports models/unet"},
		{"engine imports onnx", checkLayers, one{"models/engine/a.go": `import "immiscible/models/onnx"`}, "models/engine imports models/onnx"},
		{"external test imports its package", checkLayers, one{"pipeline/a_test.go": "package pipeline_test\nimport \"immiscible/pipeline\""}, ""},
		{"no tool imports another", checkLayers, one{"tools/check/a.go": `import "immiscible/tools/immiscible"`}, "tools/check imports tools/immiscible"},
		{"a tool imports what is below it", checkLayers, one{"tools/check/a.go": `import "immiscible/tools/check/sub"`}, ""},
		{"no room", checkLayers, one{"utils/a.go": ""}, "package utils stands in no room"},

		{"door", checkDoors, one{"models/engine/a.go": `import ort "github.com/yalue/onnxruntime_go"`}, ""},
		{"beside the door", checkDoors, one{"pipeline/a.go": `import ort "github.com/yalue/onnxruntime_go"`}, "imports github.com/yalue/onnxruntime_go, want it in models/engine/... only"},
		{"package below the door's module", checkDoors, one{"models/graph/a.go": `import "google.golang.org/protobuf/proto"`}, "want it in models/onnx/... only"},
		{"door of one file", checkDoors, one{"pipeline/config.go": `import "github.com/BurntSushi/toml"`}, ""},
		{"its test", checkDoors, one{"pipeline/config_test.go": `import "github.com/BurntSushi/toml"`}, ""},
		{"another file beside it", checkDoors, one{"pipeline/presets.go": `import "github.com/BurntSushi/toml"`}, "want it in pipeline/config.go only"},
		{"no door", checkDoors, one{"assign/a.go": `import "gorgonia.org/tensor"`}, "gorgonia.org/tensor, which has no door"},
		{"a longer name is another module", checkDoors, one{"models/engine/a.go": `import "github.com/yalue/onnxruntime_gopher"`}, "has no door"},
		{"cgo", checkDoors, one{"assign/a.go": `import "C"`}, "imports C, want it in models/engine/... or datasets/turbojpeg.go only"},
		{"anywhere", checkDoors, one{"pipeline/runlog/a.go": `import "golang.org/x/term"`}, ""},

		{"test helper in the product", checkTestOnly, one{"models/nn/a.go": `import "immiscible/models/graph/refeval"`}, "imports immiscible/models/graph/refeval, want it in tests"},
		{"testing in the product", checkTestOnly, one{"models/nn/a.go": `import "testing"`}, "imports testing, want"},
		{"testing in a helper", checkTestOnly, one{"models/engine/enginetest/a.go": `import "testing"`}, ""},

		{"rand", checkRandom, one{"assign/a.go": `import "math/rand/v2"`}, "imports math/rand/v2, want datasets/rng"},
		{"rand in a test", checkRandom, one{"assign/a_test.go": `import "math/rand"`}, ""},

		{"init", checkInit, one{"assign/a.go": "func init() {}"}, "assign/a.go:4: func init"},
		{"init in a test", checkInit, one{"assign/a_test.go": "func init() {}"}, "func init"},
		{"a method called init", checkInit, one{"assign/a.go": "type t int\nfunc (t) init() {}"}, ""},
		{"generated init", checkInit, one{"models/onnx/a.pb.go": "// Code generated by protoc. DO NOT EDIT.\n\npackage onnx\nfunc init() {}"}, ""},
		{"blank import", checkInit, one{"datasets/a.go": `import _ "image/png"`}, "blank import of image/png"},
		{"go:embed", checkInit, one{"datasets/a.go": `import _ "embed"`}, ""},

		{"panic", checkPanics, one{"assign/a.go": `func f() { panic("x") }`}, "panic, want a returned error"},
		{"panic while building a graph", checkPanics, one{"models/graph/a.go": `func f() { panic("x") }`}, ""},
		{"panic in a test", checkPanics, one{"assign/a_test.go": `func f() { panic("x") }`}, ""},
		{"recover", checkPanics, one{"models/graph/a.go": `func f() { defer func() { recover() }() }`}, "recover, want it in graph.Build"},
		{"recover in Build", checkPanics, one{"models/graph/a.go": `func Build() { defer func() { recover() }() }`}, ""},
		{"recover in another Build", checkPanics, one{"models/nn/a.go": `func Build() { defer func() { recover() }() }`}, "recover"},

		{"skip", checkSkips, one{"assign/a_test.go": "import \"testing\"\nfunc TestX(t *testing.T) {\n\tt.Run(\"a\", func(u *testing.T) { u.Skipf(\"no\") })\n}"}, "assign/a_test.go:6: u.Skipf"},
		{"skip by interface", checkSkips, one{"assign/assigntest/a.go": `import "testing"` + "\nfunc F(tb testing.TB) { tb.SkipNow() }"}, "tb.SkipNow"},
		{"another Skip", checkSkips, one{"datasets/a.go": "type r int\nfunc (r) Skip() {}\nfunc f(t r) { t.Skip() }"}, ""},

		{"print", checkPrints, one{"assign/a.go": "import \"fmt\"\nfunc f() { fmt.Println() }"}, "fmt.Println, want a returned value"},
		{"builtin print", checkPrints, one{"assign/a.go": "func f() { println() }"}, "println"},
		{"log", checkPrints, one{"assign/a.go": `import "log/slog"`}, "imports log/slog"},
		{"exit", checkPrints, one{"assign/a.go": "import \"os\"\nfunc f() { os.Exit(1) }"}, "os.Exit"},
		{"a program prints", checkPrints, one{"tools/x/a.go": "import \"fmt\"\nfunc f() { fmt.Println() }"}, ""},
		{"formatting is not printing", checkPrints, one{"assign/a.go": "import \"fmt\"\nfunc f() string { return fmt.Sprint() }"}, ""},

		{"long file", checkSizes, one{"assign/a.go": long}, "703 lines, want 80–300"},
		{"longish file", checkSizes, one{"assign/a.go": long[:4200]}, "warning: assign/a.go: 423 lines"},
		{"long test", checkSizes, one{"assign/a_test.go": long}, ""},

		{"package comment", checkDocs, one{"assign/a.go": "package assign\n"}, "package assign has no doc comment"},
		{"in another file", checkDocs, one{"assign/a.go": "package assign\n", "assign/doc.go": "// Package assign pairs.\npackage assign\n"}, ""},
		{"exported function", checkDocs, one{"assign/a.go": "func F() {}"}, "exported F has no comment"},
		{"exported method", checkDocs, one{"assign/a.go": "// T is.\ntype T[P any] int\nfunc (*T[P]) F() {}"}, "exported F has no comment"},
		{"method of a hidden type", checkDocs, one{"assign/a.go": "type t int\nfunc (t) F() {}"}, ""},
		{"exported type", checkDocs, one{"assign/a.go": "type T int"}, "exported T has no comment"},
		{"exported constant", checkDocs, one{"assign/a.go": "const (\n\ta = 1\n\tB = 2\n)"}, "assign/a.go:6: exported B has no comment"},
		{"group comment", checkDocs, one{"assign/a.go": "// Costs.\nconst (\n\tA = 1\n\tB = 2\n)"}, ""},
		{"comment at the end of the line", checkDocs, one{"assign/a.go": "const (\n\tA = 1 // one\n)"}, ""},
		{"test", checkDocs, one{"assign/a.go": "", "assign/a_test.go": "func TestX() {}"}, ""},

		{"format", checkFormat, one{"assign/a.go": "package a\n\nvar x  = 1\n"}, "assign/a.go:3: not formatted"},
		{"formatted", checkFormat, one{"assign/a.go": "package a\n\nvar x = 1\n"}, ""},

		{"path", checkPaths, one{"README.md": "one\nrun " + machinePaths[0] + "main\n"}, "README.md:2: path " + machinePaths[0] + "… of one machine"},
		{"path at the start", checkPaths, one{"a.py": machinePaths[1] + "x"}, "a.py:1:"},
		{"path in a URL", checkPaths, one{"a.txt": "https://example.org" + machinePaths[2] + "x ~" + machinePaths[0]}, ""},
		{"binary", checkPaths, one{"a.bin": "\x00 " + machinePaths[0]}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := fake(test.files)
			if len(m.Findings) > 0 {
				t.Fatalf("the row does not parse: %v", m.Findings)
			}
			got := test.rule(m)
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("got %v, want no finding", got)
			case test.want != "" && len(got) != 1:
				t.Errorf("got %v, want one finding with %q", got, test.want)
			case test.want != "" && !strings.Contains(got[0].String(), test.want):
				t.Errorf("got %q, want it to contain %q", got[0], test.want)
			}
		})
	}
}

// onDisk writes a module to a temporary folder and returns the folder.
func onDisk(t *testing.T, files one) string {
	t.Helper()
	root := t.TempDir()
	for name, src := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(src), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// A file that does not parse is a finding with its line, not the end.
func TestSyntaxError(t *testing.T) {
	m := fake(one{"assign/a.go": "package a\n\nfunc {\n", "assign/b.go": ""})
	if len(m.Findings) != 1 || m.Findings[0].Line != 3 || len(m.Files) != 1 {
		t.Errorf("got findings %v and %d files, want one finding at line 3 and one file", m.Findings, len(m.Files))
	}
}

// The arrows of the table go one way: no two rooms import each other.
func TestRoomsAreOneWay(t *testing.T) {
	dirs := []string{"tools/a", "pipeline", "pipeline/a", "assign", "datasets", "models", "models/unet", "models/vae", "models/clip", "models/nn", "models/graph", "models/onnx", "models/safetensors", "models/engine"}
	for _, a := range dirs {
		for _, b := range dirs {
			ra, _ := roomOf(a)
			rb, _ := roomOf(b)
			if a != b && matchesAny(ra.Imports, b) && matchesAny(rb.Imports, a) {
				t.Errorf("%s and %s may import each other", a, b)
			}
		}
	}
}

// The whole program on a module on disk: files behind build constraints are
// read, ignored files are not, vet's words arrive, the exit status is 1.
func TestModuleOnDisk(t *testing.T) {
	root := onDisk(t, one{
		"go.mod":                 "module immiscible\n\ngo 1.26\n",
		".gitignore":             "/out\n",
		"out/log.txt":            machinePaths[0] + "x\n",
		"assign/doc.go":          "// Package assign pairs.\npackage assign\n",
		"assign/a_other.go":      "//go:build plan9\n\npackage assign\n\nfunc init() {}\n",
		"assign/b.go":            "package assign\n\nimport \"fmt\"\n\nvar s = fmt.Sprintf(\"%d\", \"x\")\n",
		"assign/testdata/bad.go": "not Go",
	})
	if out, err := exec.Command("git", "-C", root, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	m, err := load(filepath.Join(root, "assign"))
	if err != nil {
		t.Fatal(err)
	}
	var found []finding
	for _, rule := range sourceRules {
		found = append(found, rule(m)...)
	}
	vet, err := checkVet(m)
	if err != nil {
		t.Fatal(err)
	}
	tidy, err := checkTidy(m)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	status := report(&out, m, slices.Concat(found, vet, tidy))
	want := "assign/a_other.go:5: func init, want a function that is called by name\n" +
		"assign/b.go:5: fmt.Sprintf format %d has arg \"x\" of wrong type string\n" +
		"check: 3 Go files, 2 failures, 0 warnings\n"
	if out.String() != want || status != 1 {
		t.Errorf("got status %d and\n%swant 1 and\n%s", status, &out, want)
	}
}

func TestParseToolOutput(t *testing.T) {
	got := parseToolOutput("# immiscible/assign\nvet: assign/a.go:3:2: undefined: x\n./b.go:7: late\nassign/c.go:1:2: could be simpler (S1000)\n\tcontinued\n")
	want := "[assign/a.go:3: undefined: x b.go:7: late assign/c.go:1: could be simpler (S1000)]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// go test -json for real: a skip, a failure and a package that does not build.
func TestFull(t *testing.T) {
	root := onDisk(t, one{
		"go.mod":      "module immiscible\n\ngo 1.26\n",
		"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Run(\"deep\", func(t *testing.T) { t.Skip(\"no GPU\") }) }\n",
		"b/b_test.go": "package b\n\nimport \"testing\"\n\nfunc TestB(t *testing.T) { t.Fatal(\"wrong\") }\n",
		"c/c_test.go": "package c\n\nvar x int = \"\"\n",
		"d/d.go":      "package d\n",
	})
	var out strings.Builder
	found, err := checkTests(&module{Root: root}, &out)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range found {
		got[f.String()] = true
	}
	for _, want := range []string{"immiscible/a: TestA/deep skipped, want a test that runs", "immiscible/b: TestB failed", "immiscible/c: package failed"} {
		if !got[want] {
			t.Errorf("findings %v, want %q", found, want)
		}
	}
	if !strings.Contains(out.String(), "wrong") || !strings.Contains(out.String(), "c/c_test.go:3:") {
		t.Errorf("printed %q, want the failed test's and the compiler's words", &out)
	}
}

// A stream as go test -json writes it: the skip and the failure are findings,
// a package without tests is none, and only failures print their output.
func TestReadTests(t *testing.T) {
	stream := `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"a speaks\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"b is broken\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"Action":"skip","Package":"q"}
`
	var out strings.Builder
	found, err := readTests(strings.NewReader(stream), &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "[p: TestB failed p: TestC skipped, want a test that runs p: package failed]"; fmt.Sprint(found) != want {
		t.Errorf("got %v, want %v", found, want)
	}
	if want := "b is broken\nFAIL\tp\t0.1s\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
