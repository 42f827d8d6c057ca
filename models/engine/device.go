package engine

import (
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// device is where arenas live and sessions compute. The pointers are addresses
// on the device; only a device with host memory lets Go look through them.
type device interface {
	// provider is the name that configurations use: "cpu", "cuda".
	provider() string
	// configure appends the device's execution provider to a session's options.
	configure(o *ort.SessionOptions, s SessionOptions) error
	// alloc gives zeroed memory aligned to Alignment; bytes > 0.
	alloc(bytes int64) (unsafe.Pointer, error)
	free(p unsafe.Pointer, bytes int64)
	upload(dst unsafe.Pointer, src []byte) error
	download(dst []byte, src unsafe.Pointer) error
	zero(p unsafe.Pointer, bytes int64) error
	// value makes an OrtValue over memory of this device.
	value(p unsafe.Pointer, bytes int64, dtype DType, shape []int64) (unsafe.Pointer, error)
	// host says whether the pointers are host memory.
	host() bool
}
