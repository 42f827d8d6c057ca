// libcudart.so.13 for a machine without a GPU: device memory is the host's, copies
// and fills happen at once, and kernels that were compiled for a GPU, as ONNX
// Runtime's, are counted and not computed. Streams, events, memory and recorded
// graphs obey the rules of https://docs.nvidia.com/cuda/cuda-runtime-api as far as
// a wrong use shows: what is not allowed while a stream records is refused.
//
// $FAKEGPU_MIB is how much memory the device has: 81920 as an H100.
// With $FAKEGPU_IDLE nothing larger than 1 MiB is copied or filled, so that a
// model of any size takes no memory.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "counts.h"

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NOT_IN_CAPTURE = 900 };
enum { IDLE_LIMIT = 1 << 20 };

typedef struct { unsigned x, y, z; } dim3;
struct stream { int capturing, kernels; };
struct event { int recorded; };
struct graph { int kernels; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stream *recording;  // at most one in the process
static size_t memory = (size_t)80 << 30;
static int idle, last_error;

// Counts: lines of one length, in memory that is a file's, because a Go program
// ends without a word to its libraries.

enum { LINES = 8192, LINE = 256, NAME = 234 };
static char (*lines)[LINE];
static int64_t *numbers;

void fakegpu_set(const char *name, int64_t n, int add) {
  pthread_mutex_lock(&lock);
  for (int i = 0; lines && i < LINES; i++) {
    if (lines[i][0] && strncmp(lines[i], name, strlen(name) < NAME ? strlen(name) + 1 : NAME)) continue;
    numbers[i] = add ? numbers[i] + n : n;
    // The name ends in a NUL, so that one is not taken for the beginning of another.
    snprintf(lines[i], NAME, "%s", name);
    snprintf(lines[i] + NAME, LINE - NAME, "%*lld", LINE - NAME - 1, (long long)numbers[i]);
    lines[i][LINE - 1] = '\n';
    break;
  }
  pthread_mutex_unlock(&lock);
}

void fakegpu_count(const char *name, int64_t n) { fakegpu_set(name, n, 1); }

__attribute__((constructor)) static void begin(void) {
  idle = getenv("FAKEGPU_IDLE") != NULL;
  if (getenv("FAKEGPU_MIB")) memory = (size_t)atoll(getenv("FAKEGPU_MIB")) << 20;
  const char *path = getenv("FAKEGPU_COUNTS");
  const int file = path ? open(path, O_RDWR | O_CREAT | O_TRUNC, 0644) : -1;
  if (file < 0 || ftruncate(file, LINES * LINE)) return;
  void *m = mmap(NULL, LINES * LINE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  numbers = calloc(LINES, sizeof *numbers);
  if (m != MAP_FAILED && numbers) lines = m;
}

static int fail(int code) { return last_error = code; }

// fakegpu_recording tells libcuda's stand-in whether a stream records.
int fakegpu_recording(void) { return recording != NULL; }

// refused says whether a call is one that no thread may make while a stream
// records in the global mode.
static int refused(const char *call) {
  if (!recording) return 0;
  char name[200];
  snprintf(name, sizeof name, "refused while recording: %s", call);
  fakegpu_count(name, 1);
  return 1;
}

// Memory.

static struct block { char *p; size_t n; int host; } blocks[1 << 16];
static int block_count;
static size_t used, peak;

static int allocate(void **p, size_t n, int host) {
  if (!p) return fail(INVALID_VALUE);
  *p = NULL;
  if (!n) return OK;
  pthread_mutex_lock(&lock);
  int code = OUT_OF_MEMORY;
  if ((host || used + n <= memory) && block_count < (int)(sizeof blocks / sizeof *blocks)) {
    void *m = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m != MAP_FAILED) {
      *p = m;
      blocks[block_count++] = (struct block){m, n, host};
      if (!host && (used += n) > peak) peak = used;
      code = OK;
    }
  }
  pthread_mutex_unlock(&lock);
  fakegpu_set("device bytes at the peak", peak, 0);
  return code ? fail(code) : OK;
}

static int forget(void *p) {
  if (!p) return OK;
  pthread_mutex_lock(&lock);
  int i = 0;
  while (i < block_count && blocks[i].p != p) i++;
  const int found = i < block_count;
  if (found) {
    munmap(p, blocks[i].n);
    if (!blocks[i].host) used -= blocks[i].n;
    blocks[i] = blocks[--block_count];
  }
  pthread_mutex_unlock(&lock);
  return found ? OK : fail(INVALID_VALUE);
}

// place is the block that an address lies in, or NULL.
static const struct block *place(const void *p) {
  for (int i = 0; i < block_count; i++)
    if ((const char *)p >= blocks[i].p && (const char *)p < blocks[i].p + blocks[i].n) return &blocks[i];
  return NULL;
}

static int on_device(const void *p) {
  pthread_mutex_lock(&lock);
  const struct block *b = place(p);
  const int there = b && !b->host;
  pthread_mutex_unlock(&lock);
  return there;
}

int cudaMalloc(void **p, size_t n) { return refused("cudaMalloc") ? fail(NOT_IN_CAPTURE) : allocate(p, n, 0); }
int cudaFree(void *p) { return refused("cudaFree") ? fail(NOT_IN_CAPTURE) : forget(p); }
int cudaHostAlloc(void **p, size_t n, unsigned flags) { return (void)flags, refused("cudaHostAlloc") ? fail(NOT_IN_CAPTURE) : allocate(p, n, 1); }
int cudaMallocHost(void **p, size_t n) { return cudaHostAlloc(p, n, 0); }
int cudaFreeHost(void *p) { return refused("cudaFreeHost") ? fail(NOT_IN_CAPTURE) : forget(p); }
int cudaMallocFromPoolAsync(void **p, size_t n, void *pool, void *stream) { return (void)pool, (void)stream, allocate(p, n, 0); }
int cudaFreeAsync(void *p, void *stream) { return (void)stream, forget(p); }
int cudaMemPoolCreate(void **pool, const void *properties) { return (void)properties, *pool = malloc(1), OK; }
int cudaMemPoolDestroy(void *pool) { return free(pool), OK; }
int cudaMemPoolGetAttribute(void *pool, int attribute, void *value) { return (void)pool, (void)attribute, *(uint64_t *)value = 0, OK; }
int cudaMemPoolSetAttribute(void *pool, int attribute, void *value) { return (void)pool, (void)attribute, (void)value, OK; }
int cudaMemPoolTrimTo(void *pool, size_t n) { return (void)pool, (void)n, OK; }

int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  *total = memory;
  *free_bytes = *total - used;
  return OK;
}

