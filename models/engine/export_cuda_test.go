//go:build linux && amd64

package engine

import "io"

// OpenDriver looks at a driver library; version is CUDA's, 13000 for 13.0.
func OpenDriver(path string) (version, devices int, err error) {
	c := cudaParts{driver: path}
	err = c.openDriver()
	return c.version, c.devices, err
}

// OpenLibraries opens what the provider beside library needs, with a driver that
// runs a version of CUDA.
func OpenLibraries(library string, driver int) (runtime int, cudnn uint64, err error) {
	c := cudaParts{library: library, version: driver}
	err = c.openLibraries()
	return c.runtime, c.cudnn, err
}

// OpenGPU is an engine for arenas alone on the runtime that OpenLibraries opened.
func OpenGPU(o Options) (*Engine, error) {
	d, err := newCUDADevice(o)
	if err != nil {
		return nil, err
	}
	return &Engine{Provider: d.provider(), device: d}, nil
}

// PlaceOf says where ONNX Runtime believes a value over a GPU's memory to be.
func PlaceOf(t *Tensor, device int) (name string, id int, err error) {
	value, err := deviceValue("Cuda", device, t.address(), t.bytes, t.dtype, t.shape)
	if err != nil {
		return "", 0, err
	}
	defer releaseValue(value)
	return valuePlace(value)
}

// CheckPlacement reads a trace.
func CheckPlacement(trace io.Reader, provider string, except []string) error {
	return checkPlacement(trace, provider, except)
}

// OutOfMemory recognises ONNX Runtime's message.
var OutOfMemory = outOfMemory
