// Dropout that draws its mask where it is read, forward and backward alike, so that
// no mask is ever stored.
#ifndef IMMISCIBLE_NATIVE_DROPOUT_H
#define IMMISCIBLE_NATIVE_DROPOUT_H

#include "crew.h"

// x is [n, elements]; row i is the example at positions[i]; y may be x.
const char *dropout(const struct crew *, const struct dropout *, const int64_t *positions, int64_t n, ptrdiff_t elements, const float *x, float *y);

#endif
