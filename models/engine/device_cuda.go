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

	"immiscible/models/engine/native"
)

// cudaDevice computes on one NVIDIA GPU. Arenas are cudaMalloc's; what crosses
// the bus goes through pinned memory in streams of our own. ONNX Runtime waits
// for its own stream at the end of a run that is not queued, and every method here
// but a conveyor's send for its copies, so that the two never meet.
//
// Sessions do not wait for each other: ONNX Runtime gives each a stream
// (RegisterCudaStreamHandles; the CUDA provider's own stream_ where it records),
// so that the pairing's product runs beside the training step. They would meet
// in CUDA's legacy default stream, with which ONNX Runtime's streams, made by
// cudaStreamCreate, synchronise; nothing here uses it, and sessions whose inputs
// and outputs are all bound to the device copy nothing in it. So
// user_compute_stream is left alone: it would put several sessions in one stream.
// https://github.com/microsoft/onnxruntime/blob/0550fa72e9856236396fb5327f4f1747548a32bb/onnxruntime/core/providers/cuda/cuda_stream_handle.cc
type cudaDevice struct {
	id      int
	options map[string]string // ONNX Runtime's, by its names
	missing error             // why there are no operators of package native

	mu   sync.Mutex
	idle []*C.cuda_stage // a caller that finds none opens another: as many as copies at once

	// recording is held by the run that is recorded, and shared by all else. While a
	// stream records in mode cudaStreamCaptureModeGlobal, as ONNX Runtime's does, an
	// allocation or a wait by any other thread breaks the recording:
	// https://github.com/microsoft/onnxruntime/blob/0281e570f9e3dd709a94d4d5f99604f905abc07e/onnxruntime/core/providers/cuda/cuda_graph.cc
	recording sync.RWMutex
}

// openDevice chooses the device and opens the library that it needs. "auto" is
// the GPU where everything that it needs is there, else the CPU.
func openDevice(ctx context.Context, o Options) (device, Found, error) {
	if o.Provider == "cpu" {
		found, err := openHost(ctx, o)
		return newCPUDevice(o), found, err
	}
	parts := cudaParts{driver: "libcuda.so.1"}
	if err := parts.openDriver(); err != nil {
		if o.Provider == "cuda" {
			return nil, Found{}, err
		}
		found, err := openHost(ctx, o)
		return newCPUDevice(o), found, err
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
		return newCPUDevice(o), found, nil
	}
	found, err = openHost(ctx, o)
	return newCPUDevice(o), found, err
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
	d.missing = parts.openOperators()
	// The provider itself is loaded by the first session that asks for it.
	probe, err := ort.NewSessionOptions()
	if err == nil {
		err = d.configure(probe, SessionOptions{})
		probe.Destroy()
	}
	if err != nil {
		C.cuda_stage_close(d.idle[0])
		return nil, found, fmt.Errorf("engine: %w", err)
	}
	return d, found, nil
}

// newCUDADevice needs the runtime open.
func newCUDADevice(o Options) (*cudaDevice, error) {
	d := &cudaDevice{id: o.DeviceID, options: o.CUDA}
	if err := d.staged(func(*C.cuda_stage) *C.char { return nil }); err != nil {
		return nil, fmt.Errorf("engine: GPU %d: %w: look at it with nvidia-smi, or set runtime.provider = \"cpu\"", d.id, err)
	}
	return d, nil
}

// staged calls f with a stage that is its alone.
func (d *cudaDevice) staged(f func(stage *C.cuda_stage) *C.char) error {
	defer d.enter(false)()
	d.mu.Lock()
	var stage *C.cuda_stage
	if n := len(d.idle); n > 0 {
		stage, d.idle = d.idle[n-1], d.idle[:n-1]
	}
	d.mu.Unlock()
	if stage == nil {
		if err := failure(C.cuda_stage_open(C.int(d.id), &stage)); err != nil {
			return err
		}
	}
	defer func() {
		d.mu.Lock()
		d.idle = append(d.idle, stage)
		d.mu.Unlock()
	}()
	return failure(f(stage))
}

func (d *cudaDevice) records(s SessionOptions) bool {
	return s.FixedAddresses && d.options["enable_cuda_graph"] == "1"
}

