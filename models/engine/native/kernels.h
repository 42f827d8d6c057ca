// The inner loops, one set an instruction set. Everything above them is plain
// C that knows the width of a vector only as a number.
#ifndef IMMISCIBLE_NATIVE_KERNELS_H
#define IMMISCIBLE_NATIVE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_VECTORS = 4, MAX_TILE = 24 };

// One AdamW update's numbers, the same for every element.
struct adamw_step {
  float clip;                      // factor of the gradient
  float mean_rate;                 // 1 − β1
  float square_keep, square_rate;  // β2, 1 − β2
  float eps, step;                 // ε·√c2, lr·√c2/c1: p −= step·m/(√v + eps)
  float keep;                      // 1 − lr·λ
  float follow;                    // 1 − d, the average's rate
};

// Which elements dropout keeps. Element e of the example at position p stays if word
// e mod 4 of Philox4x32-10's block (⌊e/4⌋, p), lower half first, under key is most or
// less: datasets/rng's stream of (seed, name, p).
struct dropout {
  uint64_t key;
  uint32_t most;
  float scale;
};

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
  // machine has none). rows is a multiple of tile[v]. If fresh, acc is set, not
  // added to.
  void (*product)(const float *src, const int32_t *row, int rows, const int32_t *step, const float *values, int steps, int v, int fresh, float *acc);

  // transpose sets dst[c·dstPitch + r] = src[r·srcPitch + c].
  void (*transpose)(const float *src, ptrdiff_t src_pitch, int rows, int cols, float *dst, ptrdiff_t dst_pitch);

  // Winograd's transforms, in winograd.h's terms. Position k of a tile lies
  // k·position floats after position 0.
  // split takes rows i0…i1−1 of n floats, the first one at src, apart by the
  // parity of row and column. Column 0 of row i goes to
  // even + 2·(i mod 2)·plane + ⌊i/2⌋·pitch, column 1 to that place from odd.
  void (*split)(const float *src, ptrdiff_t src_pitch, int i0, int i1, int n, float *even, float *odd, ptrdiff_t plane, ptrdiff_t pitch);
  // tiles_in is Bᵀ d B of n cells; it reads and writes whole vectors.
  void (*tiles_in)(const float *cells, ptrdiff_t plane, ptrdiff_t pitch, int n, float *v, ptrdiff_t position);
  // weight_in is G g Gᵀ of g [9][width].
  void (*weight_in)(const float *g, int width, float *u, ptrdiff_t position);
  // tiles_out is Aᵀ m A + bias (or NULL) of one tile: two pixels [2][width] in
  // each of two rows.
  void (*tiles_out)(const float *m, ptrdiff_t position, int width, const float *bias, float *top, float *bottom);
  // grad_in is G₂ δ G₂ᵀ without the halves, weight_out A₃ᵀ m A₃ with them.
  void (*grad_in)(const float *top, const float *bottom, int width, float *d, ptrdiff_t position);
  void (*weight_out)(const float *m, ptrdiff_t position, int width, float *dw);

  // The rest is about groups: x is [channels, n], contiguous.
  // moments gives mean and population variance of n floats.
  void (*moments)(const float *x, ptrdiff_t n, float *mean, float *variance);
  // y = x̂·scale[c] + bias[c] for x̂ = (x − mean)·r, then SiLU if silu.
  void (*normalize)(const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, const float *bias, int silu, float *y);
  // sum[c] = Σ dz and sum_hat[c] = Σ dz·x̂, where dz is dy, or if silu dy taken
  // back through SiLU, and then written out (dz may be dy).
  void (*normalize_sums)(const float *dy, const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, const float *bias, int silu, float *dz, float *sum, float *sum_hat);
  // dx = r·scale[c]·dz − by_hat·x̂ − by_one + addend (or NULL); dx may be dz.
  void (*normalize_grad)(const float *dz, const float *x, int channels, ptrdiff_t n, float mean, float r, const float *scale, float by_hat, float by_one, const float *addend, float *dx);
  // dx = dy·(s + αx·s·(1 − s)) for s = σ(αx); dx may be dy.
  void (*gelu_grad)(const float *dy, const float *x, ptrdiff_t n, float alpha, float *dx);
  // dropout takes n elements of the example at position, from its block on: y is
  // x·scale for those that stay and 0 for the others; y may be x.
  void (*dropout)(const struct dropout *, uint64_t position, uint64_t block, const float *x, ptrdiff_t n, float *y);

  // Attention's softmax, of a row that lies in pieces: piece i is count[i] floats
  // at x + at[i]. It puts e^(scale·(x − greatest)) into x; *shift becomes
  // scale·greatest. Returns the sum.
  float (*softmax)(float *x, const int32_t *at, const int32_t *count, int pieces, float scale, float *shift);
  // softmax_grad puts P = e^(scale·p − shift[r]) into row r of p and
  // scale·P·(dp − delta[r]) into dp's: n floats each, pitch apart.
  void (*softmax_grad)(float *p, float *dp, int rows, int pitch, int n, float scale, const float *shift, const float *delta);

  // adamw takes n elements of params, grads, exp_avg, exp_avg_sq, ema_params to
  // the new params, exp_avg, exp_avg_sq, ema_params, which may lie over them.
  void (*adamw)(const struct adamw_step *, ptrdiff_t n, const float *const in[5], float *const out[4]);
};

extern const struct kernels kernels_generic;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512;
#endif

// kernels_find gives the set of that name ("avx512", "avx2", "generic"), or
// the best one for NULL; NULL where this machine cannot run it.
const struct kernels *kernels_find(const char *name);

#endif
