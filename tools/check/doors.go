package main

import (
	"fmt"
	"path"
	"strings"
)

// A door is where code from outside the standard library enters: the import
// path (with everything below it) and the one place that may import it, a
// folder pattern or a single file.
type door struct {
	Module string
	Place  string
}

// doors lists every third-party package. A new one costs a row here and a
// sentence of defence in the commit.
var doors = []door{
	{"C", "models/engine/..."},
	{"github.com/yalue/onnxruntime_go", "models/engine/..."},
	{"google.golang.org/protobuf", "models/onnx/..."},
	{"github.com/sugarme/tokenizer", "models/clip/..."},
	// Canonical composition of captions: the standard library has no Unicode normalisation.
	{"golang.org/x/text/unicode/norm", "models/clip/..."},
	{"github.com/parquet-go/parquet-go", "datasets/parquet.go"},
	{"golang.org/x/image/webp", "datasets/webp.go"},
	{"C", "datasets/turbojpeg.go"},
	// Signatures, and credentials from wherever the AWS tools look for them.
	{"github.com/minio/minio-go/v7", "datasets/s3.go"},
	{"github.com/rclone/gofakes3", "datasets/s3_test.go"},
	{"github.com/schollz/progressbar/v3", "pipeline/runlog"},
	{"github.com/BurntSushi/toml", "pipeline/config.go"},
	// The standard library draws no text: axes with numbers need fonts.
	{"gonum.org/v1/plot", "tools/immiscible/assign_plot.go"},
	{"gonum.org/v1/plot", "tools/immiscible/compare_plot.go"},
	{"gonum.org/v1/plot", "tools/immiscible/plot.go"},
	{"gonum.org/v1/plot", "tools/immiscible/plot_analyze.go"},
	{"gonum.org/v1/plot", "tools/immiscible/plot_images.go"},
	// Cholesky factors and singular values of 2,048 dimensions.
	{"gonum.org/v1/gonum", "pipeline/metrics"},
	// System calls and terminals are the standard library's overflow.
	{"golang.org/x/sys", ""},
	{"golang.org/x/term", ""},
}

// admits tells whether a file may use the door. Tests beside a door of one
// file may use it too: they test that file.
func (d door) admits(f *file) bool {
	switch {
	case d.Place == "":
		return true
	case strings.HasSuffix(d.Place, ".go"):
		return f.Name == d.Place || f.Test && f.Dir == path.Dir(d.Place)
	default:
		return matches(d.Place, f.Dir)
	}
}

// thirdParty tells whether an import path is neither this module's nor the
// standard library's, whose paths have no dot in the first element.
func (m *module) thirdParty(p string) bool {
	if _, own := m.internal(p); own {
		return false
	}
	first, _, _ := strings.Cut(p, "/")
	return p == "C" || strings.Contains(first, ".")
}

// checkDoors fails on a third-party import that has no door or stands beside it.
func checkDoors(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		for _, spec := range f.Tree.Imports {
			p := importPath(spec)
			if !m.thirdParty(p) {
				continue
			}
			var places []string
			admitted := false
			for _, d := range doors {
				if p == d.Module || strings.HasPrefix(p, d.Module+"/") {
					places = append(places, d.Place)
					admitted = admitted || d.admits(f)
				}
			}
			text := ""
			switch {
			case len(places) == 0:
				text = fmt.Sprintf("imports %s, which has no door, want a row in tools/check/doors.go", p)
			case !admitted:
				text = fmt.Sprintf("imports %s, want it in %s only", p, strings.Join(places, " or "))
			}
			if text != "" {
				out = append(out, finding{File: f.Name, Line: m.line(spec.Pos()), Text: text})
			}
		}
	}
	return out
}

// checkTestOnly keeps test helpers, and the package testing, out of the product.
func checkTestOnly(m *module) []finding {
	var out []finding
	for _, f := range m.Files {
		if f.forTests() {
			continue
		}
		for _, spec := range f.Tree.Imports {
			p := importPath(spec)
			dir, own := m.internal(p)
			if own && testOnly(dir) || !own && (p == "testing" || strings.HasPrefix(p, "testing/")) {
				out = append(out, finding{File: f.Name, Line: m.line(spec.Pos()), Text: fmt.Sprintf("imports %s, want it in tests and test helpers only", p)})
			}
		}
	}
	return out
}
