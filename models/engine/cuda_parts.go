//go:build linux && amd64

package engine

/*
#include "cuda_linux_amd64.h"
*/
import "C"

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"immiscible/models/engine/native"
)

// cudaParts are the shared libraries that ONNX Runtime's CUDA provider needs,
// opened in the order in which it would, so that the first that is missing or of
// another version is named, and not the last one that saw it.
type cudaParts struct {
	driver  string // libcuda: a name for the loader, or a path
	library string // libonnxruntime, beside which the provider lies

	version int    // CUDA that the driver can run, 13000 for 13.0
	devices int    // GPUs that it sees
	runtime int    // libcudart's version, as the driver's
	cudnn   uint64 // 91300 for 9.13
	major   string // of the CUDA that the provider needs
	opened  string // the file that open opened last
}

const (
	wantDriver = "install NVIDIA's driver, or set runtime.provider = \"cpu\""
	// wantCUDA is how to get the libraries of one CUDA major version.
	wantCUDA = "pip install nvidia-cuda-runtime nvidia-cublas nvidia-curand nvidia-cudnn-cu%s, and put their lib folders on LD_LIBRARY_PATH"
)

// cudnnMajor is what ONNX Runtime 1.30's provider opens at its first convolution.
const cudnnMajor = 9

func (c *cudaParts) openDriver() error {
	var version, devices C.int
	if err := withPath(c.driver, func(p *C.char) *C.char { return C.cuda_driver(p, &version, &devices) }); err != nil {
		return fmt.Errorf("engine: provider \"cuda\" needs NVIDIA's driver: %w: %s", err, wantDriver)
	}
	if devices == 0 {
		return fmt.Errorf("engine: the driver (CUDA %s) sees no GPU: look at nvidia-smi and CUDA_VISIBLE_DEVICES, or set runtime.provider = \"cpu\"", cudaVersion(int(version)))
	}
	c.version, c.devices = int(version), int(devices)
	return nil
}

// provider is the file that holds the CUDA provider.
func (c *cudaParts) provider() string {
	return filepath.Join(filepath.Dir(c.library), "libonnxruntime_providers_cuda.so")
}

// openLibraries opens what the provider's file says that it needs, and cuDNN.
func (c *cudaParts) openLibraries() error {
	for _, path := range []string{c.provider(), filepath.Join(filepath.Dir(c.library), "libonnxruntime_providers_shared.so")} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("engine: no CUDA provider beside the library %s: want %s: set %s to the library of onnxruntime-gpu==%s, or unset it to have that fetched", c.library, filepath.Base(path), LibraryEnv, LibraryVersion)
		}
	}
	file, err := elf.Open(c.provider())
	if err != nil {
		return fmt.Errorf("engine: %s is not a whole shared library: %w: get onnxruntime-gpu==%s again", c.provider(), err, LibraryVersion)
	}
	needed, err := file.ImportedLibraries()
	file.Close()
	if err != nil {
		return fmt.Errorf("engine: %s: %w: get onnxruntime-gpu==%s again", c.provider(), err, LibraryVersion)
	}
	major := "13"
	for _, name := range needed {
		if rest, ok := strings.CutPrefix(name, "libcudart.so."); ok {
			major, _, _ = strings.Cut(rest, ".")
		}
	}
	c.major = major
	if n, _ := strconv.Atoi(major); c.version > 0 && c.version/1000 < n {
		return fmt.Errorf("engine: the driver runs CUDA %s, and the provider needs CUDA %s: update NVIDIA's driver, or set %s to an ONNX Runtime for CUDA %d", cudaVersion(c.version), major, LibraryEnv, c.version/1000)
	}
	for _, name := range needed {
		switch {
		case name == "libcuda.so.1" || !strings.HasPrefix(name, "libcu"):
		case strings.HasPrefix(name, "libcudart."):
			var version C.int
			if err := c.open(name, major, func(p *C.char) *C.char { return C.cuda_runtime(p, &version) }); err != nil {
				return err
			}
			c.runtime = int(version)
		default:
			if err := c.open(name, major, func(p *C.char) *C.char { return C.cuda_load(p) }); err != nil {
				return err
			}
		}
	}
	var version C.size_t
	if err := c.open(fmt.Sprintf("libcudnn.so.%d", cudnnMajor), major, func(p *C.char) *C.char { return C.cuda_cudnn(p, &version) }); err != nil {
		return err
	}
	if c.cudnn = uint64(version); c.cudnn/10000 != cudnnMajor {
		return fmt.Errorf("engine: cuDNN is version %s, want %d: "+wantCUDA, cudnnVersion(c.cudnn), cudnnMajor, major)
	}
	return nil
}

// openOperators opens what the operators of package native need, after
// openLibraries: the CUDA provider can do without its run-time compiler.
func (c *cudaParts) openOperators() error {
	load := func(p *C.char) *C.char { return C.cuda_load(p) }
	if err := c.open(fmt.Sprintf("libcudnn.so.%d", cudnnMajor), c.major, load); err != nil {
		return err
	}
	cudnn := c.opened
	if err := c.open("libnvrtc.so."+c.major, c.major, load); err != nil {
		return fmt.Errorf("%w; pip install nvidia-cuda-nvrtc gets it", err)
	}
	return native.OpenCUDA(c.driver, c.opened, cudnn)
}

// open finds a library as the loader would, else beside ONNX Runtime's, else in
// the folders of NVIDIA's wheels beside ONNX Runtime's.
func (c *cudaParts) open(name, major string, call func(p *C.char) *C.char) error {
	dir := filepath.Dir(c.library)
	c.opened = name
	first := withPath(name, call)
	if first == nil {
		return nil
	}
	// A pattern of fixed text and stars is well-formed.
	wheels, _ := filepath.Glob(filepath.Join(dir, "..", "..", "nvidia", "*", "lib", name))
	for _, path := range append([]string{filepath.Join(dir, name)}, wheels...) {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := withPath(path, call); err != nil {
			return fmt.Errorf("engine: %s: %w: "+wantCUDA, path, err, major)
		}
		c.opened = path
		return nil
	}
	other := ""
	if base, version, ok := strings.Cut(name, ".so."); ok {
		for v := range 30 {
			if s := strconv.Itoa(v); s != version && withPath(base+".so."+s, func(p *C.char) *C.char { return C.cuda_load(p) }) == nil {
				other = fmt.Sprintf("; found %s.so.%s, which is another version", base, s)
			}
		}
	}
	return fmt.Errorf("engine: the CUDA provider needs %s (CUDA %s, cuDNN %d): %w%s: "+wantCUDA, name, major, cudnnMajor, first, other, major)
}

// cudaVersion spells CUDA's number: 13000 is 13.0.
func cudaVersion(v int) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10)
}

// cudnnVersion spells cuDNN 9's number: 91300 is 9.13.0.
func cudnnVersion(v uint64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
}
