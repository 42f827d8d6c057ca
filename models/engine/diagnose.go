package engine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/cpu"
)

// Diagnosis is what a machine offers to the engine. Sizes are in bytes; 0 and
// "" mean that the system does not say.
type Diagnosis struct {
	Library        Found        `json:"library"`         // zero where none can be used
	Provider       string       `json:"provider"`        // what a run would compute on; "" where none
	Providers      []string     `json:"providers"`       // execution providers that the library was built with
	Cache          string       `json:"cache"`           // where downloads are kept
	Threads        int          `json:"threads"`         // threads of each session's operators
	CPUs           int          `json:"cpus"`            // logical CPUs
	CPU            string       `json:"cpu"`             // the processor's name
	CPUFeatures    []string     `json:"cpu_features"`    // the vector extensions that matter here
	MemoryBytes    int64        `json:"memory_bytes"`    // physical, or the container's limit
	AvailableBytes int64        `json:"available_bytes"` // that can be taken without swapping
	GPUs           []string     `json:"gpus"`            // names of NVIDIA devices
	NvidiaDriver   string       `json:"nvidia_driver"`   // version of the kernel driver
	CUDA           CUDAVersions `json:"cuda"`            // what the CUDA provider would use
	Problems       []Problem    `json:"problems"`        // empty: all is well
}

// CUDAVersions are the versions of what ONNX Runtime's CUDA provider needs; ""
// for what is not found.
type CUDAVersions struct {
	Driver     string `json:"driver"`      // kernel driver, from NVML: "580.65.06"
	DriverCUDA string `json:"driver_cuda"` // newest CUDA that it runs: "13.0"
	Runtime    string `json:"runtime"`     // libcudart: "13.0"
	CuDNN      string `json:"cudnn"`       // "9.13.0"
	Provider   string `json:"provider"`    // path of the provider beside the library
	Operators  string `json:"operators"`   // "ready": runtime.operators = "native" works; or what it lacks
}

// Problem is something missing or doubtful, and what to do about it.
type Problem struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

// Diagnose looks at the machine as Open would, download included, and reports
// instead of failing.
func Diagnose(ctx context.Context, o Options) Diagnosis {
	d := Diagnosis{Threads: o.Threads, CPUs: runtime.NumCPU(), Providers: []string{}, Problems: []Problem{}}
	if d.Threads == 0 {
		d.Threads = runtime.GOMAXPROCS(0)
	}
	problem := func(what, do string) { d.Problems = append(d.Problems, Problem{what, do}) }

	if dir, err := cacheDir(o); err == nil {
		d.Cache = dir
	}
	e, err := Open(ctx, o)
	if err != nil && o.Provider == "cuda" {
		problem(err.Error(), "set runtime.provider = \"auto\"")
		o.Provider = "auto" // so that the library is still looked at
		e, err = Open(ctx, o)
	}
	if err != nil {
		problem(err.Error(), "set "+LibraryEnv+"=/path/to/libonnxruntime.so, or unset it and connect to the network once")
	} else {
		d.Library, d.Provider = e.Library, e.Provider
		if d.Providers, err = availableProviders(); err != nil {
			problem("the library does not list its providers: "+err.Error(), "name another library with "+LibraryEnv)
		}
	}

	d.CPU, d.CPUFeatures = processor()
	if runtime.GOARCH == "amd64" && !cpu.X86.HasAVX2 {
		problem("this processor has no AVX2, which most of the arithmetic is written for", "expect a fraction of the usual speed, or use another machine")
	}
	if d.Threads > d.CPUs {
		problem(fmt.Sprintf("%d threads share %d CPUs", d.Threads, d.CPUs), fmt.Sprintf("set runtime.threads to %d or 0", d.CPUs))
	}
	d.MemoryBytes, d.AvailableBytes = memory()
	const small = 2 << 30
	if d.AvailableBytes > 0 && d.AvailableBytes < small {
		problem(fmt.Sprintf("only %d MiB of memory are available", d.AvailableBytes>>20), "close other programs; train -dry-run tells what a run needs")
	}

	d.GPUs, d.NvidiaDriver = nvidia(ctx)
	d.CUDA = cudaVersions(d.Library.Path)
	if len(d.GPUs) > 0 && d.Provider == "cpu" {
		problem("a GPU is present, but the CPU computes", "see what doctor -provider cuda says")
	}
	return d
}

// processor names the CPU and those of its vector extensions that ORT's and
// our own kernels choose by.
func processor() (name string, features []string) {
	features = []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"f16c", cpu.X86.HasF16C},
		{"avx512f", cpu.X86.HasAVX512F}, {"avx512_vnni", cpu.X86.HasAVX512VNNI}, {"avx512_bf16", cpu.X86.HasAVX512BF16}, {"amx_bf16", cpu.X86.HasAMXBF16},
		{"asimd", cpu.ARM64.HasASIMD}, {"asimdhp", cpu.ARM64.HasASIMDHP}, {"sve", cpu.ARM64.HasSVE},
	} {
		if f.has {
			features = append(features, f.name)
		}
	}
	return fields("/proc/cpuinfo")["model name"], features
}

// memory is the smaller of what the machine and the container (cgroup v2) have.
func memory() (total, available int64) {
	info := fields("/proc/meminfo")
	kib := func(key string) int64 {
		n, _ := strconv.ParseInt(strings.TrimSuffix(info[key], " kB"), 10, 64) // absent: 0
		return n << 10
	}
	total, available = kib("MemTotal"), kib("MemAvailable")
	number := func(path string) (int64, bool) {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max": no limit
		return n, err == nil
	}
	limit, limited := number("/sys/fs/cgroup/memory.max")
	used, known := number("/sys/fs/cgroup/memory.current")
	if limited && known && limit < total {
		total, available = limit, min(available, max(limit-used, 0))
	}
	return total, available
}

// nvidia asks the driver's own tool, and where it is missing the driver.
func nvidia(ctx context.Context) (gpus []string, driver string) {
	gpus = []string{}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if i := strings.LastIndex(line, ","); i > 0 {
				gpus = append(gpus, strings.TrimSpace(line[:i]))
				driver = strings.TrimSpace(line[i+1:])
			}
		}
		return gpus, driver
	}
	// Its error would only say that the pattern is malformed.
	found, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information")
	for _, path := range found {
		gpus = append(gpus, fields(path)["Model"])
	}
	if version, ok := fields("/proc/driver/nvidia/version")["NVRM version"]; ok {
		words := strings.Fields(version)
		if i := slices.IndexFunc(words, func(w string) bool { return w[0] >= '1' && w[0] <= '9' }); i >= 0 {
			driver = words[i]
		}
	}
	return gpus, driver
}

// fields reads "key: value" lines, the first of each key; a file that cannot
// be read has none.
func fields(path string) map[string]string {
	m := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return m
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		key = strings.TrimSpace(key)
		if _, seen := m[key]; ok && !seen {
			m[key] = strings.TrimSpace(value)
		}
	}
	return m
}
