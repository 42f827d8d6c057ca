// The inner loops of normalisation and activation: one pass over memory each,
// four independent sums where there is a sum. Included last.

// total adds the lanes pairwise.
INLINE float total(vec v) {
  float part[LANES];
  STORE(part, v);
#pragma GCC unroll 4
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) part[i] += part[i + width];
  return part[0];
}

// newton improves r ≈ 1/d.
INLINE vec newton(vec d, vec r) { return r + r * (SPLAT(1.0f) - d * r); }

// exponential is e^y = 2^n·e^f with n = round(y / ln 2) and |f| ≤ ln 2 / 2, where
// e^f is a Taylor polynomial of degree 7 (error 6e-9); y is held within ±80. A
// NaN goes through.
INLINE vec exponential(vec x) {
  const vec y = GREATEST(SPLAT(-80.0f), LEAST(SPLAT(80.0f), x));
  // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits.
  const vec shifted = y * SPLAT(1.44269504f) + SPLAT(12582912.0f);
  const vec n = shifted - SPLAT(12582912.0f);
  const vec f = y - n * SPLAT(0.693359375f) - n * SPLAT(-2.12194440e-4f);  // ln 2 in two parts
  vec p = SPLAT(1.0f / 5040);
  p = p * f + SPLAT(1.0f / 720);
  p = p * f + SPLAT(1.0f / 120);
  p = p * f + SPLAT(1.0f / 24);
  p = p * f + SPLAT(1.0f / 6);
  p = p * f + SPLAT(0.5f);
  p = p * f + SPLAT(1.0f);
  p = p * f + SPLAT(1.0f);
  const vec power = (vec)(((ivec)shifted + 127) << 23);  // 2^n: the shift drops the high bits
  return p * power;
}

// logistic is σ(z) = 1/(1 + e^−z) within 3 units in the last place. Holding z
// within ±80 changes no σ by more than 2e-35 (so −1e30·σ(−1e30) is −2e-5, not 0).
INLINE vec logistic(vec z) {
  const vec d = SPLAT(1.0f) + exponential(-z);
  return RECIPROCAL(d);
}

// sums returns Σ x, or Σ (x − mean)² if squares.
INLINE float sums(const float *x, ptrdiff_t n, float mean, int squares) {
  const vec m = SPLAT(mean);
  vec s[4] = {SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f)};
  ptrdiff_t i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const vec v = LOAD(x + i + j * LANES), d = v - m;
      s[j] += squares ? d * d : v;
    }
  }
  for (; i + LANES <= n; i += LANES) {
    const vec v = LOAD(x + i), d = v - m;
    s[0] += squares ? d * d : v;
  }
  float rest = 0;
  for (; i < n; i++) rest += squares ? (x[i] - mean) * (x[i] - mean) : x[i];
  return total((s[0] + s[1]) + (s[2] + s[3])) + rest;
}

TARGET static void moments(const float *x, ptrdiff_t n, float *mean, float *variance) {
  *mean = sums(x, n, 0, 0) / (float)n;
  *variance = sums(x, n, *mean, 1) / (float)n;
}

INLINE vec normalized(vec x, vec mean, vec a, vec b, int silu) {
  const vec z = (x - mean) * a + b;
  return silu ? z * logistic(z) : z;
}

INLINE void normalize_with(const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, const float *bias, float *y, int silu) {
  const vec m = SPLAT(mean);
  for (int c = 0; c < channels; c++, x += n, y += n) {
    const float factor = r * scale[c], shift = bias[c];
    const vec a = SPLAT(factor), b = SPLAT(shift);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) STORE(y + i, normalized(LOAD(x + i), m, a, b, silu));
    if (i < n) partial_store(y + i, normalized(partial_load(x + i, n - i), m, a, b, silu), n - i);
  }
}

TARGET static void normalize(const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, const float *bias, int silu, float *y) {
  if (silu) normalize_with(x, channels, n, mean, r, scale, bias, y, 1);
  else normalize_with(x, channels, n, mean, r, scale, bias, y, 0);
}

// through takes dy back through SiLU at z: dz = dy·σ·(1 + z·(1 − σ)).
INLINE vec through(vec dy, vec z) {
  const vec s = logistic(z);
  return dy * s * (SPLAT(1.0f) + z * (SPLAT(1.0f) - s));
}

