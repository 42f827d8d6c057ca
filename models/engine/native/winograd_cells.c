#include "winograd.h"

struct tiling tiling_forward(const struct conv *g) {
  return (struct tiling){
    .n = g->n, .channels = g->c, .source_h = g->h, .source_w = g->w, .dest_h = g->oh, .dest_w = g->ow,
    .y0 = -g->top, .x0 = -g->left, .rows = (g->oh + 1) / 2, .columns = (g->ow + 1) / 2,
  };
}

struct tiling tiling_backward(const struct conv *g) {
  return (struct tiling){
    .n = g->n, .channels = g->o, .source_h = g->oh, .source_w = g->ow, .dest_h = g->h, .dest_w = g->w,
    .y0 = g->top - 2, .x0 = g->left - 2, .rows = (g->h + 1) / 2, .columns = (g->w + 1) / 2,
  };
}

// image_end is the end of the part of an image that begins at tile row t.
static int image_end(const struct cells *c, int t) {
  const int end = (t / c->tiling->rows + 1) * c->tiling->rows;
  return end < c->t1 ? end : c->t1;
}

struct cells cells_over(const struct tiling *g, int t0, int t1) {
  struct cells c = {.tiling = g, .t0 = t0, .t1 = t1, .pitch = g->columns + 1};
  int lines = 0;
  for (int t = t0; t < t1; t = image_end(&c, t)) lines += image_end(&c, t) - t + 1;
  c.count = lines * c.pitch;
  c.slack = c.pitch + 2 * 16;  // one line down, one cell right, whole vectors
  return c;
}

int cells_tiles(const struct cells *c, int32_t *cell) {
  int n = 0, line = 0;
  for (int t = c->t0; t < c->t1; line++) {
    for (const int end = image_end(c, t); t < end; t++, line++)
      for (int x = 0; x < c->tiling->columns; x++) cell[n++] = line * c->pitch + x;
  }
  return n;
}

void cells_transform(const struct cells *c, const struct kernels *k, const float *source, int c0, int c1, float *planes, float *v, ptrdiff_t position, ptrdiff_t pitch) {
  const struct tiling *g = c->tiling;
  const size_t area = (size_t)g->source_h * g->source_w;
  const ptrdiff_t plane = c->count + c->slack;
  // The source's columns in a line of 2·pitch: some are left of it or right of it.
  const int before = g->x0 < 0 ? -g->x0 : 0, from = g->x0 > 0 ? g->x0 : 0;
  int n = g->source_w - from;
  if (n > 2 * c->pitch - before) n = 2 * c->pitch - before;
  for (int channel = c0; channel < c1; channel++, v += pitch) {
    for (int t = c->t0, line = 0; t < c->t1; line++) {
      const int start = t, end = image_end(c, t);
      const float *image = source + ((size_t)(t / g->rows) * g->channels + channel) * area;
      const int first = 2 * (start % g->rows) + g->y0;  // source row of the first line
      int i0 = first < 0 ? -first : 0, i1 = 2 * (end - start + 1);
      if (i1 > g->source_h - first) i1 = g->source_h - first;
      if (i0 < i1 && n > 0) {
        const float *rows = image + (size_t)(first + i0) * g->source_w + from;
        float *even = planes + line * c->pitch + before / 2, *odd = even + plane;
        if (before & 1) k->split(rows, g->source_w, i0, i1, n, odd, even + 1, plane, c->pitch);
        else k->split(rows, g->source_w, i0, i1, n, even, odd, plane, c->pitch);
        // The next channel's rows lie in another page, where no hardware looks.
        if (channel + 1 < c1)
          for (ptrdiff_t at = 0; at < (ptrdiff_t)(i1 - i0) * g->source_w; at += 16) __builtin_prefetch(rows + area + at);
      }
      line += end - start;
      t = end;
    }
    k->tiles_in(planes, plane, c->pitch, c->count, v, position);
  }
}
