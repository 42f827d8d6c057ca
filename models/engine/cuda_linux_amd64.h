// The parts of CUDA's driver, runtime and cuDNN that the engine calls, found at
// run time by dlopen: a binary has no link-time dependency on CUDA.
//
// Every function that can fail returns NULL, or a message that the caller frees.
#ifndef IMMISCIBLE_CUDA_H
#define IMMISCIBLE_CUDA_H

#include <stddef.h>

// cuda_load opens a shared library for good, so that others that need its name
// find it.
char *cuda_load(const char *path);

// cuda_driver opens libcuda at path and says which CUDA it can run (13000 for
// 13.0) and how many devices there are.
char *cuda_driver(const char *path, int *version, int *devices);

// cuda_nvml copies the kernel driver's version ("580.65.06") from libnvidia-ml at
// path; room for 80 bytes.
char *cuda_nvml(const char *path, char *version);

// cuda_cudnn says cuDNN's version at path (91300 for 9.13).
char *cuda_cudnn(const char *path, size_t *version);

// cuda_runtime opens libcudart at path for the functions below; version is as
// cuda_driver's.
char *cuda_runtime(const char *path, int *version);

// A cuda_stage is a stream and two pinned buffers of CUDA_STAGE bytes: one is
// filled while the other is on its way. It serves one caller at a time.
enum { CUDA_STAGE = 8 << 20 };
typedef struct {
  int device;
  void *stream;
  void *host[2];
  void *done[2];
} cuda_stage;

char *cuda_stage_open(int device, cuda_stage **stage);
void cuda_stage_close(cuda_stage *stage);

// Memory of the stage's device. alloc zeroes; all of them have finished when
// they return.
char *cuda_alloc(cuda_stage *stage, size_t bytes, void **p);
char *cuda_zero(cuda_stage *stage, void *p, size_t bytes);
char *cuda_upload(cuda_stage *stage, void *to, const void *from, size_t bytes);
char *cuda_download(cuda_stage *stage, void *to, const void *from, size_t bytes);
void cuda_free(int device, void *p);

// A cuda_feed is a stream, pinned memory, and as much memory of the device. send
// begins the copy from the first to the second; deliver copies from there to
// memory that sessions read, and waits for both copies, so that afterwards
// nothing is on its way and every buffer may be written again.
typedef struct {
  int device;
  void *stream;
  void *host;
  void *landing;
  void *done;
  size_t bytes;
} cuda_feed;

char *cuda_feed_open(int device, size_t bytes, cuda_feed **feed);
void cuda_feed_close(cuda_feed *feed);
char *cuda_feed_send(cuda_feed *feed);
char *cuda_feed_deliver(cuda_feed *feed, void *to);

// cuda_memory says how many bytes the device has and has free.
char *cuda_memory(int device, size_t *free_bytes, size_t *total);

#endif
