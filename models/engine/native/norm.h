// Group normalisation of x [n, channels, pixels], with or without SiLU behind
// it, and the derivative of QuickGelu.
#ifndef IMMISCIBLE_NATIVE_NORM_H
#define IMMISCIBLE_NATIVE_NORM_H

#include "crew.h"

struct norm {
  int n, channels, groups, silu;
  ptrdiff_t pixels;
  float epsilon;
};

// mean and r (1/√(variance + ε)) are [n, groups]; either may be NULL.
const char *norm_forward(const struct crew *, const struct norm *, const float *x, const float *scale, const float *bias, float *y, float *mean, float *r);
// addend, [n, channels, pixels] or NULL, is added to dx, which may be dy; dscale
// and dbias may be NULL.
const char *norm_grad(const struct crew *, const struct norm *, const float *dy, const float *x, const float *scale, const float *bias, const float *mean, const float *r, const float *addend, float *dx, float *dscale, float *dbias);
const char *gelu_grad(const struct crew *, const float *dy, const float *x, ptrdiff_t n, float alpha, float *dx);

#endif
