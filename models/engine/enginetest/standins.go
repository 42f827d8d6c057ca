package enginetest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/fakegpu"
)

var onStandIns = sync.OnceValues(func() (engines [2]*engine.Engine, err error) {
	dir, err := os.MkdirTemp("", "fakegpu-")
	if err != nil {
		return engines, err
	}
	defer os.RemoveAll(dir) // an open library needs its file no more
	if err := fakegpu.Build(dir); err != nil {
		return engines, err
	}
	paths := []string{filepath.Join(dir, "libcuda.so.1"), filepath.Join(dir, "libnvrtc.so.13"), filepath.Join(dir, "libcudnn.so.9")}
	for i := range engines {
		o := engine.Options{Provider: "cpu", Operators: "native", Threads: 1, StandIns: paths, Deterministic: i == 1}
		if engines[i], err = engine.Open(context.Background(), o); err != nil {
			return engines, err
		}
	}
	return engines, nil
})

// OnStandIns gives an engine on the processor with the operators that a GPU has, as
// stand-ins of NVIDIA's libraries compute them: with deterministic kernels or others.
func OnStandIns(t testing.TB, deterministic bool) *engine.Engine {
	t.Helper()
	engines, err := onStandIns()
	if err != nil {
		t.Fatal(err)
	}
	if deterministic {
		return engines[1]
	}
	return engines[0]
}
