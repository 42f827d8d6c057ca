package engine

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// minMinor is the oldest ORT 1.x that offers C API 24, which yalue/onnxruntime_go
// v1.27.0 is compiled against.
const minMinor = 24

// inspect makes sure that a library can be loaded here and is recent enough. It
// stays open: closing ORT and opening it again is slow and gains nothing.
func inspect(path, source string) (Found, error) {
	path, err := filepath.Abs(path) // a bare name would be searched along LD_LIBRARY_PATH
	if err != nil {
		return Found{}, fmt.Errorf("engine: %w", err)
	}
	fail := func(why string) (Found, error) {
		return Found{}, fmt.Errorf("%w (named by: %s)", unusable(path, why), source)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fail(err.Error())
	}
	if info.IsDir() {
		return fail("it is a folder, want the file libonnxruntime.so in it")
	}
	if err := checkELF(path); err != nil {
		return fail(err.Error())
	}
	handle, version, err := loadLibrary(path)
	if err != nil {
		return fail(err.Error())
	}
	if !recent(version) {
		unloadLibrary(handle)
		return fail(fmt.Sprintf("it is version %q, want 1.%d or newer", version, minMinor))
	}
	return Found{Path: path, Source: source, Version: version}, nil
}

func unusable(path, why string) error {
	return fmt.Errorf("engine: library %s cannot be used: %s: set %s to a working ONNX Runtime, or unset it to have %s fetched", path, oneLine(why), LibraryEnv, LibraryVersion)
}

// checkELF looks at a Linux library before the loader does: from a truncated
// file the loader may take what there is, and the process dies of SIGBUS later.
// A library's section table lies at its end, so reading it finds that out.
func checkELF(path string) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("it is not a whole shared library: %w", err)
	}
	defer f.Close()
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if f.Type != elf.ET_DYN || f.Machine != want {
		return fmt.Errorf("it is %s for %s, want %s for %s", f.Type, f.Machine, elf.ET_DYN, want)
	}
	return nil
}

// recent reports whether a version such as "1.30.0" offers the C API we need.
func recent(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	return errA == nil && errB == nil && (a > 1 || a == 1 && b >= minMinor)
}