func (d *cudaDevice) enter(alone bool) (leave func()) {
	if alone {
		d.recording.Lock()
		return d.recording.Unlock
	}
	d.recording.RLock()
	return d.recording.RUnlock
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
	if !d.records(s) { // a recorded graph writes where it was recorded
		delete(values, "enable_cuda_graph")
	}
	if s.ExactFloat32 {
		values["use_tf32"] = "0"
	}
	if err := cuda.Update(values); err != nil {
		return fmt.Errorf("CUDA provider options %v: %s: correct [runtime.cuda]", values, oneLine(err.Error()))
	}
	if err := options.AppendExecutionProviderCUDA(cuda); err != nil {
		return fmt.Errorf("the CUDA provider does not start: %s: see immiscible doctor for the versions of driver, CUDA and cuDNN", oneLine(err.Error()))
	}
	if d.missing != nil {
		return nil
	}
	return registerOperators(options, &native.CUDA{TF32: values["use_tf32"] != "0", Deterministic: s.Deterministic})
}

func (d *cudaDevice) operators() (string, error) {
	if d.missing != nil {
		return "", d.missing
	}
	return "cuda", nil
}

func (d *cudaDevice) alloc(bytes int64) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	if err := d.staged(func(s *C.cuda_stage) *C.char { return C.cuda_alloc(s, C.size_t(bytes), &p) }); err != nil {
		var free, total C.size_t
		if failure(C.cuda_memory(C.int(d.id), &free, &total)) == nil {
			err = fmt.Errorf("%w (%d of the GPU's %d MiB are free)", err, int64(free)>>20, int64(total)>>20)
		}
		return nil, fmt.Errorf("%d bytes: %w", bytes, err)
	}
	return p, nil
}

func (d *cudaDevice) free(p unsafe.Pointer, _ int64) {
	defer d.enter(false)()
	C.cuda_free(C.int(d.id), p)
}

func (d *cudaDevice) upload(dst unsafe.Pointer, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	return d.failed("upload", d.staged(func(s *C.cuda_stage) *C.char {
		return C.cuda_upload(s, dst, unsafe.Pointer(&src[0]), C.size_t(len(src)))
	}))
}

func (d *cudaDevice) download(dst []byte, src unsafe.Pointer) error {
	if len(dst) == 0 {
		return nil
	}
	return d.failed("download", d.staged(func(s *C.cuda_stage) *C.char {
		return C.cuda_download(s, unsafe.Pointer(&dst[0]), src, C.size_t(len(dst)))
	}))
}

func (d *cudaDevice) zero(p unsafe.Pointer, bytes int64) error {
	return d.failed("zero", d.staged(func(s *C.cuda_stage) *C.char { return C.cuda_zero(s, p, C.size_t(bytes)) }))
}

// cudaConveyor is a cuda_feed.
type cudaConveyor struct {
	device *cudaDevice
	feed   *C.cuda_feed
}

func (d *cudaDevice) conveyor(bytes int64) (conveyor, error) {
	defer d.enter(false)()
	c := &cudaConveyor{device: d}
	if err := failure(C.cuda_feed_open(C.int(d.id), C.size_t(bytes), &c.feed)); err != nil {
		return nil, fmt.Errorf("%d bytes, pinned and on GPU %d: %w", bytes, d.id, err)
	}
	return c, nil
}

func (c *cudaConveyor) host() []byte { return unsafe.Slice((*byte)(c.feed.host), int(c.feed.bytes)) }

func (c *cudaConveyor) send() error {
	defer c.device.enter(false)()
	return c.device.failed("send", failure(C.cuda_feed_send(c.feed)))
}

func (c *cudaConveyor) deliver(to unsafe.Pointer) error {
	defer c.device.enter(false)()
	return c.device.failed("deliver", failure(C.cuda_feed_deliver(c.feed, to)))
}

func (c *cudaConveyor) close() {
	defer c.device.enter(false)()
	C.cuda_feed_close(c.feed)
}

// failed names the device: after most of CUDA's errors the process can use it no
// more.
func (d *cudaDevice) failed(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("engine: %s on GPU %d: %w: start the program again; -resume auto goes on from the last checkpoint", what, d.id, err)
	}
	return err
}

func (d *cudaDevice) memory() (name string, id int) { return "Cuda", d.id }

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
		v.Runtime, v.CuDNN, v.Operators = cudaVersion(parts.runtime), cudnnVersion(parts.cudnn), "ready"
		if err := parts.openOperators(); err != nil {
			v.Operators = err.Error()
		}
	}
	return v
}

// withPath calls one of cuda_linux_amd64.c's functions with a path.
func withPath(path string, call func(p *C.char) *C.char) error {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	return failure(call(p))
}
