#include "cuda_linux_amd64.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *say(const char *format, ...) {
  char *text = NULL;
  va_list args;
  va_start(args, format);
  if (vasprintf(&text, format, args) < 0) text = strdup("out of memory");
  va_end(args);
  return text;
}

static void *open_library(const char *path, char **err) {
  void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  *err = handle ? NULL : strdup(dlerror());
  return handle;
}

char *cuda_load(const char *path) {
  char *err;
  open_library(path, &err);
  return err;
}

// find looks a function up; the first that is missing ends in err.
static void *find(void *handle, const char *name, char **err) {
  void *f = dlsym(handle, name);
  if (!f && !*err) *err = say("it has no function %s", name);
  return f;
}

char *cuda_driver(const char *path, int *version, int *devices) {
  char *err;
  void *handle = open_library(path, &err);
  if (err) return err;
  int (*init)(unsigned) = find(handle, "cuInit", &err);
  int (*get_version)(int *) = find(handle, "cuDriverGetVersion", &err);
  int (*count)(int *) = find(handle, "cuDeviceGetCount", &err);
  if (err) return err;
  int code = init(0);
  if (code) return say("cuInit gives error %d", code);
  if ((code = get_version(version))) return say("cuDriverGetVersion gives error %d", code);
  if ((code = count(devices))) return say("cuDeviceGetCount gives error %d", code);
  return NULL;
}

char *cuda_nvml(const char *path, char *version) {
  char *err;
  void *handle = open_library(path, &err);
  if (err) return err;
  int (*init)(void) = find(handle, "nvmlInit_v2", &err);
  int (*get_version)(char *, unsigned) = find(handle, "nvmlSystemGetDriverVersion", &err);
  int (*shutdown)(void) = find(handle, "nvmlShutdown", &err);
  if (err) return err;
  int code = init();
  if (code) return say("nvmlInit_v2 gives error %d", code);
  code = get_version(version, 80);
  shutdown();
  return code ? say("nvmlSystemGetDriverVersion gives error %d", code) : NULL;
}

char *cuda_cudnn(const char *path, size_t *version) {
  char *err;
  void *handle = open_library(path, &err);
  if (err) return err;
  size_t (*get_version)(void) = find(handle, "cudnnGetVersion", &err);
  if (err) return err;
  *version = get_version();
  return NULL;
}

// The runtime's functions, by the signatures of
// https://docs.nvidia.com/cuda/cuda-runtime-api, which CUDA 12 and 13 share.
static struct {
  int (*set_device)(int);
  int (*malloc)(void **, size_t);
  int (*free)(void *);
  int (*host_alloc)(void **, size_t, unsigned);
  int (*free_host)(void *);
  int (*memset_async)(void *, int, size_t, void *);
  int (*memcpy_async)(void *, const void *, size_t, int, void *);
  int (*stream_create)(void **, unsigned);
  int (*stream_synchronize)(void *);
  int (*stream_destroy)(void *);
  int (*event_create)(void **, unsigned);
  int (*event_record)(void *, void *);
  int (*event_synchronize)(void *);
  int (*event_destroy)(void *);
  int (*mem_get_info)(size_t *, size_t *);
  const char *(*error_string)(int);
} rt;

char *cuda_runtime(const char *path, int *version) {
  char *err;
  void *handle = open_library(path, &err);
  if (err) return err;
  int (*get_version)(int *) = find(handle, "cudaRuntimeGetVersion", &err);
  rt.set_device = find(handle, "cudaSetDevice", &err);
  rt.malloc = find(handle, "cudaMalloc", &err);
  rt.free = find(handle, "cudaFree", &err);
  rt.host_alloc = find(handle, "cudaHostAlloc", &err);
  rt.free_host = find(handle, "cudaFreeHost", &err);
  rt.memset_async = find(handle, "cudaMemsetAsync", &err);
  rt.memcpy_async = find(handle, "cudaMemcpyAsync", &err);
  rt.stream_create = find(handle, "cudaStreamCreateWithFlags", &err);
  rt.stream_synchronize = find(handle, "cudaStreamSynchronize", &err);
  rt.stream_destroy = find(handle, "cudaStreamDestroy", &err);
  rt.event_create = find(handle, "cudaEventCreateWithFlags", &err);
  rt.event_record = find(handle, "cudaEventRecord", &err);
  rt.event_synchronize = find(handle, "cudaEventSynchronize", &err);
  rt.event_destroy = find(handle, "cudaEventDestroy", &err);
  rt.mem_get_info = find(handle, "cudaMemGetInfo", &err);
  rt.error_string = find(handle, "cudaGetErrorString", &err);
  if (err) return err;
  int code = get_version(version);
  return code ? say("cudaRuntimeGetVersion: %s", rt.error_string(code)) : NULL;
}

