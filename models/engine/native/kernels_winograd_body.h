// The transforms of Winograd's minimal filtering (winograd.h): sums and
// differences only, so that a pass costs little more than its stores.
// Included after kernels_body.h.

#if defined(__x86_64__) && LANES == 16
// lanes_mask has the first n of 16 bits.
#define LANES_MASK(n) ((__mmask16)((n) >= 16 ? 0xffff : (n) > 0 ? (1u << (n)) - 1 : 0))
#endif

INLINE void split_row(const float *src, int n, float *even, float *odd) {
  int j = 0;
#if defined(__x86_64__) && LANES == 16
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odds = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  for (; 2 * j < n; j += 16) {
    const int left = n - 2 * j;
    const __m512 a = _mm512_maskz_loadu_ps(LANES_MASK(left), src + 2 * j), b = _mm512_maskz_loadu_ps(LANES_MASK(left - 16), src + 2 * j + 16);
    _mm512_mask_storeu_ps(even + j, LANES_MASK((left + 1) / 2), _mm512_permutex2var_ps(a, evens, b));
    _mm512_mask_storeu_ps(odd + j, LANES_MASK(left / 2), _mm512_permutex2var_ps(a, odds, b));
  }
#else
#if defined(__x86_64__) && LANES == 8
  for (; 2 * j + 16 <= n; j += 8) {
    const __m256 a = _mm256_loadu_ps(src + 2 * j), b = _mm256_loadu_ps(src + 2 * j + 8);
    const __m256 low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
    _mm256_storeu_ps(even + j, _mm256_shuffle_ps(low, high, 0x88));
    _mm256_storeu_ps(odd + j, _mm256_shuffle_ps(low, high, 0xdd));
  }
#endif
  for (; 2 * j + 1 < n; j++) {
    even[j] = src[2 * j];
    odd[j] = src[2 * j + 1];
  }
  if (2 * j < n) even[j] = src[2 * j];
#endif
}

TARGET static void split(const float *src, ptrdiff_t src_pitch, int i0, int i1, int n, float *even, float *odd, ptrdiff_t plane, ptrdiff_t pitch) {
  for (int i = i0; i < i1; i++, src += src_pitch) {
    const ptrdiff_t at = 2 * (i & 1) * plane + (i >> 1) * pitch;
    switch (n) {
    case 4: split_row(src, 4, even + at, odd + at); break;
    case 8: split_row(src, 8, even + at, odd + at); break;
    case 16: split_row(src, 16, even + at, odd + at); break;
    case 32: split_row(src, 32, even + at, odd + at); break;
    default: split_row(src, n, even + at, odd + at);
    }
  }
}

// Bᵀ of one line of four.
#define INPUT(t0, t1, t2, t3, d0, d1, d2, d3) \
  const vec t0 = d0 - d2, t1 = d1 + d2, t2 = d2 - d1, t3 = d1 - d3

TARGET static void tiles_in(const float *cells, ptrdiff_t plane, ptrdiff_t pitch, int n, float *v, ptrdiff_t position) {
  for (int q = 0; q < n; q += LANES) {
    vec t[4][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const float *p = cells + (j & 1) * plane + (j >> 1) + q;
      INPUT(a, b, c, d, LOAD(p), LOAD(p + 2 * plane), LOAD(p + pitch), LOAD(p + 2 * plane + pitch));
      t[0][j] = a, t[1][j] = b, t[2][j] = c, t[3][j] = d;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      float *out = v + 4 * i * position + q;
      INPUT(a, b, c, d, t[i][0], t[i][1], t[i][2], t[i][3]);
      STORE(out, a);
      STORE(out + position, b);
      STORE(out + 2 * position, c);
      STORE(out + 3 * position, d);
    }
  }
}

// G of one line of three: the halves are exact.
#define WEIGHT(t0, t1, t2, t3, g0, g1, g2)                                                          \
  const vec t0 = g0, t3 = g2, sum_##t0 = (g0 + g2) * SPLAT(0.5f), half_##t0 = (g1) * SPLAT(0.5f), \
            t1 = sum_##t0 + half_##t0, t2 = sum_##t0 - half_##t0

TARGET static void weight_in(const float *g, int width, float *u, ptrdiff_t position) {
  for (int l = 0; l < width; l += LANES) {
    vec t[4][3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) {
      const float *p = g + j * width + l;
      WEIGHT(a, b, c, d, LOAD(p), LOAD(p + 3 * width), LOAD(p + 6 * width));
      t[0][j] = a, t[1][j] = b, t[2][j] = c, t[3][j] = d;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      float *out = u + 4 * i * position + l;
      WEIGHT(a, b, c, d, t[i][0], t[i][1], t[i][2]);
      STORE(out, a);
      STORE(out + position, b);
      STORE(out + 2 * position, c);
      STORE(out + 3 * position, d);
    }
  }
}

TARGET static void tiles_out(const float *m, ptrdiff_t position, int width, const float *bias, float *top, float *bottom) {
  for (int l = 0; l < width; l += LANES) {
    const vec b = bias ? LOAD(bias + l) : SPLAT(0.0f);
    vec t[2][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const float *p = m + j * position + l;
      const vec x1 = LOAD(p + 4 * position), x2 = LOAD(p + 8 * position);
      t[0][j] = LOAD(p) + x1 + x2;
      t[1][j] = x1 - x2 - LOAD(p + 12 * position);
    }
    STORE(top + l, t[0][0] + t[0][1] + t[0][2] + b);
    STORE(top + width + l, t[0][1] - t[0][2] - t[0][3] + b);
    STORE(bottom + l, t[1][0] + t[1][1] + t[1][2] + b);
    STORE(bottom + width + l, t[1][1] - t[1][2] - t[1][3] + b);
  }
}

TARGET static void grad_in(const float *top, const float *bottom, int width, float *d, ptrdiff_t position) {
  for (int l = 0; l < width; l += LANES) {
    const vec a0 = LOAD(top + l), a1 = LOAD(top + width + l), b0 = LOAD(bottom + l), b1 = LOAD(bottom + width + l);
    const vec t[4][2] = {{a0, a1}, {a0 + b0, a1 + b1}, {a0 - b0, a1 - b1}, {b0, b1}};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      float *out = d + 4 * i * position + l;
      STORE(out, t[i][0]);
      STORE(out + position, t[i][0] + t[i][1]);
      STORE(out + 2 * position, t[i][0] - t[i][1]);
      STORE(out + 3 * position, t[i][1]);
    }
  }
}

TARGET static void weight_out(const float *m, ptrdiff_t position, int width, float *dw) {
  for (int l = 0; l < width; l += LANES) {
    vec t[3][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const float *p = m + j * position + l;
      const vec x1 = LOAD(p + 4 * position), x2 = LOAD(p + 8 * position);
      const vec sum = (x1 + x2) * SPLAT(0.5f);
      t[0][j] = LOAD(p) + sum;
      t[1][j] = (x1 - x2) * SPLAT(0.5f);
      t[2][j] = sum - LOAD(p + 12 * position);
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
      const vec sum = (t[i][1] + t[i][2]) * SPLAT(0.5f);
      STORE(dw + 3 * i * width + l, t[i][0] + sum);
      STORE(dw + (3 * i + 1) * width + l, (t[i][1] - t[i][2]) * SPLAT(0.5f));
      STORE(dw + (3 * i + 2) * width + l, sum - t[i][3]);
    }
  }
}
