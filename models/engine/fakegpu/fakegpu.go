// Package fakegpu holds libraries in C that stand in for NVIDIA's on a machine without
// a GPU: device memory is the host's, what this program computes with cuDNN and with
// kernels of its own is computed on the processor, and ONNX Runtime's own kernels are
// counted. Tests and tools/fakegpu use them.
package fakegpu

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed src
var sources embed.FS

// library is how one of them is built.
type library struct {
	name    string
	sources []string
	flags   []string
	symbols bool // they have the library's name for a version, as NVIDIA's do
}

var libraries = []library{
	{name: "libcuda.so.1", sources: []string{"cuda.c", "launch.c"}},
	{name: "libnvrtc.so.13", sources: []string{"nvrtc.c"}},
	{name: "libcudnn.so.9", sources: []string{"cudnn.c", "cudnn_compute.c", "cudnn_legacy.c"}},
	{name: "libcudart.so.13", sources: []string{"cudart.c"}, symbols: true},
	{name: "libcublas.so.13", sources: []string{"cublas.c"}, symbols: true},
	{name: "libcublasLt.so.13", sources: []string{"cublas.c"}, flags: []string{"-DLT"}, symbols: true},
	{name: "libcurand.so.10", sources: []string{"curand.c"}},
}

// Build compiles the libraries in dir, beside their sources, of which libnvrtc's reads
// two when it is loaded. It needs cc, as cgo does.
func Build(dir string) error {
	if err := os.CopyFS(dir, sources); err != nil {
		return err
	}
	folder := filepath.Join(dir, "src")
	for _, l := range libraries {
		args := append([]string{"-O2", "-shared", "-fPIC", "-Wl,-soname," + l.name, "-o", filepath.Join(dir, l.name)}, l.flags...)
		for _, s := range l.sources {
			args = append(args, filepath.Join(folder, s))
		}
		if l.symbols {
			version := filepath.Join(dir, l.name+".map")
			if err := os.WriteFile(version, []byte(l.name+" { *; };\n"), 0o644); err != nil {
				return err
			}
			args = append(args, "-Wl,--version-script="+version)
		}
		if out, err := exec.Command("cc", append(args, "-ldl", "-lpthread", "-lm")...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: cc: %w: %s", l.name, err, out)
		}
	}
	return nil
}

// Counts reads what the libraries counted into the file $FAKEGPU_COUNTS: lines of 256
// bytes, a name, NUL bytes, a number (src/counts.h).
func Counts(file string) (map[string]int64, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for ; len(raw) >= 256 && raw[0] != 0; raw = raw[256:] {
		name, _, _ := bytes.Cut(raw[:234], []byte{0})
		if counts[string(name)], err = strconv.ParseInt(strings.TrimSpace(string(raw[234:256])), 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return counts, nil
}
