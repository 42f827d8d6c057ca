// Package enginetest gives the tests of other packages one engine to share.
package enginetest

import (
	"cmp"
	"context"
	"os"
	"sync"
	"testing"

	"immiscible/models/engine"
)

var shared = sync.OnceValues(func() (*engine.Engine, error) {
	return engine.Open(context.Background(), engine.Options{Provider: cmp.Or(os.Getenv(ProviderEnv), "cpu"), Operators: os.Getenv(OperatorsEnv), CUDA: map[string]string{"use_tf32": "0"}})
})

// ProviderEnv and OperatorsEnv name the environment variables by which
// tools/gpu/check.sh runs tests on a GPU, with TF32 off, in ONNX's operators or our
// own. Everyday tests run on the CPU.
const (
	ProviderEnv  = "IMMISCIBLE_TEST_PROVIDER"
	OperatorsEnv = "IMMISCIBLE_TEST_OPERATORS"
)

// Open returns the test process's engine. The first call provisions
// ONNX Runtime where the machine has none; a test that cannot have it fails.
func Open(t testing.TB) *engine.Engine {
	t.Helper()
	e, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return e
}
