// What an operator may use of its surroundings on an NVIDIA GPU, and the doors to
// NVIDIA's libraries, which are opened at run time: nothing of them is needed to
// build this package.
#ifndef IMMISCIBLE_NATIVE_CUDA_H
#define IMMISCIBLE_NATIVE_CUDA_H

#include <stddef.h>

struct gpu {
  void *stream;       // CUstream: all work goes into it, and nothing waits for it
  int tf32;           // float32 products may round their factors to TF32
  int deterministic;  // results must not depend on timing
  void *self;         // passed back to the functions below
  // alloc gives memory of the device aligned to 256 bytes, or NULL. It may be
  // released as soon as the work that uses it is in the stream: what takes the
  // memory next comes later in the same stream.
  void *(*alloc)(void *self, size_t bytes);
  void (*release)(void *self, void *p);
};

// cuda_open opens the libraries by path or name, once a process. Returns NULL, or
// a message that the caller frees.
char *cuda_open(const char *driver, const char *nvrtc, const char *cudnn);

#endif
