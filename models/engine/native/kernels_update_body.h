// The optimizer's inner loop. Included after kernels_body.h.

TARGET static void adamw(const struct adamw_step *s, ptrdiff_t n, const float *const in[5], float *const out[4]) {
  const float *p = in[0], *g = in[1], *m = in[2], *v = in[3], *e = in[4];
  const vec clip = SPLAT(s->clip), mean = SPLAT(s->mean_rate), keep_square = SPLAT(s->square_keep), square = SPLAT(s->square_rate);
  const vec eps = SPLAT(s->eps), step = SPLAT(s->step), keep = SPLAT(s->keep), follow = SPLAT(s->follow);
  for (ptrdiff_t i = 0; i < n; i += LANES) {
    const ptrdiff_t left = n - i;
    const int whole = left >= LANES;
#define GET(x) (whole ? LOAD(x + i) : partial_load(x + i, left))
#define PUT(x, y)                    \
  if (whole) STORE((x) + i, y);      \
  else partial_store((x) + i, y, left)
    const vec grad = GET(g) * clip, m0 = GET(m), e0 = GET(e);
    const vec m1 = m0 + (grad - m0) * mean;
    const vec v1 = GET(v) * keep_square + grad * grad * square;
    const vec p1 = GET(p) * keep - m1 / (ROOT(v1) + eps) * step;
    PUT(out[0], p1);
    PUT(out[1], m1);
    PUT(out[2], v1);
    PUT(out[3], e0 - (e0 - p1) * follow);
#undef GET
#undef PUT
  }
}