// cudaPointerAttributes: type 0 unregistered, 1 host, 2 device.
int cudaPointerGetAttributes(void *attributes, const void *p) {
  struct { int type, device; void *device_pointer, *host_pointer; } *a = attributes;
  memset(attributes, 0, 88);
  pthread_mutex_lock(&lock);
  const struct block *b = place(p);
  a->type = !b ? 0 : b->host ? 1 : 2;
  pthread_mutex_unlock(&lock);
  if (a->type) a->device_pointer = (void *)p;
  if (a->type != 2) a->host_pointer = (void *)p;
  return OK;
}

// copy counts by where the memory is: kind may be 4, cudaMemcpyDefault.
static void copy(void *to, const void *from, size_t n, const char *how) {
  const int there = on_device(to), here = on_device(from);
  const char *way = there && here ? "across" : there ? "up" : here ? "down" : "host";
  char name[200];
  snprintf(name, sizeof name, "copies %s%s", way, how);
  fakegpu_count(name, 1);
  snprintf(name, sizeof name, "bytes %s%s", way, how);
  fakegpu_count(name, n);
  if (!idle || n <= IDLE_LIMIT) memmove(to, from, n);
}

static void fill(void *p, int value, size_t n) {
  fakegpu_count("fills", 1);
  if (!idle || n <= IDLE_LIMIT) memset(p, value, n);
}

int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, void *stream) { return (void)kind, (void)stream, copy(to, from, n, ""), OK; }

int cudaMemcpy(void *to, const void *from, size_t n, int kind) {
  (void)kind;
  if (refused("cudaMemcpy")) return fail(NOT_IN_CAPTURE);
  return copy(to, from, n, " in the default stream"), OK;
}

int cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind, void *stream) {
  for (size_t i = 0; i < height; i++) cudaMemcpyAsync((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width, kind, stream);
  return OK;
}

int cudaMemcpyFromSymbol(void *to, const void *symbol, size_t n, size_t offset, int kind) { return (void)symbol, (void)offset, (void)kind, memset(to, 0, n), OK; }
int cudaMemset(void *p, int value, size_t n) { return fill(p, value, n), OK; }
int cudaMemsetAsync(void *p, int value, size_t n, void *stream) { return (void)stream, fill(p, value, n), OK; }

// Devices.

int cudaRuntimeGetVersion(int *v) { return *v = 13020, OK; }
int cudaDriverGetVersion(int *v) { return *v = 13020, OK; }
int cudaGetDeviceCount(int *n) { return *n = 1, OK; }
int cudaGetDevice(int *d) { return *d = 0, OK; }
int cudaSetDevice(int d) { return d ? fail(INVALID_DEVICE) : OK; }

static int attribute(int which) {
  switch (which) {
    case 1: return 1024;          // cudaDevAttrMaxThreadsPerBlock
    case 8: return 48 << 10;      // MaxSharedMemoryPerBlock
    case 10: return 32;           // WarpSize
    case 12: return 65536;        // MaxRegistersPerBlock
    case 16: return 132;          // MultiProcessorCount
    case 39: return 2048;         // MaxThreadsPerMultiProcessor
    case 75: return 9;            // ComputeCapabilityMajor
    case 76: return 0;            // ComputeCapabilityMinor
    case 81: return 228 << 10;    // MaxSharedMemoryPerMultiprocessor
    case 95: return 1;            // CooperativeLaunch
    case 97: return 227 << 10;    // MaxSharedMemoryPerBlockOptin
    case 115: return 1;           // MemoryPoolsSupported
  }
  return 0;
}

int cudaDeviceGetAttribute(int *value, int which, int device) { return (void)device, *value = attribute(which), OK; }

// cudaDeviceProp of CUDA 13, by the places of its fields.
int cudaGetDeviceProperties(void *properties, int device) {
  char *p = properties;
  if (device) return fail(INVALID_DEVICE);
  memset(p, 0, 1008);
  strcpy(p, "stand-in for an NVIDIA H100");
  *(size_t *)(p + 288) = memory;
  const struct { int at, value; } ints[] = {{304, 65536}, {308, 32}, {320, 1024}, {324, 1024}, {328, 1024}, {332, 64}, {336, 0x7fffffff}, {340, 65535}, {344, 65535},
                                            {360, 9}, {364, 0}, {384, 132}, {596, 50 << 20}, {604, 2048}, {632, 65536}, {688, 32}};
  for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) *(int *)(p + ints[i].at) = ints[i].value;
  *(size_t *)(p + 296) = 48 << 10;
  *(size_t *)(p + 624) = 228 << 10;
  *(size_t *)(p + 672) = 227 << 10;
  return OK;
}

int cudaDeviceSynchronize(void) { return refused("cudaDeviceSynchronize") ? fail(NOT_IN_CAPTURE) : (fakegpu_count("waits for the device", 1), OK); }
const char *cudaGetErrorString(int code) {
  switch (code) {
    case OK: return "no error";
    case OUT_OF_MEMORY: return "out of memory";
    case INVALID_DEVICE: return "invalid device ordinal";
    case NOT_IN_CAPTURE: return "operation not permitted when stream is capturing";
  }
  return "invalid argument";
}
const char *cudaGetErrorName(int code) { return code ? "cudaErrorInvalidValue" : "cudaSuccess"; }
int cudaGetLastError(void) { int code = last_error; return last_error = OK, code; }
int cudaPeekAtLastError(void) { return last_error; }

// Streams, events, recorded graphs.

int cudaStreamCreateWithFlags(struct stream **s, unsigned flags) { return (void)flags, fakegpu_count("streams", 1), *s = calloc(1, sizeof **s), OK; }
int cudaStreamCreate(struct stream **s) { return cudaStreamCreateWithFlags(s, 0); }
int cudaStreamDestroy(struct stream *s) { return free(s), OK; }
int cudaStreamSynchronize(struct stream *s) { return (void)s, refused("cudaStreamSynchronize") ? fail(NOT_IN_CAPTURE) : (fakegpu_count("waits for a stream", 1), OK); }
int cudaStreamWaitEvent(struct stream *s, struct event *e, unsigned flags) { return (void)s, (void)e, (void)flags, OK; }
int cudaEventCreateWithFlags(struct event **e, unsigned flags) { return (void)flags, *e = calloc(1, sizeof **e), OK; }
int cudaEventCreate(struct event **e) { return cudaEventCreateWithFlags(e, 0); }
int cudaEventRecord(struct event *e, struct stream *s) { return (void)s, e->recorded = 1, OK; }
int cudaEventSynchronize(struct event *e) { return (void)e, refused("cudaEventSynchronize") ? fail(NOT_IN_CAPTURE) : (fakegpu_count("waits for an event", 1), OK); }
int cudaEventElapsedTime(float *ms, struct event *a, struct event *b) { return (void)a, (void)b, *ms = 1, OK; }
int cudaEventDestroy(struct event *e) { return free(e), OK; }
int cudaLaunchHostFunc(struct stream *s, void (*f)(void *), void *arg) { return (void)s, f(arg), OK; }

