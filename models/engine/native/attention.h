// Multi-head attention of q [n·t, c] to k and v [n·s, c], heads side by side in
// a row, without a [t, s] matrix in memory.
#ifndef IMMISCIBLE_NATIVE_ATTENTION_H
#define IMMISCIBLE_NATIVE_ATTENTION_H

#include "crew.h"

struct attention {
  int n, t, s, c, heads;  // heads divides c
  float scale;            // of q·kᵀ, positive
};

// y = softmax(scale·q·kᵀ)·v, head by head. stats [n, heads, t] are the
// logarithms of the softmax's denominators; they may be NULL.
const char *attention_forward(const struct crew *, const struct attention *, const float *q, const float *k, const float *v, float *y, float *stats);
const char *attention_grad(const struct crew *, const struct attention *, const float *dy, const float *q, const float *k, const float *v, const float *y, const float *stats, float *dq, float *dk, float *dv);

#endif
