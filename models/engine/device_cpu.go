package engine

import (
	"fmt"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
	"golang.org/x/sys/unix"
)

// hugePage is the size of a transparent huge page on amd64 and arm64 Linux.
const hugePage = 2 << 20

// cpuDevice computes in host memory taken straight from the system, so that
// the garbage collector neither scans nor moves it and ORT may keep pointers.
type cpuDevice struct{}

func (cpuDevice) provider() string { return "cpu" }

func (cpuDevice) host() bool { return true }

// configure adds nothing: every session ends with ORT's CPU provider.
func (cpuDevice) configure(*ort.SessionOptions, SessionOptions) error { return nil }

func (cpuDevice) alloc(bytes int64) (unsafe.Pointer, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("the system gives no %d bytes: %w", bytes, err)
	}
	if bytes >= hugePage {
		adviseHugePages(p, bytes)
	}
	return p, nil
}

func (cpuDevice) free(p unsafe.Pointer, bytes int64) {
	// The only way to fail is an address that alloc did not return.
	_ = unix.MunmapPtr(p, uintptr(bytes))
}

func (cpuDevice) upload(dst unsafe.Pointer, src []byte) error {
	copy(unsafe.Slice((*byte)(dst), len(src)), src)
	return nil
}

func (cpuDevice) download(dst []byte, src unsafe.Pointer) error {
	copy(dst, unsafe.Slice((*byte)(src), len(dst)))
	return nil
}

func (cpuDevice) zero(p unsafe.Pointer, bytes int64) error {
	clear(unsafe.Slice((*byte)(p), bytes))
	return nil
}

func (cpuDevice) value(p unsafe.Pointer, bytes int64, dtype DType, shape []int64) (unsafe.Pointer, error) {
	return hostValue(p, bytes, dtype, shape)
}
