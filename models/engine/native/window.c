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

// segment gives the part of one image that begins at row r: its end, and how
// many window rows it takes.
static int segment(const struct window *w, int r, int *rows) {
  const struct axis *y = &w->view->y;
  const int start = r % y->dest;
  int end = r - start + y->dest;
  if (end > w->r1) end = w->r1;
  *rows = extent(y, start, start + end - r);
  return end;
}

struct window window_over(const struct view *v, int r0, int r1) {
  struct window w = {.view = v, .r0 = r0, .r1 = r1, .width = extent(&v->x, 0, v->x.dest)};
  for (int r = r0, rows; r < r1; w.height += rows) r = segment(&w, r, &rows);
  return w;
}

static void copy_row(const struct window *w, const float *row, float *dst) {
  const struct axis *x = &w->view->x;
  const int begin = axis_base(x, 0) + first(x);  // source column of the window's first
  const int lead = begin < 0 ? -begin : 0, skip = begin > 0 ? begin : 0;
  int count = x->source - skip;
  if (count > w->width - lead) count = w->width - lead;
  if (count < 0) count = 0;
  for (int i = 0; i < lead && i < w->width; i++) dst[i] = 0;
  if (count) memcpy(dst + lead, row + skip, count * sizeof(float));
  for (int i = lead + count; i < w->width; i++) dst[i] = 0;
}

void window_copy(const struct window *w, const float *source, int c0, int c1, float *buffer) {
  const struct axis *y = &w->view->y;
  const size_t pitch = w->view->x.source, plane = pitch * y->source;
  for (int c = c0; c < c1; c++) {
    for (int r = w->r0, rows; r < w->r1;) {
      const float *image = source + ((size_t)(r / y->dest) * w->view->channels + c) * plane;
      const int top = axis_base(y, r % y->dest) + first(y);
      r = segment(w, r, &rows);
      for (int i = 0; i < rows; i++, buffer += w->width) {
        if (top + i < 0 || top + i >= y->source) memset(buffer, 0, w->width * sizeof(float));
        else copy_row(w, image + (top + i) * pitch, buffer);
      }
    }
  }
}

void window_pixels(const struct window *w, int32_t *offset) {
  const struct axis *y = &w->view->y, *x = &w->view->x;
  const int32_t *columns = offset;  // the first row's, whose line is known below
  int above = 0;
  for (int start = w->r0, rows, end; start < w->r1; start = end, above += rows) {
    end = segment(w, start, &rows);
    const int top = axis_base(y, start % y->dest) + first(y);
    for (int r = start; r < end; r++, offset += x->dest) {
      const int line = above + axis_base(y, r % y->dest) - top;
      for (int X = 0; X < x->dest; X++) {
        if (r == w->r0) offset[X] = axis_base(x, X) - axis_base(x, 0) - first(x) - first(y) * w->width;
        else offset[X] = columns[X] + (line + first(y)) * w->width;
      }
    }
  }
}
