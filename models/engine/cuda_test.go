//go:build linux && amd64

package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

// These tests run on a machine without a GPU: the shared libraries that the
// engine opens are made here, of a few lines of C.

// library compiles a shared library whose soname is its file's name, or none.
func library(t *testing.T, path, soname, source string, needs ...string) {
	t.Helper()
	code := filepath.Join(t.TempDir(), "library.c")
	if err := os.WriteFile(code, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-shared", "-fPIC", "-w", "-o", path, code, "-Wl,--no-as-needed"}
	if soname != "" {
		args = append(args, "-Wl,-soname,"+soname)
	}
	if out, err := exec.Command("cc", append(args, needs...)...).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v: %s", err, out)
	}
}

func TestDriver(t *testing.T) {
	dir := t.TempDir()
	_, _, err := engine.OpenDriver(filepath.Join(dir, "libcuda.so.1"))
	refused(t, err, `provider "cuda" needs NVIDIA's driver`, "libcuda.so.1", `runtime.provider = "cpu"`)
	for name, test := range map[string]struct {
		source string
		want   []string
	}{
		"old":    {`int cuInit(unsigned f) { return 0; }`, []string{"has no function cuDriverGetVersion"}},
		"broken": {`int cuInit(unsigned f) { return 999; } int cuDriverGetVersion(int *v) { return 0; } int cuDeviceGetCount(int *n) { return 0; }`, []string{"cuInit gives error 999"}},
		"none": {`int cuInit(unsigned f) { return 0; } int cuDriverGetVersion(int *v) { *v = 12040; return 0; } int cuDeviceGetCount(int *n) { *n = 0; return 0; }`,
			[]string{"the driver (CUDA 12.4) sees no GPU", "CUDA_VISIBLE_DEVICES"}},
	} {
		path := filepath.Join(dir, name+".so")
		library(t, path, "", test.source)
		_, _, err := engine.OpenDriver(path)
		refused(t, err, test.want...)
	}
	path := filepath.Join(dir, "good.so")
	library(t, path, "", `int cuInit(unsigned f) { return 0; } int cuDriverGetVersion(int *v) { *v = 13010; return 0; } int cuDeviceGetCount(int *n) { *n = 2; return 0; }`)
	if version, devices, err := engine.OpenDriver(path); version != 13010 || devices != 2 || err != nil {
		t.Errorf("got version %d, %d devices, %v", version, devices, err)
	}
}

