package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"

	"immiscible/models/engine/native"
)

// Options choose the library and the device. The zero value provisions the
// pinned library and computes on the best device with all cores.
type Options struct {
	// Library is a path to ONNX Runtime. Empty: the environment variable
	// ONNXRUNTIME_LIB, then the cache, then a download.
	Library string
	// Provider is "auto" (also ""), "cpu" or "cuda".
	Provider string
	// DeviceID numbers the device among the provider's; 0 on the CPU.
	DeviceID int
	// CUDA are options of the CUDA provider by its own names ("use_tf32"), less
	// device_id.
	CUDA map[string]string
	// Threads is the number of threads of each session's operators. 0: as many
	// as the process may use (GOMAXPROCS, which respects CPU limits of containers).
	Threads int
	// CacheDir replaces $XDG_CACHE_HOME/immiscible (~/.cache/immiscible).
	CacheDir string
	// Deterministic asks every session for kernels whose result does not depend
	// on timing.
	Deterministic bool
	// Profile, if set, is a path prefix: each session writes a JSON trace of its
	// runs to <Profile>-<its name>_<time>.json at Close, and proves no placement.
	Profile string
	// Operators are ONNX's alone ("standard"), or with those of package native that
	// the device has ("native"); "auto" (also ""): native on the CPU, standard on a GPU.
	Operators string
	// StandIns are paths of libraries in the place of NVIDIA's driver, run-time
	// compiler and cuDNN, whose device memory is the host's: with them the CPU
	// provider has the operators that a GPU has. For tests.
	StandIns []string
	// Log receives one line a notable event, such as a download; nil: silence.
	Log func(line string)
}

func (o Options) log(format string, args ...any) {
	if o.Log != nil {
		o.Log(fmt.Sprintf(format, args...))
	}
}

// Engine makes arenas and sessions on one device. It is safe for concurrent use.
type Engine struct {
	Provider string // the device in use: "cpu" or "cuda"
	Threads  int    // threads of each session's operators, at least 1
	Version  string // ORT's version
	Library  Found  // where the library came from

	// Kernels says whose operators of domain "immiscible" graphs may keep: "cpu",
	// "cuda", or "" for none.
	Kernels string

	device   device
	repeats  bool   // Options.Deterministic
	profile  string // Options.Profile
	closed   atomic.Bool
	counters counters
}

// Open finds the library (see Locate), loads it, and opens the device.
//
// ORT has one environment a process. The first Open makes it and it lives as
// long as the process; a later Open with another library is an error.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("engine: got %d threads, want 0 (all cores) or more: correct runtime.threads", o.Threads)
	}
	switch o.Provider {
	case "", "auto", "cpu", "cuda":
	default:
		return nil, fmt.Errorf("engine: unknown provider %q, want \"auto\", \"cpu\" or \"cuda\": correct runtime.provider", o.Provider)
	}
	dev, found, err := openDevice(ctx, o)
	if err != nil {
		return nil, err
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	e := &Engine{Provider: dev.provider(), Threads: threads, Version: found.Version, Library: found, device: dev, repeats: o.Deterministic, profile: o.Profile}
	var missing error
	if e.Kernels, missing = dev.operators(); o.Operators == "native" && missing != nil {
		return nil, fmt.Errorf("%w: or set runtime.operators = \"standard\"", missing)
	}
	e.Kernels = KernelsOf(o.Operators, e.Kernels)
	return e, nil
}

// KernelsOf is the rule of Options.Operators: device's operators, "cpu" or "cuda",
// or none, "".
func KernelsOf(operators, device string) string {
	if operators == "native" || operators != "standard" && device == "cpu" {
		return device
	}
	return ""
}

// openHost opens the library for the CPU.
func openHost(ctx context.Context, o Options) (Found, error) {
	found, err := Locate(ctx, o)
	if err != nil {
		return found, err
	}
	if s := o.StandIns; len(s) > 0 {
		if err := native.OpenCUDA(s[0], s[1], s[2]); err != nil {
			return found, fmt.Errorf("engine: %w", err)
		}
	}
	return found, openEnvironment(found.Path)
}

// Close refuses further sessions and arenas; those that exist are closed by
// their owners. Closing twice does nothing.
func (e *Engine) Close() error {
	e.closed.Store(true)
	return nil
}

// environment is ORT's own process-wide state, which no caller can have twice.
var environment struct {
	sync.Mutex
	library string // resolved path; empty until opened
}

// environmentHas reports whether the process has loaded the library at path.
func environmentHas(path string) bool {
	resolved, err := filepath.EvalSymlinks(path)
	environment.Lock()
	defer environment.Unlock()
	return err == nil && environment.library == resolved
}

func openEnvironment(path string) error {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	environment.Lock()
	defer environment.Unlock()
	if environment.library == resolved {
		return nil
	}
	if environment.library != "" {
		return fmt.Errorf("engine: got library %s, but this process has loaded %s: use one library a process", resolved, environment.library)
	}
	handle, _, err := loadLibrary(resolved)
	if err != nil {
		return unusable(resolved, err.Error())
	}
	if err := useLibrary(handle); err != nil {
		unloadLibrary(handle)
		return unusable(resolved, err.Error())
	}
	// ORT's own logger writes to stderr. What matters reaches us as an error
	// from the call, so only fatal conditions may speak.
	ort.SetSharedLibraryPath(resolved)
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		unloadLibrary(handle)
		return unusable(resolved, err.Error())
	}
	environment.library = resolved
	return nil
}
