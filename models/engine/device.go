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
	// configure appends the device's execution provider to a session's options, and
	// its operators of package native.
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
	// memory is the name and number by which ONNX Runtime knows the device's memory.
	memory() (name string, id int)
	// operators says whose operators of package native sessions have, "cpu" or
	// "cuda", or why they have none.
	operators() (of string, err error)
	// conveyor gives a way to this device's memory for that many bytes at a time.
	conveyor(bytes int64) (conveyor, error)
	// records says whether the device records the first run of a session with
	// these options and replays it from then on.
	records(s SessionOptions) bool
	// enter is called before a session is made, run or closed, and leave after it;
	// everything else that reaches the device enters by itself. A run that is
	// recorded enters alone: nothing else is on the device meanwhile.
	enter(alone bool) (leave func())
}

// conveyor is what a Feed copies through. Its calls come in turns: host is
// written, send, deliver.
type conveyor interface {
	host() []byte
	send() error                     // may return before host has been read
	deliver(to unsafe.Pointer) error // returns when to is written
	close()
}