// fakeRuntime keeps a GPU's memory in the host's, and has 64 MiB of it. What is
// put in a stream is done when somebody waits for the stream, or for an event
// recorded behind it, and not before: memory that is read or written again too
// early shows. Each call of a stream adds a word to the file calls.
const fakeRuntime = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { void *to; const void *from; size_t n; int value; } op;
typedef struct { op ops[4096]; int put, done; } stream;
typedef struct { stream *s; int put; } event;
static void say(const char *word, size_t n) {
  FILE *f = CALLS[0] ? fopen(CALLS, "a") : NULL;
  if (!f) return;
  fprintf(f, n ? "%s %zu\n" : "%s\n", word, n);
  fclose(f);
}
static int finish(stream *s, int put) {
  for (; s->done < put; s->done++) {
    op *o = &s->ops[s->done % 4096];
    if (o->from) memcpy(o->to, o->from, o->n); else memset(o->to, o->value, o->n);
  }
  return 0;
}
static int put(stream *s, op o) { if (s->put - s->done == 4096) abort(); s->ops[s->put++ % 4096] = o; return 0; }
int cudaRuntimeGetVersion(int *v) { *v = 13020; return 0; }
int cudaSetDevice(int d) { return d == 0 ? 0 : 101; }
int cudaMalloc(void **p, size_t n) { if (n > 64 << 20) return 2; *p = aligned_alloc(256, (n + 255) / 256 * 256); memset(*p, 0x5a, n); return 0; }
int cudaFree(void *p) { free(p); return 0; }
int cudaHostAlloc(void **p, size_t n, unsigned f) { *p = malloc(n); return 0; }
int cudaFreeHost(void *p) { free(p); return 0; }
int cudaMemsetAsync(void *p, int v, size_t n, void *s) { return put(s, (op){p, NULL, n, v}); }
int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, void *s) {
  say(kind == 1 ? "up" : kind == 2 ? "down" : "across", n);
  return put(s, (op){to, from, n, 0});
}
int cudaStreamCreateWithFlags(void **s, unsigned f) { say("stream", 0); *s = calloc(1, sizeof(stream)); return f != 1; }
int cudaStreamSynchronize(void *s) { say("finish", 0); return finish(s, ((stream *)s)->put); }
int cudaStreamDestroy(void *s) { free(s); return 0; }
int cudaEventCreateWithFlags(void **e, unsigned f) { *e = calloc(1, sizeof(event)); return 0; }
int cudaEventRecord(void *e, void *s) { say("record", 0); *(event *)e = (event){s, ((stream *)s)->put}; return 0; }
int cudaEventSynchronize(void *e) { say("wait", 0); return finish(((event *)e)->s, ((event *)e)->put); }
int cudaEventDestroy(void *e) { free(e); return 0; }
int cudaMemGetInfo(size_t *f, size_t *t) { *f = 48 << 20; *t = 64 << 20; return 0; }
const char *cudaGetErrorString(int c) { return c == 2 ? "out of memory" : "invalid device ordinal"; }
`

// openFake opens a runtime of the test's, by a CUDA version that no other test
// has. calls is the file of its calls; "": none.
func openFake(t *testing.T, major, calls string) {
	t.Helper()
	dir := providerFolder(t, major)
	library(t, filepath.Join(dir, "libcudart.so."+major), "libcudart.so."+major, fmt.Sprintf("#define CALLS %q\n", calls)+fakeRuntime)
	library(t, filepath.Join(dir, "libcublas.so."+major), "", "")
	library(t, filepath.Join(dir, "libcudnn.so.9"), "", "unsigned long cudnnGetVersion(void) { return 91302; }")
	version, err := strconv.Atoi(major + "000")
	if err != nil {
		t.Fatal(err)
	}
	runtime, cudnn, err := engine.OpenLibraries(filepath.Join(dir, "libonnxruntime.so"), version)
	if err != nil || runtime != 13020 || cudnn/10000 != 9 {
		t.Fatalf("CUDA %d, cuDNN %d, %v", runtime, cudnn, err)
	}
}

// providerFolder is a folder with a library, and a provider that needs a CUDA of
// that major version. The loader knows a library by its soname once it is
// loaded, so that each test has a version of its own.
func providerFolder(t *testing.T, major string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	stub := t.TempDir()
	library(t, filepath.Join(dir, "libonnxruntime.so"), "", "")
	library(t, filepath.Join(dir, "libonnxruntime_providers_shared.so"), "", "")
	library(t, filepath.Join(stub, "cudart"), "libcudart.so."+major, "")
	library(t, filepath.Join(stub, "cublas"), "libcublas.so."+major, "")
	library(t, filepath.Join(dir, "libonnxruntime_providers_cuda.so"), "", "", filepath.Join(stub, "cudart"), filepath.Join(stub, "cublas"))
	return dir
}

func TestCUDALibraries(t *testing.T) {
	open := func(dir string, driver int) error {
		_, _, err := engine.OpenLibraries(filepath.Join(dir, "libonnxruntime.so"), driver)
		return err
	}
	refused(t, open(t.TempDir(), 13000), "no CUDA provider beside the library", "libonnxruntime_providers_cuda.so", "onnxruntime-gpu==1.30.0", engine.LibraryEnv)

	dir := providerFolder(t, "81")
	refused(t, open(dir, 82000), "needs libcudart.so.81 (CUDA 81, cuDNN 9)", "pip install nvidia-cuda-runtime", "nvidia-cudnn-cu81", "LD_LIBRARY_PATH")
	refused(t, open(dir, 80040), "the driver runs CUDA 80.4, and the provider needs CUDA 81", "update NVIDIA's driver")
	if err := os.WriteFile(filepath.Join(dir, "libonnxruntime_providers_cuda.so"), []byte("\x7fELF torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, open(dir, 82000), "not a whole shared library")

	// What lies beside the library, or in NVIDIA's wheels, is found; a library
	// of another version is told.
	dir = providerFolder(t, "83")
	library(t, filepath.Join(dir, "libcudart.so.83"), "libcudart.so.83", "#define CALLS \"\"\n"+fakeRuntime)
	other := filepath.Join(t.TempDir(), "libcublas.so.7")
	library(t, other, "libcublas.so.7", "int cuInit(unsigned f) { return 1; }")
	_, _, _ = engine.OpenDriver(other) // only so that the loader knows it
	refused(t, open(dir, 83000), "needs libcublas.so.83", "found libcublas.so.7, which is another version")
	library(t, filepath.Join(dir, "libcublas.so.83"), "", "")
	refused(t, open(dir, 83000), "needs libcudnn.so.9")
	cudnn := func(version string) {
		library(t, filepath.Join(dir, "libcudnn.so.9"), "", "unsigned long cudnnGetVersion(void) { return "+version+"; }")
	}
	if exec.Command("sh", "-c", "ldconfig -p | grep -q libcudnn.so.9").Run() == nil {
		return // the machine has the real one, which the loader prefers
	}
	cudnn("80905")
	refused(t, open(dir, 83000), "cuDNN is version 8.9.5, want 9")
}

// Arenas, copies in pieces and errors on a runtime of the test's.
func TestCUDAMemory(t *testing.T) {
	openFake(t, "85", "")
	_, err := engine.OpenGPU(engine.Options{DeviceID: 3})
	refused(t, err, "GPU 3", "invalid device ordinal", "nvidia-smi")
	e := must(engine.OpenGPU(engine.Options{}))(t)

	const size = 3*8<<20 + 12345 // more than both buffers, and not whole pieces
	a := must(e.NewArena(size + 256))(t)
	defer a.Close()
	if _, ok := a.HostFloat32(); ok {
		t.Error("a GPU's memory is offered to the host")
	}
	got := make([]byte, size)
	if err := a.Download(0, got); err != nil || !bytes.Equal(got, make([]byte, size)) {
		t.Errorf("a new arena is not zero (%v)", err)
	}
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i * 2654435761 >> 13)
	}
	if err := a.Upload(256, want); err != nil {
		t.Fatal(err)
	}
	if err := a.Download(256, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was downloaded is not what was uploaded (%v)", err)
	}
	if err := a.Zero(); err != nil {
		t.Fatal(err)
	}
	if err := a.Download(256, got); err != nil || !bytes.Equal(got, make([]byte, size)) {
		t.Errorf("a zeroed arena is not zero (%v)", err)
	}
	if got, want := e.Traffic(), (engine.Traffic{Uploads: 1, UploadBytes: size, Downloads: 3, DownloadBytes: 3 * size}); got != want {
		t.Errorf("traffic %+v, want %+v", got, want)
	}
	x := must(e.NewTensor(engine.Float32, 2, 3))(t)
	if err := x.SetFloat32([]float32{1, 2, 3, 4, 5, 6}); err != nil || !slices.Equal(x.GetFloat32(), []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("a tensor holds %v (%v)", x.GetFloat32(), err)
	}
	enginetest.Open(t) // for ONNX Runtime's API
	if name, id, err := engine.PlaceOf(x, 1); name != "Cuda" || id != 1 || err != nil {
		t.Errorf("its value is on %s %d (%v)", name, id, err)
	}
	_, err = e.NewArena(1 << 30)
	refused(t, err, "new arena on cuda", "1073741824 bytes", "out of memory", "48 of the GPU's 64 MiB are free", "gradient_checkpointing")
	x.Close()
}

// The next contents are on their way while the present ones are read, in a
// stream and buffers of their own, and none is written before the copy that
// reads it is done.
func TestCUDAFeed(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	openFake(t, "86", calls)
	e := must(engine.OpenGPU(engine.Options{}))(t)
	a := must(e.NewArena(1024))(t)
	defer a.Close()
	x, y := must(a.View(0, engine.Float32, 4))(t), must(a.View(256, engine.Int64, 2))(t)
	f := must(e.NewFeed(a, false))(t) // a GPU's memory is not the host's: there is one way
	defer f.Close()
	if err := os.Remove(calls); err != nil {
		t.Fatal(err)
	}
	traffic := e.Traffic()
	const steps = 5
	for i := range steps {
		v := float32(10 * i)
		if err := errors.Join(f.SetFloat32(x, []float32{v, v + 1, v + 2, v + 3}), f.SetInt64(y, []int64{int64(i), -int64(i)}), f.Send()); err != nil {
			t.Fatal(err)
		}
		_, err := f.Bytes(x)
		refused(t, err, "still on their way")
		// The step that runs meanwhile reads what came before.
		if got := x.GetFloat32(); i > 0 && got[0] != v-10 {
			t.Fatalf("step %d reads %v", i, got)
		}
		if err := f.Deliver(); err != nil {
			t.Fatal(err)
		}
		if got := x.GetFloat32(); !slices.Equal(got, []float32{v, v + 1, v + 2, v + 3}) {
			t.Fatalf("delivered %v for step %d", got, i)
		}
		if got := y.GetInt64(); !slices.Equal(got, []int64{int64(i), -int64(i)}) {
			t.Fatalf("delivered %v for step %d", got, i)
		}
	}
	if got := e.Traffic().Sub(traffic); got.Uploads != steps || got.UploadBytes != steps*1024 {
		t.Errorf("traffic %+v", got)
	}
	// One copy up when it is sent and one across when it is delivered, each step in
	// the same buffers, with a wait behind; what is between are the test's reads.
	var ours []string
	for line := range strings.Lines(string(must(os.ReadFile(calls))(t))) {
		ours = append(ours, strings.TrimSpace(line))
	}
	const read = "down 16,record,wait"
	want := strings.Repeat("up 1024,"+read+",across 1024,record,wait,"+read+","+read+",", steps)
	if got := strings.Join(ours, ",") + ","; got != want {
		t.Errorf("calls: %s", got)
	}
}

// Copies of several goroutines have a stream each: one does not wait for
// another's.
func TestCUDACopiesAtOnce(t *testing.T) {
	openFake(t, "87", "")
	e := must(engine.OpenGPU(engine.Options{}))(t)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			a, err := e.NewArena(1 << 16)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Close()
			want := bytes.Repeat([]byte{byte(g + 1)}, 1<<16)
			for range 20 {
				got := make([]byte, 1<<16)
				if err := errors.Join(a.Zero(), a.Upload(0, want), a.Download(0, got)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("goroutine %d reads another's bytes (%v)", g, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A trace of the CUDA provider with two nodes left to the CPU, cut to the
// fields' shape of ONNX Runtime 1.30's; and a real one of the CPU.
func TestPlacement(t *testing.T) {
	const trace = `[
{"cat" : "Session","pid" :1,"tid" :1,"dur" :120,"ts" :5,"ph" : "X","name" :"model_loading_array","args" : {}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :33,"ts" :7,"ph" : "X","name" :"/down/Conv_kernel_time","args" : {"thread_scheduling_stats" : "","input_type_shape" : [{"float16":[2,8,6,6]}],"output_size" : "4608","op_name" : "Conv","provider" : "CUDAExecutionProvider","node_index" : "3"}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :3,"ts" :9,"ph" : "X","name" :"/up/ConvTranspose_kernel_time","args" : {"op_name" : "ConvTranspose","provider" : "CPUExecutionProvider","node_index" : "4"}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :3,"ts" :9,"ph" : "X","name" :"/time/Gather_kernel_time","args" : {"op_name" : "Gather","provider" : "CPUExecutionProvider","node_index" : "5"}},
{"cat" : "Kernel","pid" :1,"tid" :1,"dur" :3,"ts" :9,"ph" : "X","name" :"void cudnn::conv","args" : {"stream" : "7"}}
]`
	err := engine.CheckPlacement(strings.NewReader(trace), "CUDAExecutionProvider", []string{"/time/Gather"})
	refused(t, err, "/up/ConvTranspose (ConvTranspose, on CPUExecutionProvider)", "CUDAExecutionProvider", "runtime.cuda.prefer_nhwc", `runtime.operators = "native"`)
	if strings.Contains(err.Error(), "Gather") || strings.Contains(err.Error(), "/down/Conv") {
		t.Errorf("it names others too: %v", err)
	}
	if err := engine.CheckPlacement(strings.NewReader(trace), "CUDAExecutionProvider", []string{"/time/Gather", "/up/ConvTranspose"}); err != nil {
		t.Error(err)
	}
	refused(t, engine.CheckPlacement(strings.NewReader("[]"), "CUDAExecutionProvider", nil), "names no node")
	refused(t, engine.CheckPlacement(strings.NewReader(`[{"cat":`), "CUDAExecutionProvider", nil), "the trace of its first run")

	e := enginetest.Open(t)
	graph := model([]proto{value("x", engine.Float32, 4)}, []proto{value("y", engine.Float32, 4)}, []proto{node("Tanh", []string{"x"}, "y")})
	prefix := filepath.Join(t.TempDir(), "trace")
	for _, o := range []engine.SessionOptions{{Profile: prefix}, {OnDevice: true, FixedAddresses: true, Name: "proved"}} {
		s := must(e.NewSession(graph, o))(t)
		bind(t, s, "x", floats(t, e, []float32{1, 2, 3, 4}, 4))
		bind(t, s, "y", must(e.NewTensor(engine.Float32, 4))(t))
		run(t, s) // with OnDevice: the CPU's own nodes are on it
		run(t, s)
		if o.FixedAddresses {
			refused(t, s.Bind("x", floats(t, e, []float32{1, 2, 3, 4}, 4)), "fixed by the first run")
		}
		s.Close()
	}
	s := must(e.NewSession(graph, engine.SessionOptions{OnDevice: true, Name: "training"}))(t)
	defer s.Close()
	engine.ExpectCUDA(s)
	bind(t, s, "x", floats(t, e, []float32{1, 2, 3, 4}, 4))
	bind(t, s, "y", must(e.NewTensor(engine.Float32, 4))(t))
	for range 2 { // the first run says it, and each after it
		refused(t, s.Run(t.Context()), `session "training"`, "nodes do not run on CUDAExecutionProvider", "(Tanh, on CPUExecutionProvider)")
	}
	found := must(filepath.Glob(prefix + "*.json"))(t)
	if len(found) != 1 {
		t.Fatalf("%d traces, want 1", len(found))
	}
	real := must(os.ReadFile(found[0]))(t)
	refused(t, engine.CheckPlacement(bytes.NewReader(real), "CUDAExecutionProvider", nil), "(Tanh, on CPUExecutionProvider)")
	if err := engine.CheckPlacement(bytes.NewReader(real), "CPUExecutionProvider", nil); err != nil {
		t.Error(err)
	}
}

func TestOutOfMemory(t *testing.T) {
	for text, want := range map[string]engine.OutOfMemoryError{
		"Error running network: Non-zero status code returned while running Conv node. Name:'/up_blocks.3/conv1/Conv' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 1342177280": {
			Bytes: 1342177280, Node: "/up_blocks.3/conv1/Conv (Conv)"},
		"Available memory of 123 is smaller than requested bytes of 4567":                                                                       {Bytes: 4567},
		"CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc()":                                                                {},
		"Non-zero status code returned while running ConvBiasGrad node. Name:'/conv' Status Message: out of memory for sums":                    {Node: "/conv (ConvBiasGrad)"},
		"Non-zero status code returned while running AttentionGrad node. Name:'/a' Status Message: AttentionGrad: out of device memory; choose": {Node: "/a (AttentionGrad)"},
	} {
		var full *engine.OutOfMemoryError
		if err := engine.OutOfMemory(errors.New(text)); !errors.As(err, &full) || full.Bytes != want.Bytes || full.Node != want.Node || full.Text != text {
			t.Errorf("%s: got %+v", text, full)
		}
	}
	var full *engine.OutOfMemoryError
	if err := engine.OutOfMemory(errors.New("invalid\n  rank")); errors.As(err, &full) || err.Error() != "invalid rank" {
		t.Errorf("another error: %v", err)
	}
	// The CPU's own words, of a value of 2⁵² bytes.
	e := enginetest.Open(t)
	const side = 1 << 25
	s := must(e.NewSession(model([]proto{value("x", engine.Float32, side, 1), value("z", engine.Float32, 1, side)}, []proto{value("y", engine.Float32, 1, 1)},
		[]proto{node("Mul", []string{"x", "z"}, "big"), node("ReduceMax", []string{"big"}, "y")}), engine.SessionOptions{Name: "large"}))(t)
	defer s.Close()
	bind(t, s, "x", must(e.NewTensor(engine.Float32, side, 1))(t))
	bind(t, s, "z", must(e.NewTensor(engine.Float32, 1, side))(t))
	bind(t, s, "y", must(e.NewTensor(engine.Float32, 1, 1))(t))
	quiet(t, func() {
		err := s.Run(t.Context())
		if !errors.As(err, &full) || !strings.Contains(err.Error(), `session "large"`) {
			t.Errorf("got %v", err)
		}
	})
}
