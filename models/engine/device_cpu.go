package engine

import (
	"fmt"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
	"golang.org/x/sys/unix"

	"immiscible/models/engine/native"
)

// hugePage is the size of a transparent huge page on amd64 and arm64 Linux.
const hugePage = 2 << 20

// cpuDevice computes in host memory taken straight from the system, so that
// the garbage collector neither scans nor moves it and ORT may keep pointers.
type cpuDevice struct {
	onHost bool // Options.StandIns
}

func newCPUDevice(o Options) cpuDevice { return cpuDevice{onHost: len(o.StandIns) > 0} }

func (cpuDevice) provider() string { return "cpu" }

func (cpuDevice) host() bool { return true }

// configure adds no provider: every session ends with ORT's CPU provider.
func (d cpuDevice) configure(options *ort.SessionOptions, s SessionOptions) error {
	if d.onHost {
		return registerOperators(options, &native.CUDA{Deterministic: s.Deterministic, OnHost: true})
	}
	return registerOperators(options, nil)
}

func (d cpuDevice) operators() (string, error) {
	if d.onHost {
		return "cuda", nil
	}
	return "cpu", nil
}

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

func (cpuDevice) memory() (name string, id int) { return "Cpu", 0 }

func (cpuDevice) records(SessionOptions) bool { return false }

func (cpuDevice) enter(bool) (leave func()) { return func() {} }

// cpuConveyor does what a GPU's does, by plain copies.
type cpuConveyor struct {
	p     unsafe.Pointer // 2·bytes: what the program writes, and what was sent
	bytes int64
}

func (d cpuDevice) conveyor(bytes int64) (conveyor, error) {
	p, err := d.alloc(2 * bytes)
	return &cpuConveyor{p, bytes}, err
}

func (c *cpuConveyor) half(i int64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(c.p, i*c.bytes)), c.bytes)
}

func (c *cpuConveyor) host() []byte { return c.half(0) }

func (c *cpuConveyor) send() error {
	copy(c.half(1), c.half(0))
	return nil
}

func (c *cpuConveyor) deliver(to unsafe.Pointer) error {
	return cpuDevice{}.upload(to, c.half(1))
}

func (c *cpuConveyor) close() { cpuDevice{}.free(c.p, 2*c.bytes) }
