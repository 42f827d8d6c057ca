// The gradient of a convolution's weight, with output channels in the lanes:
//
//   dW[o, c, i, j] = Σ_{n, Y, X} dy[n, o, Y, X] · x[n, c, s·Y + i − top, s·X + j − left]
//
// The pixels are the steps of the product, (c, i, j) its rows:
//
//   a task   a block of output channels × a range of input channels × a share
//            of the batch:
//     for each run of destination rows
//       copy x's window                       (second cache)
//       for each chunk of pixels: transpose dy to [pixel][lane], multiply
//                                             (nearest cache)
//   then     add the shares in order, transpose to [o, c, i, j]
//
// The shares depend on the shapes alone, so the sum's order does too.
// Where o would leave most lanes empty (an output convolution), x and dy change
// places: dy is seen from x's pixels as in the backward view (window.h).
#include <string.h>

#include "conv.h"
#include "weight_sums.h"
#include "window.h"
#include "winograd.h"

enum {
  CHUNK = 128,          // pixels: 32 KB of values in 64 lanes
  RUN = 512,            // pixels of a window
  RANGE = 64 * 9,       // rows (channels × taps) of a task
  WANTED = 8,           // tasks, before the batch is shared out
};

struct weigh {
  struct weight_sums sums;
  struct view view;  // from the lanes' tensor to the rows' tensor
  int kw;
  const float *rows, *values;
  int run;           // destination rows at a time
};

static size_t align16(size_t n) { return (n + 15) & ~(size_t)15; }

static size_t run_pixels(const struct weigh *w) { return (size_t)w->run * w->view.x.dest; }

// values_copy transposes pixels q0…q1−1 of rows r0… into [pixel][lane].
static void values_copy(const struct weigh *w, int block, int r0, int q0, int q1, float *dst) {
  const int width = lanes_width(&w->sums.lanes, block), used = lanes_channels(&w->sums.lanes, block);
  const int plane = w->view.y.dest * w->view.x.dest;
  const int64_t first = (int64_t)r0 * w->view.x.dest;
  for (int64_t q = first + q0, end; q < first + q1; q = end) {
    const int64_t image = q / plane;
    end = (image + 1) * plane < first + q1 ? (image + 1) * plane : first + q1;
    const float *src = w->values + ((size_t)image * w->sums.lanes.channels + lanes_first(&w->sums.lanes, block)) * plane + (q - image * plane);
    w->sums.crew->kernels->transpose(src, plane, used, (int)(end - q), dst, width);
    for (int64_t i = 0; used < width && i < end - q; i++) memset(dst + i * width + used, 0, (width - used) * sizeof(float));
    dst += (end - q) * width;
  }
}

static void weigh_task(const void *arg, float *scratch, size_t i) {
  const struct weigh *w = arg;
  const struct kernels *kernels = w->sums.crew->kernels;
  const int block = (int)(i % w->sums.lanes.blocks), range = (int)(i / w->sums.lanes.blocks % w->sums.ranges), share = (int)(i / w->sums.lanes.blocks / w->sums.ranges);
  const int c0 = range * w->sums.range, c1 = c0 + w->sums.range < w->sums.channels ? c0 + w->sums.range : w->sums.channels;
  const int n0 = (int)((int64_t)w->view.n * share / w->sums.shares), n1 = (int)((int64_t)w->view.n * (share + 1) / w->sums.shares);
  const int vectors = lanes_vectors(&w->sums.lanes, block), width = lanes_width(&w->sums.lanes, block);
  const int height = w->view.y.dest, columns = w->view.x.dest;
  const int rows = (c1 - c0) * w->sums.taps, padded = round_up(rows, kernels->tile[vectors]);

  int32_t *row = (int32_t *)scratch;
  int32_t *step = row + align16(weight_sums_rows(&w->sums));
  struct segment *segment = (struct segment *)(step + align16(run_pixels(w)));
  float *values = (float *)(segment + align16(window_segments(&w->view, w->run)));
  float *window = values + (size_t)CHUNK * width;
  struct window view = {0};
  float *sums = weight_sums_at(&w->sums, share, range, block);
  memset(sums, 0, weight_sums_rows(&w->sums) * width * sizeof(float));

  const int kh = w->sums.taps / w->kw;
  int iy[kh], ix[w->kw], dy[kh], dx[w->kw];
  axis_taps(&w->view.y, 0, iy, dy);
  axis_taps(&w->view.x, 0, ix, dx);
  for (int r0 = n0 * height; r0 < n1 * height; r0 += w->run) {
    const int r1 = r0 + w->run < n1 * height ? r0 + w->run : n1 * height;
    const int height_before = view.height;
    view = window_over(&w->view, r0, r1, segment);
    // Runs of whole images have their zeros in the same places.
    if (view.height != height_before || w->run % height) memset(window, 0, (size_t)(c1 - c0) * view.height * view.width * sizeof(float));
    window_copy(&view, w->rows, c0, c1, window);
    window_pixels(&view, step);
    for (int q = 0; q < padded; q++) {
      const int k = q < rows ? q : 0, t = k % w->sums.taps;
      row[q] = (k / w->sums.taps * view.height + dy[t / w->kw]) * view.width + dx[t % w->kw];
    }
    const int pixels = (r1 - r0) * columns;
    for (int q0 = 0; q0 < pixels; q0 += CHUNK) {
      const int q1 = q0 + CHUNK < pixels ? q0 + CHUNK : pixels;
      values_copy(w, block, r0, q0, q1, values);
      kernels->product(window, row, padded, step + q0, values, q1 - q0, vectors, 0, sums);
    }
  }
}

