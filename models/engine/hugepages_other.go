//go:build !linux

package engine

import "unsafe"

// adviseHugePages does nothing where the system chooses page sizes by itself.
func adviseHugePages(unsafe.Pointer, int64) {}
