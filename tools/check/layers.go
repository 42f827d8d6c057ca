package main

import (
	"fmt"
	"strings"
)

// A room is a part of the tree and the packages of this module that it may
// import. In patterns "a" is the package a alone, "a/*" those strictly below
// it, "a/..." both. What is in a room's own pattern is not allowed by itself.
type room struct {
	Pattern string
	Imports []string
}

// rooms are the one-way arrows: tools → pipeline → {assign, datasets, models},
// the last three apart; inside models: unet|vae|clip → nn → graph → onnx, with
// engine and safetensors beside them. The first pattern that fits is the room.
var rooms = []room{
	{"tools/...", []string{"pipeline/...", "assign/...", "datasets/...", "models/..."}},
	{"pipeline", []string{"pipeline/*", "assign/...", "datasets/...", "models/..."}},
	{"pipeline/*", []string{"pipeline/*", "assign/...", "datasets/...", "models/..."}},
	{"assign/...", []string{"assign/..."}},
	{"datasets/...", []string{"datasets/..."}},
	{"models", []string{"models/unet/...", "models/vae/...", "models/clip/...", "models/nn/...", "models/graph/...", "models/onnx/...", "models/safetensors/..."}},
	{"models/unet/...", []string{"models/unet/...", "models/nn/...", "models/graph/...", "models/onnx/...", "models/safetensors/..."}},
	{"models/vae/...", []string{"models/vae/...", "models/nn/...", "models/graph/...", "models/onnx/...", "models/safetensors/..."}},
	{"models/clip/...", []string{"models/clip/...", "models/nn/...", "models/graph/...", "models/onnx/...", "models/safetensors/..."}},
	{"models/nn/...", []string{"models/nn/...", "models/graph/...", "models/onnx/..."}},
	{"models/graph/...", []string{"models/graph/...", "models/onnx/..."}},
	{"models/onnx/...", []string{"models/onnx/..."}},
	{"models/safetensors/...", []string{"models/safetensors/..."}},
	{"models/engine/...", []string{"models/engine/..."}},
}

// matches tells whether dir fits a pattern of the rooms or the doors.
func matches(pattern, dir string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return dir == base || strings.HasPrefix(dir, base+"/")
	}
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(dir, base+"/")
	}
	return dir == pattern
}

func matchesAny(patterns []string, dir string) bool {
	for _, p := range patterns {
		if matches(p, dir) {
			return true
		}
	}
	return false
}

func roomOf(dir string) (room, bool) {
	for _, r := range rooms {
		if matches(r.Pattern, dir) {
			return r, true
		}
	}
	return room{}, false
}

// testMayImport is the one exception to the arrows: a test inside models may
// run what it built, so it may import the engine and the test-only packages of
// models (enginetest, refeval); and the engine's tests may write the models that
// they run with models/onnx. Nothing else changes for tests.
func testMayImport(from, to string) bool {
	if !matches("models/...", from) {
		return false
	}
	if matches("models/engine/...", from) && to == "models/onnx" {
		return true
	}
	return matches("models/engine/...", to) || matches("models/...", to) && testOnly(to)
}

// checkLayers fails on an import that points up or sideways, and on a package
// that stands in no room.
func checkLayers(m *module) []finding {
	var out []finding
	homeless := map[string]bool{}
	for _, f := range m.Files {
		r, ok := roomOf(f.Dir)
		if !ok {
			if !homeless[f.Dir] {
				homeless[f.Dir] = true
				out = append(out, finding{File: f.Name, Line: m.line(f.Tree.Package), Text: fmt.Sprintf("package %s stands in no room, want one of those in tools/check/layers.go", f.Dir)})
			}
			continue
		}
		for _, spec := range f.Tree.Imports {
			to, ok := m.internal(importPath(spec))
			if !ok || matchesAny(r.Imports, to) || matches(f.Dir+"/*", to) || to == f.Dir && f.Test {
				continue
			}
			if f.forTests() && testMayImport(f.Dir, to) {
				continue
			}
			out = append(out, finding{File: f.Name, Line: m.line(spec.Pos()), Text: fmt.Sprintf("%s imports %s, want only %s", f.Dir, to, strings.Join(r.Imports, ", "))})
		}
	}
	return out
}
