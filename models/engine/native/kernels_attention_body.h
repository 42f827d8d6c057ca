// The inner loops of attention's softmax. Included after kernels_norm_body.h's
// helpers.

TARGET static float softmax(float *x, const int32_t *at, const int32_t *count, int pieces, float scale, float *shift) {
  vec m = SPLAT(-__builtin_inff());
  float most = -__builtin_inff();
  for (int k = 0; k < pieces; k++) {
    const float *p = x + at[k];
    int i = 0;
    for (; i + LANES <= count[k]; i += LANES) m = GREATEST(m, LOAD(p + i));
    for (; i < count[k]; i++)
      if (p[i] > most) most = p[i];
  }
  float part[LANES];
  STORE(part, m);
  for (int j = 0; j < LANES; j++)
    if (part[j] > most) most = part[j];
  const float by = *shift = scale * most;
  const vec a = SPLAT(scale), b = SPLAT(by);
  vec sum = SPLAT(0.0f);
  float rest = 0;
  for (int k = 0; k < pieces; k++) {
    float *p = x + at[k];
    int i = 0;
    for (; i + LANES <= count[k]; i += LANES) {
      const vec e = exponential(LOAD(p + i) * a - b);
      STORE(p + i, e);
      sum += e;
    }
    if (i < count[k]) {
      partial_store(p + i, exponential(partial_load(p + i, count[k] - i) * a - b), count[k] - i);
      for (; i < count[k]; i++) rest += p[i];
    }
  }
  return total(sum) + rest;
}

TARGET static void softmax_grad(float *p, float *dp, int rows, int pitch, int n, float scale, const float *shift, const float *delta) {
  const vec a = SPLAT(scale);
  for (int r = 0; r < rows; r++, p += pitch, dp += pitch) {
    const float by = shift[r], less = delta[r];
    const vec b = SPLAT(by), d = SPLAT(less);
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
      const vec e = exponential(LOAD(p + i) * a - b);
      STORE(p + i, e);
      STORE(dp + i, e * (LOAD(dp + i) - d) * a);
    }
    if (i < n) {
      const vec e = exponential(partial_load(p + i, n - i) * a - b);
      partial_store(p + i, e, n - i);
      partial_store(dp + i, e * (partial_load(dp + i, n - i) - d) * a, n - i);
    }
  }
}
