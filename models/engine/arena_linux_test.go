package engine_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

// Tensors that nobody holds give their address space back by themselves.
func TestLoneTensorsAreFreed(t *testing.T) {
	e := enginetest.Open(t)
	mapped := func() (kib int64) {
		status := string(must(os.ReadFile("/proc/self/status"))(t))
		_, rest, _ := strings.Cut(status, "VmSize:")
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := mapped()
	const count, size = 500, 64 << 20 // 32 GB of address space, hardly any memory
	for i := range count {
		x := must(e.NewTensor(engine.Float32, size/4))(t)
		if err := x.Upload([]byte{1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 {
			runtime.GC()
			runtime.GC() // cleanups run between collections
		}
	}
	if grown := (mapped() - before) << 10; grown > count/2*size {
		t.Errorf("got %d bytes still mapped of %d, want less than half", grown, int64(count)*size)
	}
}
