package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

// A library that was named must work: the cache does not stand in for it.
func TestNamedLibraryIsNotReplaced(t *testing.T) {
	good := enginetest.Open(t).Library.Path
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := must(os.ReadFile(good))(t)
	foreign := bytes.Clone(whole)
	foreign[18] = 8 // e_machine: MIPS
	for _, c := range []struct{ path, word string }{
		{filepath.Join(dir, "absent.so"), "no such file"},
		{dir, "it is a folder"},
		{write("text.so", []byte("#!/bin/sh\n")), "not a whole shared library"},
		{write("half.so", whole[:len(whole)/2]), "not a whole shared library"},
		{write("foreign.so", foreign), "EM_MIPS"},
		{libc(t), "no OrtGetApiBase"},
	} {
		t.Setenv(engine.LibraryEnv, "")
		_, err := engine.Locate(t.Context(), engine.Options{Library: c.path})
		refused(t, err, c.path, c.word, "named by: configuration", "set ONNXRUNTIME_LIB")
		t.Setenv(engine.LibraryEnv, c.path)
		_, err = engine.Locate(t.Context(), engine.Options{})
		refused(t, err, c.path, c.word, "named by: ONNXRUNTIME_LIB")
	}
	// The configuration wins over the environment.
	found, err := engine.Locate(t.Context(), engine.Options{Library: good})
	if err != nil || found.Source != "configuration" || found.Path != good {
		t.Errorf("got %+v (%v), want %s from the configuration", found, err, good)
	}
	t.Setenv(engine.LibraryEnv, good)
	found, err = engine.Locate(t.Context(), engine.Options{})
	if err != nil || found.Source != engine.LibraryEnv {
		t.Errorf("got %+v (%v), want it from %s", found, err, engine.LibraryEnv)
	}
}

// libc is a shared library that is not ONNX Runtime: this process's own.
func libc(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile("/proc/self/maps"))(t))) {
		if f := strings.Fields(line); len(f) == 6 && strings.Contains(f[5], "/libc.so") {
			return f[5]
		}
	}
	t.Fatal("this process maps no libc")
	return ""
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{"1.24.0": true, "1.30.0": true, "1.31.1": true, "2.0.0": true, "1.23.2": false, "1.9.1": false, "0.99": false, "": false, "x": false} {
		if got := engine.Recent(version); got != want {
			t.Errorf("%q: got %v, want %v", version, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	e := enginetest.Open(t)
	_, err := engine.Open(t.Context(), engine.Options{Provider: "cuda"})
	refused(t, err, `"cuda"`, `runtime.provider = "cpu"`)
	_, err = engine.Open(t.Context(), engine.Options{Provider: "tpu"})
	refused(t, err, `"tpu"`, `"auto", "cpu" or "cuda"`)
	_, err = engine.Open(t.Context(), engine.Options{Threads: -1})
	refused(t, err, "-1 threads")
	// Another library than the one that the process runs on.
	other := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(other, must(os.ReadFile(e.Library.Path))(t), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = engine.Open(t.Context(), engine.Options{Library: other})
	refused(t, err, other, e.Library.Path, "one library a process")
	// The same one under another name is the same.
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(e.Library.Path, link); err != nil {
		t.Fatal(err)
	}
	again := must(engine.Open(t.Context(), engine.Options{Library: link, Threads: 1}))(t)
	if again.Provider != "cpu" || again.Threads != 1 || again.Version != e.Version || e.Threads < 1 {
		t.Errorf("got %s, %d threads, version %s; want cpu, 1, %s", again.Provider, again.Threads, again.Version, e.Version)
	}
	for range 2 {
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err = again.NewArena(1)
	refused(t, err, "the engine is closed")
	_, err = again.NewSession(affine(), engine.SessionOptions{})
	refused(t, err, "the engine is closed")
}

func TestDiagnose(t *testing.T) {
	e := enginetest.Open(t)
	d := engine.Diagnose(t.Context(), engine.Options{Library: e.Library.Path, Threads: 4096})
	if d.Library.Version != e.Version || d.Provider != "cpu" || d.CPUs < 1 {
		t.Errorf("got %+v, want version %s on cpu", d, e.Version)
	}
	if got := fmt.Sprint(d.Providers); !strings.Contains(got, "CPUExecutionProvider") {
		t.Errorf("got providers %s, want CPUExecutionProvider among them", got)
	}
	if d.AvailableBytes > d.MemoryBytes {
		t.Errorf("got %d bytes available of %d", d.AvailableBytes, d.MemoryBytes)
	}
	if got := fmt.Sprint(d.Problems); !strings.Contains(got, "4096 threads share") {
		t.Errorf("got problems %s, want the threads among them", got)
	}
	d = engine.Diagnose(t.Context(), engine.Options{Library: "absent.so", Provider: "cuda"})
	if d.Provider != "" || len(d.Problems) < 2 {
		t.Errorf("got %+v, want a problem with the library and one with the provider", d)
	}
	for _, p := range d.Problems {
		if p.What == "" || p.Do == "" {
			t.Errorf("got %+v, want what and what to do", p)
		}
	}
}
