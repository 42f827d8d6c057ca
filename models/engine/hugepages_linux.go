package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// adviseHugePages asks for large pages: an optimizer streams through whole
// arenas, and small pages make it wait for the page table. It is only advice.
func adviseHugePages(p unsafe.Pointer, bytes int64) {
	_ = unix.Madvise(unsafe.Slice((*byte)(p), bytes), unix.MADV_HUGEPAGE)
}
