// The way out of a convolution: from sums with channels in the lanes to NCHW.
#ifndef IMMISCIBLE_NATIVE_OUTPUT_H
#define IMMISCIBLE_NATIVE_OUTPUT_H

#include "conv.h"
#include "lanes.h"

struct output {
  const struct kernels *kernels;
  struct lanes lanes;
  ptrdiff_t pixels;  // of a plane
  float *data;       // [n, channels, pixels]
  struct addend addend;
};

// OUTPUT_SCRATCH floats are enough for output_write's scratch.
enum { OUTPUT_PIXELS = 64, OUTPUT_SCRATCH = OUTPUT_PIXELS * MAX_VECTORS * 16 };

// output_write writes pixels first…first+n−1 of an image, in one block of
// channels, from sums [n][lanes].
void output_write(const struct output *, const float *sums, int block, int image, ptrdiff_t first, int n, float *scratch);

#endif
