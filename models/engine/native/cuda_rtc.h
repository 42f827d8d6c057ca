// Kernels of our own on an NVIDIA GPU: their source is compiled at run time by
// NVRTC for the device at hand, loaded and launched through the driver.
#ifndef IMMISCIBLE_NATIVE_CUDA_RTC_H
#define IMMISCIBLE_NATIVE_CUDA_RTC_H

#include "cuda_kernels.h"
#include "operators.h"

// rtc_source gives the text that every kernel is compiled from, once, before
// rtc_open. It is not copied.
void rtc_source(const char *text);

// rtc_open opens the libraries by path or name. Returns NULL, or a message that
// the caller frees.
char *rtc_open(const char *driver, const char *nvrtc);

struct rtc_device {
  int architecture;  // compute capability: 90 for 9.0
  int processors;    // multiprocessors
  int shared;        // bytes of dynamic shared memory that a block may have at most
};

// rtc_device describes the device of the calling thread's context.
const char *rtc_device(struct rtc_device *);

// struct program is a kernel in one of its forms.
struct program {
  const char *kernel;   // its name
  const char *defines;  // what stands before the source; with the rest of it the program's identity
  const char *expression;
  // body gives the text behind the source, which the caller frees; NULL: none. It
  // must depend on what identifies the program alone.
  char *(*body)(const void *arg, const char *expression);
  const void *arg;
};

struct grid {
  unsigned x, y, threads;
  unsigned shared;  // bytes of dynamic shared memory
};

// rtc_launch puts a kernel into the GPU's stream, compiled at its first call in
// the context. args is the kernel's one parameter, copied by the call. Like all
// functions here it returns NULL, or a message that stands until the thread's next
// call. A stream that records takes a kernel that has run before.
const char *rtc_launch(const struct gpu *, const struct program *, const struct grid *, const void *args);

// rtc_divider divides by n, 1 to 2^31.
struct divider rtc_divider(unsigned n);

// rtc_lanes is the greatest power of two up to most of elements of p (NULL: any
// place) that a vector may have, of which an extent is a multiple.
int rtc_lanes(int most, int64_t extent, int type, const void *p);

// The operators of operators.c, each with its `cuda`.
const char *cuda_group_norm(const struct gpu *, const struct operands *);
const char *cuda_group_norm_grad(const struct gpu *, const struct operands *);
const char *cuda_layer_norm_grad(const struct gpu *, const struct operands *);
const char *cuda_bias_grad(const struct gpu *, const struct operands *);
const char *cuda_gelu_grad(const struct gpu *, const struct operands *);
const char *cuda_dropout(const struct gpu *, const struct operands *);
const char *cuda_adamw(const struct gpu *, const struct operands *);
const char *cuda_elementwise(const struct gpu *, const struct operands *);

#endif