static void plan(struct weigh *w) {
  w->sums.range = RANGE / w->sums.taps > 1 ? RANGE / w->sums.taps : 1;
  if (w->sums.range > w->sums.channels) w->sums.range = w->sums.channels;
  w->sums.ranges = (w->sums.channels + w->sums.range - 1) / w->sums.range;
  const int tasks = w->sums.ranges * w->sums.lanes.blocks;
  w->sums.shares = tasks >= WANTED ? 1 : (WANTED + tasks - 1) / tasks;
  if (w->sums.shares > w->view.n) w->sums.shares = w->view.n;
  const int columns = w->view.x.dest, height = w->view.y.dest, image = height * columns;
  if (image <= RUN) {
    w->run = RUN / image * height;
  } else {
    const int parts = (image + RUN - 1) / RUN;
    w->run = (height + parts - 1) / parts;
  }
  const int most = (w->view.n + w->sums.shares - 1) / w->sums.shares * height;
  if (w->run > most) w->run = most;
}

const char *conv_weight_grad(const struct crew *crew, const struct conv *g, const float *x, const float *dy, float *dweight) {
  if (winograd_fits(g, crew->kernels)) return winograd_weight_grad(crew, g, x, dy, dweight);
  struct weigh w = {.sums = {.crew = crew, .dweight = dweight, .taps = g->kh * g->kw}, .kw = g->kw};
  w.sums.swapped = g->stride_h == 1 && g->stride_w == 1 && g->o < crew->kernels->lanes && g->o < g->c;
  if (w.sums.swapped) {
    w.rows = dy, w.values = x, w.sums.channels = g->o, w.sums.lanes = lanes_of(crew->kernels, g->c);
    w.view = (struct view){.n = g->n, .channels = g->o, .y = {g->oh, g->h, g->kh, 1, g->top, 1}, .x = {g->ow, g->w, g->kw, 1, g->left, 1}};
  } else {
    w.rows = x, w.values = dy, w.sums.channels = g->c, w.sums.lanes = lanes_of(crew->kernels, g->o);
    w.view = (struct view){.n = g->n, .channels = g->c, .y = {g->h, g->oh, g->kh, g->stride_h, g->top, 0}, .x = {g->w, g->ow, g->kw, g->stride_w, g->left, 0}};
  }
  plan(&w);
  // The tallest window has a halo at each image's start and end.
  size_t window = 0;
  for (int share = 0; share < w.sums.shares; share++) {
    const int height = w.view.y.dest, n = w.view.n, shares = w.sums.shares;
    const int end = (int)((int64_t)n * (share + 1) / shares) * height;
    for (int r = (int)((int64_t)n * share / shares) * height; r < end; r += w.run) {
      const struct window v = window_over(&w.view, r, r + w.run < end ? r + w.run : end, NULL);
      const size_t size = (size_t)v.height * v.width;
      if (size > window) window = size;
    }
  }
  const size_t floats = align16(weight_sums_rows(&w.sums)) + align16(run_pixels(&w)) +
                        align16(window_segments(&w.view, w.run)) * sizeof(struct segment) / sizeof(float) +
                        (size_t)CHUNK * crew->kernels->vectors * crew->kernels->lanes + window * w.sums.range;
  const char *err = weight_sums_alloc(&w.sums);
  if (err) return err;
  err = crew_run(crew, (size_t)w.sums.lanes.blocks * w.sums.ranges * w.sums.shares, floats, weigh_task, &w);
  if (!err) err = weight_sums_finish(&w.sums);
  weight_sums_free(&w.sums);
  return err;
}
