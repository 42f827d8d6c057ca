//go:build !(linux && amd64)

package engine

import (
	"context"
	"fmt"
)

// openDevice chooses the device for a provider name. This is the build without
// accelerators: "auto" is the CPU.
func openDevice(ctx context.Context, o Options) (device, Found, error) {
	if o.Provider == "cuda" {
		return nil, Found{}, fmt.Errorf("engine: provider \"cuda\" is built for linux/amd64 only: set runtime.provider = \"cpu\" (or \"auto\")")
	}
	found, err := openHost(ctx, o)
	return newCPUDevice(o), found, err
}

// cudaVersions is for builds that have CUDA.
func cudaVersions(string) CUDAVersions { return CUDAVersions{} }