// TRY returns a message if a call fails. The device is a property of the calling
// thread, and Go moves goroutines between threads, so each function sets it.
#define TRY(call)                                                   \
  do {                                                              \
    int code_ = (call);                                             \
    if (code_) return say("%s: %s", #call, rt.error_string(code_)); \
  } while (0)

enum { HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2, DEVICE_TO_DEVICE = 3, NON_BLOCKING = 1, WITHOUT_TIMING = 2 };

static char *stage_fill(cuda_stage *s) {
  TRY(rt.set_device(s->device));
  TRY(rt.stream_create(&s->stream, NON_BLOCKING));
  for (int i = 0; i < 2; i++) {
    TRY(rt.host_alloc(&s->host[i], CUDA_STAGE, 0));
    TRY(rt.event_create(&s->done[i], WITHOUT_TIMING));
  }
  return NULL;
}

char *cuda_stage_open(int device, cuda_stage **stage) {
  cuda_stage *s = calloc(1, sizeof *s);
  s->device = device;
  char *err = stage_fill(s);
  if (err) {
    cuda_stage_close(s);
    return err;
  }
  *stage = s;
  return NULL;
}

void cuda_stage_close(cuda_stage *s) {
  rt.set_device(s->device);
  for (int i = 0; i < 2; i++) {
    if (s->done[i]) rt.event_destroy(s->done[i]);
    if (s->host[i]) rt.free_host(s->host[i]);
  }
  if (s->stream) rt.stream_destroy(s->stream);
  free(s);
}

char *cuda_alloc(cuda_stage *s, size_t bytes, void **p) {
  TRY(rt.set_device(s->device));
  TRY(rt.malloc(p, bytes));
  char *err = cuda_zero(s, *p, bytes);
  if (err) rt.free(*p);
  return err;
}

char *cuda_zero(cuda_stage *s, void *p, size_t bytes) {
  TRY(rt.set_device(s->device));
  TRY(rt.memset_async(p, 0, bytes, s->stream));
  TRY(rt.stream_synchronize(s->stream));
  return NULL;
}

void cuda_free(int device, void *p) {
  rt.set_device(device);
  rt.free(p);
}

char *cuda_upload(cuda_stage *s, void *to, const void *from, size_t bytes) {
  TRY(rt.set_device(s->device));
  for (size_t at = 0, i = 0; at < bytes; at += CUDA_STAGE, i ^= 1) {
    size_t n = bytes - at < CUDA_STAGE ? bytes - at : CUDA_STAGE;
    if (at >= 2 * (size_t)CUDA_STAGE) TRY(rt.event_synchronize(s->done[i]));
    memcpy(s->host[i], (const char *)from + at, n);
    TRY(rt.memcpy_async((char *)to + at, s->host[i], n, HOST_TO_DEVICE, s->stream));
    TRY(rt.event_record(s->done[i], s->stream));
  }
  TRY(rt.stream_synchronize(s->stream));
  return NULL;
}

// fetch starts the copy of the piece at `at` into its buffer.
static char *fetch(cuda_stage *s, const void *from, size_t at, size_t bytes) {
  if (at >= bytes) return NULL;
  size_t n = bytes - at < CUDA_STAGE ? bytes - at : CUDA_STAGE, i = at / CUDA_STAGE % 2;
  TRY(rt.memcpy_async(s->host[i], (const char *)from + at, n, DEVICE_TO_HOST, s->stream));
  TRY(rt.event_record(s->done[i], s->stream));
  return NULL;
}

char *cuda_download(cuda_stage *s, void *to, const void *from, size_t bytes) {
  TRY(rt.set_device(s->device));
  char *err = fetch(s, from, 0, bytes);
  for (size_t at = 0; !err && at < bytes; at += CUDA_STAGE) {
    size_t n = bytes - at < CUDA_STAGE ? bytes - at : CUDA_STAGE, i = at / CUDA_STAGE % 2;
    if ((err = fetch(s, from, at + CUDA_STAGE, bytes))) break;
    TRY(rt.event_synchronize(s->done[i]));
    memcpy((char *)to + at, s->host[i], n);
  }
  return err;
}

static char *feed_fill(cuda_feed *f) {
  TRY(rt.set_device(f->device));
  TRY(rt.stream_create(&f->stream, NON_BLOCKING));
  TRY(rt.event_create(&f->done, WITHOUT_TIMING));
  TRY(rt.host_alloc(&f->host, f->bytes, 0));
  TRY(rt.malloc(&f->landing, f->bytes));
  memset(f->host, 0, f->bytes);
  return NULL;
}

char *cuda_feed_open(int device, size_t bytes, cuda_feed **feed) {
  cuda_feed *f = calloc(1, sizeof *f);
  f->device = device;
  f->bytes = bytes;
  char *err = feed_fill(f);
  if (err) {
    cuda_feed_close(f);
    return err;
  }
  *feed = f;
  return NULL;
}

void cuda_feed_close(cuda_feed *f) {
  rt.set_device(f->device);
  if (f->stream) rt.stream_synchronize(f->stream);  // a copy may still read what is freed here
  if (f->landing) rt.free(f->landing);
  if (f->host) rt.free_host(f->host);
  if (f->done) rt.event_destroy(f->done);
  if (f->stream) rt.stream_destroy(f->stream);
  free(f);
}

char *cuda_feed_send(cuda_feed *f) {
  TRY(rt.set_device(f->device));
  TRY(rt.memcpy_async(f->landing, f->host, f->bytes, HOST_TO_DEVICE, f->stream));
  return NULL;
}

char *cuda_feed_deliver(cuda_feed *f, void *to) {
  TRY(rt.set_device(f->device));
  TRY(rt.memcpy_async(to, f->landing, f->bytes, DEVICE_TO_DEVICE, f->stream));
  TRY(rt.event_record(f->done, f->stream));
  TRY(rt.event_synchronize(f->done));
  return NULL;
}

char *cuda_memory(int device, size_t *free_bytes, size_t *total) {
  TRY(rt.set_device(device));
  TRY(rt.mem_get_info(free_bytes, total));
  return NULL;
}
