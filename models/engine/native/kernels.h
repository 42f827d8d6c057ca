// The inner loops, one set an instruction set. Everything above them is plain
// C that knows the width of a vector only as a number.
#ifndef IMMISCIBLE_NATIVE_KERNELS_H
#define IMMISCIBLE_NATIVE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_VECTORS = 4, MAX_TILE = 24 };

struct kernels {
  const char *name;
  int lanes;                  // floats in a vector
  int vectors;                // widest row of accumulators, in vectors
  int tile[MAX_VECTORS + 1];  // tile[v]: rows of a tile that is v vectors wide

  // product adds to the rows × (v·lanes) matrix acc, row after row,
  //
  //   acc[r][·] += Σ_k src[row[r] + step[k]] · values[k][·]
  //
  // k ascending, one fused multiply-add a term (two roundings where the
  // machine has none). rows is a multiple of tile[v].
  void (*product)(const float *src, const int32_t *row, int rows, const int32_t *step, const float *values, int steps, int v, float *acc);

  // transpose sets dst[c·dstPitch + r] = src[r·srcPitch + c].
  void (*transpose)(const float *src, ptrdiff_t src_pitch, int rows, int cols, float *dst, ptrdiff_t dst_pitch);
};

extern const struct kernels kernels_generic;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512;
#endif

// kernels_find gives the set of that name ("avx512", "avx2", "generic"), or
// the best one for NULL; NULL where this machine cannot run it.
const struct kernels *kernels_find(const char *name);

#endif
