#include "window.h"

#include <string.h>

int axis_base(const struct axis *a, int pos) {
  return a->backward ? (pos + a->pad) / a->stride : pos * a->stride - a->pad;
}

int axis_phases(const struct axis *a) { return a->backward ? a->stride : 1; }

int axis_phase(const struct axis *a, int pos) { return a->backward ? (pos + a->pad) % a->stride : 0; }

int axis_taps(const struct axis *a, int phase, int *index, int *shift) {
  int n = 0;
  for (int i = phase; i < a->kernel; i += axis_phases(a), n++) {
    index[n] = i;
    shift[n] = a->backward ? -(i / a->stride) : i;
  }
  return n;
}

// The least and the greatest displacement of any tap.
static int first(const struct axis *a) { return a->backward ? -((a->kernel - 1) / a->stride) : 0; }
static int last(const struct axis *a) { return a->backward ? 0 : a->kernel - 1; }

// extent is how many source positions the destination positions p0…p1−1 span.
static int extent(const struct axis *a, int p0, int p1) {
  return axis_base(a, p1 - 1) + last(a) - axis_base(a, p0) - first(a) + 1;
}

// inside cuts the positions begin…begin+count−1 to those that the source has.
static void inside(const struct axis *a, int begin, int count, int *before, int *from, int *inner) {
  *before = begin < 0 ? -begin : 0;
  *from = begin > 0 ? begin : 0;
  const int end = begin + count < a->source ? begin + count : a->source;
  *inner = end > *from ? end - *from : 0;
  if (!*inner) *before = *from = 0;
}

size_t window_segments(const struct view *v, int rows) { return (size_t)rows / v->y.dest + 2; }

struct window window_over(const struct view *v, int r0, int r1, struct segment *list) {
  const struct axis *y = &v->y;
  struct window w = {.view = v, .r0 = r0, .r1 = r1, .width = extent(&v->x, 0, v->x.dest), .segment = list};
  inside(&v->x, axis_base(&v->x, 0) + first(&v->x), w.width, &w.lead, &w.skip, &w.columns);
  for (int r = r0; r < r1; w.segments++) {
    const int start = r % y->dest, end = r - start + y->dest < r1 ? r - start + y->dest : r1;
    const int lines = extent(y, start, start + end - r);
    if (list) {
      struct segment *s = &list[w.segments];
      *s = (struct segment){.rows = end - r, .line = w.height, .base = axis_base(y, start) + first(y), .image = r / y->dest};
      inside(y, s->base, lines, &s->copy_line, &s->source_row, &s->source_rows);
      s->copy_line += w.height;
    }
    w.height += lines;
    r = end;
  }
  return w;
}

// copy_rows copies rows of n floats. The usual widths are written out, because
// a call for each row would cost more than the copy.
static inline void copy_rows(const float *src, int n, int rows, float *dst, int pitch, int source_pitch) {
#define COPY(bytes) \
  for (; rows > 0; rows--, src += source_pitch, dst += pitch) memcpy(dst, src, bytes)
  switch (n) {
  case 4: COPY(16); break;
  case 8: COPY(32); break;
  case 16: COPY(64); break;
  case 32: COPY(128); break;
  default: COPY(n * sizeof(float));
  }
#undef COPY
}

void window_copy(const struct window *w, const float *source, int c0, int c1, float *buffer) {
  const int pitch = w->view->x.source;
  const size_t plane = (size_t)pitch * w->view->y.source;
  for (int c = c0; c < c1; c++, buffer += (size_t)w->height * w->width) {
    for (int i = 0; i < w->segments; i++) {
      const struct segment *s = &w->segment[i];
      const float *src = source + ((size_t)s->image * w->view->channels + c) * plane + (size_t)s->source_row * pitch + w->skip;
      copy_rows(src, w->columns, s->source_rows, buffer + (size_t)s->copy_line * w->width + w->lead, w->width, pitch);
    }
  }
}

void window_pixels(const struct window *w, int32_t *offset) {
  const struct axis *y = &w->view->y, *x = &w->view->x;
  const int32_t *columns = offset;  // the first row's
  for (int i = 0, r = w->r0; i < w->segments; i++) {
    const struct segment *s = &w->segment[i];
    for (int j = 0; j < s->rows; j++, r++, offset += x->dest) {
      const int line = s->line + axis_base(y, r % y->dest) - s->base, least = -first(y);  // least: of the first row
      if (r == w->r0) {
        for (int X = 0; X < x->dest; X++) offset[X] = least * w->width + axis_base(x, X) - axis_base(x, 0) - first(x);
      } else {
        for (int X = 0; X < x->dest; X++) offset[X] = columns[X] + (line - least) * w->width;
      }
    }
  }
}
