// The optimizer: one AdamW update of a flat chunk and of its moving average.
#ifndef IMMISCIBLE_NATIVE_UPDATE_H
#define IMMISCIBLE_NATIVE_UPDATE_H

#include "crew.h"

// adamw updates n elements; in and out as in struct kernels.
const char *adamw(const struct crew *, const struct adamw_step *, ptrdiff_t n, const float *const in[5], float *const out[4]);

#endif
