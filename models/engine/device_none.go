package engine

import "fmt"

// openDevice chooses the device for a provider name. This is the build without
// accelerators: "auto" is the CPU.
func openDevice(o Options) (device, error) {
	switch o.Provider {
	case "", "auto", "cpu":
		return cpuDevice{}, nil
	case "cuda":
		return nil, fmt.Errorf("engine: provider \"cuda\" is not in this build: set runtime.provider = \"cpu\" (or \"auto\")")
	}
	return nil, fmt.Errorf("engine: unknown provider %q, want \"auto\", \"cpu\" or \"cuda\": correct runtime.provider", o.Provider)
}
