// x̂ = (x − μ)·r, g = γ·dy over D elements of a row:
//
//	dx = r·(g − mean(g) − x̂·mean(g·x̂)),  dγ = Σ dy·x̂,  dβ = Σ dy over all rows
//
// A row belongs to a team of WARPS·32 threads, and a thread to the same columns of
// all its rows: VECTORS vectors each, WARPS·32 apart. dy and x are read and dx is
// written once; the sums over rows stay in registers until the block has done all
// of its rows. dx may be dy: a row is read as a whole before it is written.
#ifdef LAYER_NORM_GRAD
KERNEL(layer_norm_grad, THREADS, layer_norm_grad_args) {
  SHARED(shared);
  float *columns = (float *)shared;  // [2, D]
  const unsigned width = WARPS * 32, teams = THREADS / width, team = threadIdx.x / width, lane = threadIdx.x % width, all = a.vectors * LANES;
  float hats[VECTORS][LANES], ones[VECTORS][LANES];
#pragma unroll
  for (int k = 0; k < VECTORS; k++)
#pragma unroll
    for (int j = 0; j < LANES; j++) hats[k][j] = ones[k][j] = 0;

  for (unsigned base = blockIdx.x * teams; base < a.rows; base += gridDim.x * teams) {
    const unsigned row = base + team;
    const unsigned long long at = (unsigned long long)row * a.vectors;
    const float mean = row < a.rows ? a.mean[row] : 0, r = row < a.rows ? a.r[row] : 0;
    VECTOR kx[VECTORS], kd[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
      const unsigned v = lane + k * width;
      if (row < a.rows && v < a.vectors) {
        kx[k] = ((const VECTOR *)a.x)[at + v];
        kd[k] = ((const VECTOR *)a.dy)[at + v];
      }
    }
    float g = 0, g_hat = 0;
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
      const unsigned v = lane + k * width;
      if (row < a.rows && v < a.vectors) {
        const vector1 gamma = ((const vector1 *)a.scale)[v];
#pragma unroll
        for (int j = 0; j < LANES; j++) {
          const float hat = (WIDEN(kx[k].lane[j]) - mean) * r, d = WIDEN(kd[k].lane[j]);
          hats[k][j] += d * hat;
          ones[k][j] += d;
          g += d * gamma.lane[j];
          g_hat += d * gamma.lane[j] * hat;
        }
      }
    }
    g = (WARPS > 1 ? block_sum(g) : team_sum(g, 32)) / (float)all;
    g_hat = (WARPS > 1 ? block_sum(g_hat) : team_sum(g_hat, 32)) / (float)all;
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
      const unsigned v = lane + k * width;
      if (row < a.rows && v < a.vectors) {
        const vector1 gamma = ((const vector1 *)a.scale)[v];
        VECTOR out;
#pragma unroll
        for (int j = 0; j < LANES; j++) {
          const float hat = (WIDEN(kx[k].lane[j]) - mean) * r;
          out.lane[j] = NARROW(r * (WIDEN(kd[k].lane[j]) * gamma.lane[j] - g - hat * g_hat));
        }
        ((VECTOR *)a.dx)[at + v] = out;
      }
    }
  }
  if (!a.sums) return;

  // The teams' sums, in order.
  for (unsigned t = 0; t < teams; t++) {
    if (team == t)
#pragma unroll
      for (int k = 0; k < VECTORS; k++) {
        const unsigned v = lane + k * width;
        if (v < a.vectors)
#pragma unroll
          for (int j = 0; j < LANES; j++) {
            const unsigned c = v * LANES + j;
            columns[c] = hats[k][j] + (t > 0 ? columns[c] : 0);
            columns[all + c] = ones[k][j] + (t > 0 ? columns[all + c] : 0);
          }
      }
    __syncthreads();
  }
  for (unsigned c = threadIdx.x; c < 2 * all; c += THREADS) a.sums[(unsigned long long)blockIdx.x * 2 * all + c] = columns[c];
}
#endif
