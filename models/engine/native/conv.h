// Two-dimensional convolutions of NCHW float32 tensors, forward and backward.
#ifndef IMMISCIBLE_NATIVE_CONV_H
#define IMMISCIBLE_NATIVE_CONV_H

#include "crew.h"

// struct conv is the geometry that forward and backward share:
// y [n, o, oh, ow] = x [n, c, h, w] ⋆ weight [o, c, kh, kw].
struct conv {
  int n, c, h, w, o, oh, ow, kh, kw;
  int stride_h, stride_w, top, left;  // what lies below and right of x follows from oh, ow
};

// struct addend is a tensor that is added to the result on its way out. The
// result may lie over it.
struct addend {
  const float *data;                // or NULL
  ptrdiff_t image, channel, pixel;  // from one to the next; 0: one for all
};

// Each returns NULL, or what went wrong. bias may be NULL.
const char *conv_forward(const struct crew *, const struct conv *, const float *x, const float *weight, const float *bias, struct addend, float *y);
const char *conv_input_grad(const struct crew *, const struct conv *, const float *dy, const float *weight, struct addend, float *dx);
const char *conv_weight_grad(const struct crew *, const struct conv *, const float *x, const float *dy, float *dweight);

#endif