int cudaStreamBeginCapture(struct stream *s, int mode) {
  (void)mode;
  if (!s || recording) return fail(INVALID_VALUE);
  recording = s;
  s->kernels = 0;
  return OK;
}

int cudaStreamEndCapture(struct stream *s, struct graph **g) {
  if (recording != s) return fail(INVALID_VALUE);
  recording = NULL;
  *g = calloc(1, sizeof **g);
  (*g)->kernels = s->kernels;
  fakegpu_count("graphs recorded", 1);
  fakegpu_count("kernels recorded", s->kernels);
  return OK;
}

int cudaStreamIsCapturing(struct stream *s, int *status) { return *status = s && recording == s, OK; }
int cudaGraphInstantiate(struct graph **exec, struct graph *g, unsigned long long flags) { return (void)flags, *exec = calloc(1, sizeof **exec), **exec = *g, OK; }
int cudaGraphLaunch(struct graph *exec, void *stream) { return (void)exec, (void)stream, fakegpu_count("graphs launched", 1), OK; }
int cudaGraphDestroy(struct graph *g) { return free(g), OK; }
int cudaGraphExecDestroy(struct graph *g) { return free(g), OK; }

// Kernels: a table from the host's function to the kernel's name.

static struct { const void *host; const char *name; } kernels[1 << 18];

static size_t slot(const void *host) {
  size_t i = (uintptr_t)host / 16 * 0x9e3779b97f4a7c15ull >> 46;
  while (kernels[i].host && kernels[i].host != host) i = (i + 1) % (sizeof kernels / sizeof *kernels);
  return i;
}

void **__cudaRegisterFatBinary(void *binary) { return (void)binary, calloc(1, sizeof(void *)); }
void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }
void __cudaUnregisterFatBinary(void **handle) { free(handle); }
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int limit, void *a, void *b, void *c, void *d, int *e) {
  (void)handle, (void)device, (void)limit, (void)a, (void)b, (void)c, (void)d, (void)e;
  const size_t i = slot(host);
  kernels[i].host = host;
  kernels[i].name = strdup(name);
}
void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int external, size_t n, int constant, int global) {
  (void)handle, (void)host, (void)device, (void)name, (void)external, (void)n, (void)constant, (void)global;
}

static int launch(const void *host) {
  const char *name = kernels[slot(host)].name;
  char line[200];
  snprintf(line, sizeof line, "kernel %s", name ? name : "?");
  fakegpu_count(line, 1);
  fakegpu_count("kernels", 1);
  if (recording) recording->kernels++;
  return OK;
}

static _Thread_local struct { dim3 grid, block; size_t shared; void *stream; } call;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
  call.grid = grid, call.block = block, call.shared = shared, call.stream = stream;
  return 0;
}
int __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void **stream) {
  *grid = call.grid, *block = call.block, *shared = call.shared, *stream = call.stream;
  return OK;
}
int cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, void *stream) { return (void)grid, (void)block, (void)args, (void)shared, (void)stream, launch(f); }
int cudaLaunchCooperativeKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, void *stream) { return cudaLaunchKernel(f, grid, block, args, shared, stream); }
int cudaLaunchKernelExC(const void *config, const void *f, void **args) { return (void)config, (void)args, launch(f); }
int __cudaGetKernel(const void **kernel, const void *host) { return *kernel = host, OK; }
int __cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **args, size_t shared, void *stream) { return cudaLaunchKernel(kernel, grid, block, args, shared, stream); }
int cudaFuncGetAttributes(void *attributes, const void *f) {
  (void)f;
  memset(attributes, 0, 144);
  *(int *)((char *)attributes + 24) = 1024;  // maxThreadsPerBlock
  return OK;
}
int cudaFuncSetAttribute(const void *f, int which, int value) { return (void)f, (void)which, (void)value, OK; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int size, size_t shared, unsigned flags) { return (void)f, (void)size, (void)shared, (void)flags, *n = 2, OK; }
int cudaKernelSetAttributeForDevice(const void *f, int which, int value, int device) { return (void)f, (void)which, (void)value, (void)device, OK; }
int cudaLibraryLoadData(void **library, const void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) { return (void)code, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, *library = malloc(1), OK; }
int cudaLibraryGetKernel(const void **kernel, void *library, const char *name) { return *kernel = library, (void)name, OK; }
int cudaLibraryUnload(void *library) { return free(library), OK; }
int cudaGetDriverEntryPointByVersion(const char *symbol, void **f, unsigned version, unsigned long long flags, int *status) {
  (void)version, (void)flags;
  *f = dlsym(RTLD_DEFAULT, symbol);
  if (status) *status = *f ? 0 : 1;
  return OK;
}
