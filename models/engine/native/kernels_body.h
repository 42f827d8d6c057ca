// The inner loops in GCC's vector extensions, which clang has too. Each
// kernels_*.c defines LANES, REGISTERS, TARGET and NAME and includes this file.
//
// product is the whole of a convolution, forward and backward. One step loads v
// vectors and broadcasts one float a row; a tile keeps rows × v accumulators in
// registers. With 32 registers of 16 floats: 6 rows × 4 vectors = 24
// accumulators, 4 values, 1 broadcast; 24 multiply-adds against 10 loads, so
// the two multipliers stay busy as long as the loads hit the nearest cache.

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef float unaligned_vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

typedef int32_t ivec __attribute__((vector_size(LANES * 4)));

#if LANES == 16
#define SPLAT(x) ((vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x})
#elif LANES == 8
#define SPLAT(x) ((vec){x, x, x, x, x, x, x, x})
#else
#define SPLAT(x) ((vec){x, x, x, x})
#endif

#define LOAD(p) ((vec)(*(const unaligned_vec *)(p)))
#define STORE(p, v) (*(unaligned_vec *)(p) = (v))
#define INLINE static inline __attribute__((always_inline)) TARGET

// partial_load and partial_store move the first n < LANES floats; what is
// loaded beyond them is 0.
INLINE vec partial_load(const float *p, ptrdiff_t n) {
  float part[LANES] = {0};
  __builtin_memcpy(part, p, n * sizeof(float));
  return LOAD(part);
}

INLINE void partial_store(float *p, vec v, ptrdiff_t n) {
  float part[LANES];
  STORE(part, v);
  __builtin_memcpy(p, part, n * sizeof(float));
}

INLINE void tile(int rows, int v, const float *src, const int32_t *row, const int32_t *step, const float *values, int steps, int fresh, const float *ahead, float *acc) {
  const float *p[8];
  vec a[8][4];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    p[r] = src + row[r];
#pragma GCC unroll 4
    for (int j = 0; j < v; j++) a[r][j] = fresh ? SPLAT(0.0f) : LOAD(acc + (r * v + j) * LANES);
  }
  for (int k = 0; k < steps; k++) {
    const ptrdiff_t s = step[k];
    vec b[4];
#pragma GCC unroll 4
    for (int j = 0; j < v; j++) b[j] = LOAD(values + j * LANES);
    values += v * LANES;
    __builtin_prefetch(ahead);
    ahead += 16;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      const float x = p[r][s];
      const vec xs = SPLAT(x);
#pragma GCC unroll 4
      for (int j = 0; j < v; j++) a[r][j] += xs * b[j];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int j = 0; j < v; j++) STORE(acc + (r * v + j) * LANES, a[r][j]);
  }
}

// Whoever calls product with one chunk of values calls it with the next one
// soon, and that lies behind this one. While the first tiles compute, they
// fetch it, a cache line a step; the rest fetch what is there already.
#define TILES(rows_, v_)                                                                                              \
  TARGET static void tiles##v_(const float *src, const int32_t *row, int rows, const int32_t *step,                    \
                               const float *values, int steps, int fresh, float *acc) {                                \
    const float *ahead = values + (ptrdiff_t)steps * v_ * LANES;                                                       \
    int lines = (v_ * LANES + 15) / 16;                                                                                \
    for (int r = 0; r < rows; r += rows_) {                                                                            \
      if (fresh) tile(rows_, v_, src, row + r, step, values, steps, 1, ahead, acc + r * v_ * LANES);                   \
      else tile(rows_, v_, src, row + r, step, values, steps, 0, ahead, acc + r * v_ * LANES);                         \
      ahead = --lines > 0 ? ahead + (ptrdiff_t)steps * 16 : values;                                                    \
    }                                                                                                                  \
  }
#if REGISTERS == 32
TILES(8, 1)
TILES(8, 2)
TILES(8, 3)
TILES(6, 4)
#else
TILES(8, 1)
TILES(6, 2)
#endif

TARGET static void product(const float *src, const int32_t *row, int rows, const int32_t *step, const float *values, int steps, int v, int fresh, float *acc) {
  switch (v) {
  case 1: tiles1(src, row, rows, step, values, steps, fresh, acc); break;
  case 2: tiles2(src, row, rows, step, values, steps, fresh, acc); break;
#if REGISTERS == 32
  case 3: tiles3(src, row, rows, step, values, steps, fresh, acc); break;
  case 4: tiles4(src, row, rows, step, values, steps, fresh, acc); break;
#endif
  }
}

#if defined(__x86_64__) && LANES >= 8
// An 8 × 8 block: interleave pairs of rows, then pairs of pairs, then halves.
INLINE void block(const float *src, ptrdiff_t src_pitch, float *dst, ptrdiff_t dst_pitch) {
  __m256 a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(src + i * src_pitch);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(dst + i * dst_pitch, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(dst + (i + 4) * dst_pitch, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}
#else
INLINE void block(const float *src, ptrdiff_t src_pitch, float *dst, ptrdiff_t dst_pitch) {
  for (int c = 0; c < 8; c++)
    for (int r = 0; r < 8; r++) dst[c * dst_pitch + r] = src[r * src_pitch + c];
}
#endif

TARGET static void transpose(const float *src, ptrdiff_t src_pitch, int rows, int cols, float *dst, ptrdiff_t dst_pitch) {
  const int whole_rows = rows & ~7, whole_cols = cols & ~7;
  for (int c = 0; c < whole_cols; c += 8)
    for (int r = 0; r < whole_rows; r += 8) block(src + r * src_pitch + c, src_pitch, dst + c * dst_pitch + r, dst_pitch);
  for (int r = 0; r < rows; r++)
    for (int c = r < whole_rows ? whole_cols : 0; c < cols; c++) dst[c * dst_pitch + r] = src[r * src_pitch + c];
}
