// Package enginetest gives the tests of other packages one engine to share.
package enginetest

import (
	"context"
	"sync"
	"testing"

	"immiscible/models/engine"
)

var shared = sync.OnceValues(func() (*engine.Engine, error) {
	return engine.Open(context.Background(), engine.Options{Provider: "cpu"})
})

// Open returns the test process's engine on the CPU. The first call provisions
// ONNX Runtime where the machine has none; a test that cannot have it fails.
func Open(t testing.TB) *engine.Engine {
	t.Helper()
	e, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return e
}
