//go:build linux && amd64

package engine

/*
#include <stdlib.h>
#include "bridge.h"
#include "cuda_linux_amd64.h"
*/
import "C"

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// cudaDevice computes on one NVIDIA GPU. Arenas are cudaMalloc's; what crosses
// the bus goes through pinned memory in a stream of its own. ONNX Runtime waits
// for its own stream at the end of a run, and every method here for its copies,
// so that the two never meet.
type cudaDevice struct {
	id      int
	options map[string]string // ONNX Runtime's, by its names

	mu    sync.Mutex // the stage serves one caller at a time
	stage *C.cuda_stage
}

// openDevice chooses the device and opens the library that it needs. "auto" is
// the GPU where everything that it needs is there, else the CPU.
func openDevice(ctx context.Context, o Options) (device, Found, error) {
	if o.Provider == "cpu" {
		found, err := openHost(ctx, o)
		return cpuDevice{}, found, err
	}
	parts := cudaParts{driver: "libcuda.so.1"}
	if err := parts.openDriver(); err != nil {
		if o.Provider == "cuda" {
			return nil, Found{}, err
		}
		found, err := openHost(ctx, o)
		return cpuDevice{}, found, err
	}
	d, found, err := openCUDA(ctx, o, &parts)
	if err == nil {
		return d, found, nil
	}
	if o.Provider == "cuda" || ctx.Err() != nil {
		return nil, Found{}, err
	}
	o.log("a GPU is present, but the CPU computes: %v", err)
	if found.Path != "" && environmentHas(found.Path) { // one library a process
		return cpuDevice{}, found, nil
	}
	found, err = openHost(ctx, o)
	return cpuDevice{}, found, err
}

// openCUDA looks for everything in the order in which it is needed. found is set
// as soon as the library is.
func openCUDA(ctx context.Context, o Options, parts *cudaParts) (*cudaDevice, Found, error) {
	if o.DeviceID >= parts.devices {
		return nil, Found{}, fmt.Errorf("engine: got device_id %d, but the driver sees %d GPUs: set runtime.device_id below that", o.DeviceID, parts.devices)
	}
	found, err := locateFor(ctx, o, "/cuda")
	if err != nil {
		return nil, found, err
	}
	if parts.library, err = filepath.EvalSymlinks(found.Path); err != nil {
		return nil, found, fmt.Errorf("engine: %w", err)
	}
	if err := parts.openLibraries(); err != nil {
		return nil, found, err
	}
	if err := openEnvironment(found.Path); err != nil {
		return nil, found, err
	}
	d, err := newCUDADevice(o)
	if err != nil {
		return nil, found, err
	}
	// The provider itself is loaded by the first session that asks for it.
	probe, err := ort.NewSessionOptions()
	if err == nil {
		err = d.configure(probe, SessionOptions{})
		probe.Destroy()
	}
	if err != nil {
		C.cuda_stage_close(d.stage)
		return nil, found, fmt.Errorf("engine: %w", err)
	}
	return d, found, nil
}

// newCUDADevice needs the runtime open.
func newCUDADevice(o Options) (*cudaDevice, error) {
	d := &cudaDevice{id: o.DeviceID, options: o.CUDA}
	if err := failure(C.cuda_stage_open(C.int(d.id), &d.stage)); err != nil {
		return nil, fmt.Errorf("engine: GPU %d: %w: look at it with nvidia-smi, or set runtime.provider = \"cpu\"", d.id, err)
	}
	return d, nil
}

func (d *cudaDevice) provider() string { return "cuda" }

func (d *cudaDevice) host() bool { return false }

func (d *cudaDevice) configure(options *ort.SessionOptions, s SessionOptions) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return fmt.Errorf("the library has no CUDA provider: %s: set %s to the one of onnxruntime-gpu==%s", oneLine(err.Error()), LibraryEnv, LibraryVersion)
	}
	defer cuda.Destroy()
	values := map[string]string{"device_id": strconv.Itoa(d.id)}
	for name, value := range d.options {
		values[name] = value
	}
	if !s.FixedAddresses { // a recorded graph writes where it was recorded
		delete(values, "enable_cuda_graph")
	}
	if err := cuda.Update(values); err != nil {
		return fmt.Errorf("CUDA provider options %v: %s: correct [runtime.cuda]", values, oneLine(err.Error()))
	}
	if err := options.AppendExecutionProviderCUDA(cuda); err != nil {
		return fmt.Errorf("the CUDA provider does not start: %s: see immiscible doctor for the versions of driver, CUDA and cuDNN", oneLine(err.Error()))
	}
	return nil
}

func (d *cudaDevice) alloc(bytes int64) (unsafe.Pointer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var p unsafe.Pointer
	if err := failure(C.cuda_alloc(d.stage, C.size_t(bytes), &p)); err != nil {
		var free, total C.size_t
		if failure(C.cuda_memory(C.int(d.id), &free, &total)) == nil {
			err = fmt.Errorf("%w (%d of the GPU's %d MiB are free)", err, int64(free)>>20, int64(total)>>20)
		}
		return nil, fmt.Errorf("%d bytes: %w", bytes, err)
	}
	return p, nil
}

func (d *cudaDevice) free(p unsafe.Pointer, _ int64) { C.cuda_free(C.int(d.id), p) }

func (d *cudaDevice) upload(dst unsafe.Pointer, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed("upload", failure(C.cuda_upload(d.stage, dst, unsafe.Pointer(&src[0]), C.size_t(len(src)))))
}

func (d *cudaDevice) download(dst []byte, src unsafe.Pointer) error {
	if len(dst) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed("download", failure(C.cuda_download(d.stage, unsafe.Pointer(&dst[0]), src, C.size_t(len(dst)))))
}

func (d *cudaDevice) zero(p unsafe.Pointer, bytes int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed("zero", failure(C.cuda_zero(d.stage, p, C.size_t(bytes))))
}

// failed names the device: after most of CUDA's errors the process can use it no
// more.
func (d *cudaDevice) failed(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("engine: %s on GPU %d: %w: start the program again; -resume auto goes on from the last checkpoint", what, d.id, err)
	}
	return err
}

func (d *cudaDevice) value(p unsafe.Pointer, bytes int64, dtype DType, shape []int64) (unsafe.Pointer, error) {
	return deviceValue("Cuda", d.id, p, bytes, dtype, shape)
}

// cudaVersions are what the machine has, for doctor: what is missing is "".
func cudaVersions(library string) CUDAVersions {
	var v CUDAVersions
	room := (*C.char)(C.calloc(80, 1))
	defer C.free(unsafe.Pointer(room))
	if withPath("libnvidia-ml.so.1", func(p *C.char) *C.char { return C.cuda_nvml(p, room) }) == nil {
		v.Driver = C.GoString(room)
	}
	parts := cudaParts{driver: "libcuda.so.1", library: library}
	if parts.openDriver() == nil {
		v.DriverCUDA = cudaVersion(parts.version)
	}
	if library == "" {
		return v
	}
	if resolved, err := filepath.EvalSymlinks(library); err == nil {
		parts.library = resolved
	}
	if _, err := os.Stat(parts.provider()); err == nil {
		v.Provider = parts.provider()
	}
	if parts.openLibraries() == nil {
		v.Runtime, v.CuDNN = cudaVersion(parts.runtime), cudnnVersion(parts.cudnn)
	}
	return v
}

// withPath calls one of cuda_linux_amd64.c's functions with a path.
func withPath(path string, call func(p *C.char) *C.char) error {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	return failure(call(p))
}