// sums_step takes the next n ≤ LANES elements into Σ dz and Σ dz·x̂.
INLINE void sums_step(const float *x, const float *dy, float *dz, ptrdiff_t n, vec m, vec r, vec a, vec b, int silu, vec *sum, vec *sum_hat) {
  const vec hat = ((n < LANES ? partial_load(x, n) : LOAD(x)) - m) * r;
  vec d = n < LANES ? partial_load(dy, n) : LOAD(dy);
  if (silu) {
    d = through(d, hat * a + b);
    if (n < LANES) partial_store(dz, d, n);
    else STORE(dz, d);
  }
  *sum += d;
  *sum_hat += d * hat;
}

INLINE void normalize_sums_with(const float *dy, const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, const float *bias,
                                float *dz, float *sum, float *sum_hat, int silu) {
  const vec m = SPLAT(mean), rs = SPLAT(r);
  for (int c = 0; c < channels; c++, x += n, dy += n, dz += n) {
    const float factor = scale[c], shift = bias[c];
    const vec a = SPLAT(factor), b = SPLAT(shift);
    vec s[2] = {SPLAT(0.0f), SPLAT(0.0f)}, h[2] = {SPLAT(0.0f), SPLAT(0.0f)};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
      sums_step(x + i, dy + i, dz + i, LANES, m, rs, a, b, silu, &s[0], &h[0]);
      sums_step(x + i + LANES, dy + i + LANES, dz + i + LANES, LANES, m, rs, a, b, silu, &s[1], &h[1]);
    }
    for (; i + LANES <= n; i += LANES) sums_step(x + i, dy + i, dz + i, LANES, m, rs, a, b, silu, &s[0], &h[0]);
    if (i < n) sums_step(x + i, dy + i, dz + i, n - i, m, rs, a, b, silu, &s[0], &h[0]);
    sum[c] = total(s[0] + s[1]);
    sum_hat[c] = total(h[0] + h[1]);
  }
}

TARGET static void normalize_sums(const float *dy, const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, const float *bias,
                                  int silu, float *dz, float *sum, float *sum_hat) {
  if (silu) normalize_sums_with(dy, x, channels, n, mean, r, scale, bias, dz, sum, sum_hat, 1);
  else normalize_sums_with(dy, x, channels, n, mean, r, scale, bias, dz, sum, sum_hat, 0);
}

TARGET static void normalize_grad(const float *dz, const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, float by_hat, float by_one, const float *addend, float *dx) {
  const float slope = by_hat * r, constant = by_one;
  const vec m = SPLAT(mean), b = SPLAT(slope), k = SPLAT(constant);
  for (int c = 0; c < channels; c++, x += n, dz += n, dx += n) {
    const float factor = r * scale[c];
    const vec a = SPLAT(factor);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
      const vec d = LOAD(dz + i) * a - (LOAD(x + i) - m) * b - k;
      STORE(dx + i, addend ? d + LOAD(addend + i) : d);
    }
    if (i < n) {
      const vec d = partial_load(dz + i, n - i) * a - (partial_load(x + i, n - i) - m) * b - k;
      partial_store(dx + i, addend ? d + partial_load(addend + i, n - i) : d, n - i);
    }
    if (addend) addend += n;
  }
}

TARGET static void gelu_grad(const float *dy, const float *x, ptrdiff_t n, float alpha, float *dx) {
  const vec a = SPLAT(alpha);
  ptrdiff_t i = 0;
  for (; i + LANES <= n; i += LANES) STORE(dx + i, through(LOAD(dy + i), LOAD(x + i) * a));
  if (i < n) partial_store(dx + i, through(partial_load(dy + i, n - i), partial_load(x + i, n - i) * a), n - i);
}

#include "kernels_attention_body.h"

const struct kernels NAME = {
  .name = TITLE,
  .lanes = LANES,
#if REGISTERS == 32
  .vectors = 4,
  .tile = {0, 8, 8, 8, 6},
#else
  .vectors = 2,
  .tile = {0, 8, 6},
#endif
  .product = product,
  .transpose = transpose,
  .split = split,
  .tiles_in = tiles_in,
  .weight_in = weight_in,
  .tiles_out = tiles_out,
  .grad_in = grad_in,
  .weight_out = weight_out,
  .moments = moments,
  .normalize = normalize,
  .normalize_sums = normalize_sums,
  .normalize_grad = normalize_grad,
  .gelu_grad = gelu_grad,
  .dropout = dropout,
  .softmax = softmax,
  .softmax_grad = softmax_grad,
  .adamw = adamw,
};
