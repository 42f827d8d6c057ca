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
#include "lanes.h"
#include "window.h"

enum {
  CHUNK = 128,          // pixels: 32 KB of values in 64 lanes
  RUN = 512,            // pixels of a window
  RANGE = 64 * 9,       // rows (channels × taps) of a task
  WANTED = 8,           // tasks, before the batch is shared out
  ROWS_PADDING = 24,
};

struct weigh {
  const struct crew *crew;
  struct view view;       // from the lanes' tensor to the rows' tensor
  struct lanes lanes;
  int channels, taps, kw; // of the rows' tensor; kh·kw
  int swapped;
  const float *rows, *values;
  float *dweight, *partial;
  int range, ranges;      // channels of a task
  int shares;
  int run;                // destination rows at a time
};

static size_t padded_rows(const struct weigh *w) { return round_up(w->range * w->taps, ROWS_PADDING); }

// partial_at is where a task's sums [rows][lanes] are.
static float *partial_at(const struct weigh *w, int share, int range, int block) {
  const size_t all = padded_rows(w) * w->lanes.vectors * w->lanes.vector;
  return w->partial + ((size_t)share * w->ranges + range) * all + padded_rows(w) * lanes_first(&w->lanes, block);
}

static size_t align16(size_t n) { return (n + 15) & ~(size_t)15; }

static size_t run_pixels(const struct weigh *w) { return (size_t)w->run * w->view.x.dest; }

// values_copy transposes pixels q0…q1−1 of rows r0… into [pixel][lane].
static void values_copy(const struct weigh *w, int block, int r0, int q0, int q1, float *dst) {
  const int width = lanes_width(&w->lanes, block), used = lanes_channels(&w->lanes, block);
  const int plane = w->view.y.dest * w->view.x.dest;
  const int64_t first = (int64_t)r0 * w->view.x.dest;
  for (int64_t q = first + q0, end; q < first + q1; q = end) {
    const int64_t image = q / plane;
    end = (image + 1) * plane < first + q1 ? (image + 1) * plane : first + q1;
    const float *src = w->values + ((size_t)image * w->lanes.channels + lanes_first(&w->lanes, block)) * plane + (q - image * plane);
    w->crew->kernels->transpose(src, plane, used, (int)(end - q), dst, width);
    for (int64_t i = 0; used < width && i < end - q; i++) memset(dst + i * width + used, 0, (width - used) * sizeof(float));
    dst += (end - q) * width;
  }
}

static void weigh_task(const void *arg, float *scratch, size_t i) {
  const struct weigh *w = arg;
  const struct kernels *kernels = w->crew->kernels;
  const int block = (int)(i % w->lanes.blocks), range = (int)(i / w->lanes.blocks % w->ranges), share = (int)(i / w->lanes.blocks / w->ranges);
  const int c0 = range * w->range, c1 = c0 + w->range < w->channels ? c0 + w->range : w->channels;
  const int n0 = (int)((int64_t)w->view.n * share / w->shares), n1 = (int)((int64_t)w->view.n * (share + 1) / w->shares);
  const int vectors = lanes_vectors(&w->lanes, block), width = lanes_width(&w->lanes, block);
  const int height = w->view.y.dest, columns = w->view.x.dest;
  const int rows = (c1 - c0) * w->taps, padded = round_up(rows, kernels->tile[vectors]);

  int32_t *row = (int32_t *)scratch;
  int32_t *step = row + align16(padded_rows(w));
  struct segment *segment = (struct segment *)(step + align16(run_pixels(w)));
  float *values = (float *)(segment + align16(window_segments(&w->view, w->run)));
  float *window = values + (size_t)CHUNK * width;
  struct window view = {0};
  float *sums = partial_at(w, share, range, block);
  memset(sums, 0, padded_rows(w) * width * sizeof(float));

  const int kh = w->taps / w->kw;
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
      const int k = q < rows ? q : 0, t = k % w->taps;
      row[q] = (k / w->taps * view.height + dy[t / w->kw]) * view.width + dx[t % w->kw];
    }
    const int pixels = (r1 - r0) * columns;
    for (int q0 = 0; q0 < pixels; q0 += CHUNK) {
      const int q1 = q0 + CHUNK < pixels ? q0 + CHUNK : pixels;
      values_copy(w, block, r0, q0, q1, values);
      kernels->product(window, row, padded, step + q0, values, q1 - q0, vectors, sums);
    }
  }
}

// gather_task adds the shares of one block and range, and writes the result.
static void gather_task(const void *arg, float *scratch, size_t i) {
  const struct weigh *w = arg;
  const int block = (int)(i % w->lanes.blocks), range = (int)(i / w->lanes.blocks);
  const int c0 = range * w->range, channels = c0 + w->range < w->channels ? w->range : w->channels - c0;
  const int width = lanes_width(&w->lanes, block), used = lanes_channels(&w->lanes, block), first = lanes_first(&w->lanes, block);
  const int rows = channels * w->taps;
  float *sums = partial_at(w, 0, range, block);
  for (int share = 1; share < w->shares; share++) {
    const float *more = partial_at(w, share, range, block);
    for (size_t k = 0; k < (size_t)rows * width; k++) sums[k] += more[k];
  }
  if (!w->swapped) {
    const size_t pitch = (size_t)w->channels * w->taps;
    w->crew->kernels->transpose(sums, width, rows, used, w->dweight + first * pitch + (size_t)c0 * w->taps, pitch);
    return;
  }
  // Rows are (o, tap) and lanes are c.
  for (int o = 0; o < channels; o++) {
    float *dst = w->dweight + ((size_t)(c0 + o) * w->lanes.channels + first) * w->taps;
    w->crew->kernels->transpose(sums + (size_t)o * w->taps * width, width, w->taps, used, dst, w->taps);
  }
  (void)scratch;
}

static void plan(struct weigh *w) {
  w->range = RANGE / w->taps > 1 ? RANGE / w->taps : 1;
  if (w->range > w->channels) w->range = w->channels;
  w->ranges = (w->channels + w->range - 1) / w->range;
  const int tasks = w->ranges * w->lanes.blocks;
  w->shares = tasks >= WANTED ? 1 : (WANTED + tasks - 1) / tasks;
  if (w->shares > w->view.n) w->shares = w->view.n;
  const int columns = w->view.x.dest, height = w->view.y.dest, image = height * columns;
  if (image <= RUN) {
    w->run = RUN / image * height;
  } else {
    const int parts = (image + RUN - 1) / RUN;
    w->run = (height + parts - 1) / parts;
  }
  const int most = (w->view.n + w->shares - 1) / w->shares * height;
  if (w->run > most) w->run = most;
}

const char *conv_weight_grad(const struct crew *crew, const struct conv *g, const float *x, const float *dy, float *dweight) {
  struct weigh w = {.crew = crew, .dweight = dweight, .taps = g->kh * g->kw, .kw = g->kw};
  w.swapped = g->stride_h == 1 && g->stride_w == 1 && g->o < crew->kernels->lanes && g->o < g->c;
  if (w.swapped) {
    w.rows = dy, w.values = x, w.channels = g->o, w.lanes = lanes_of(crew->kernels, g->c);
    w.view = (struct view){.n = g->n, .channels = g->o, .y = {g->oh, g->h, g->kh, 1, g->top, 1}, .x = {g->ow, g->w, g->kw, 1, g->left, 1}};
  } else {
    w.rows = x, w.values = dy, w.channels = g->c, w.lanes = lanes_of(crew->kernels, g->o);
    w.view = (struct view){.n = g->n, .channels = g->c, .y = {g->h, g->oh, g->kh, g->stride_h, g->top, 0}, .x = {g->w, g->ow, g->kw, g->stride_w, g->left, 0}};
  }
  plan(&w);
  // The tallest window has a halo at each image's start and end.
  size_t window = 0;
  const int all = w.view.n * w.view.y.dest;
  for (int share = 0; share < w.shares; share++) {
    const int n0 = (int)((int64_t)w.view.n * share / w.shares), n1 = (int)((int64_t)w.view.n * (share + 1) / w.shares);
    for (int r = n0 * w.view.y.dest; r < n1 * w.view.y.dest; r += w.run) {
      const int end = n1 * w.view.y.dest < all ? n1 * w.view.y.dest : all;
      const struct window v = window_over(&w.view, r, r + w.run < end ? r + w.run : end, NULL);
      const size_t size = (size_t)v.height * v.width;
      if (size > window) window = size;
    }
  }
  const size_t floats = align16(padded_rows(&w)) + align16(run_pixels(&w)) +
                        align16(window_segments(&w.view, w.run)) * sizeof(struct segment) / sizeof(float) + (size_t)CHUNK * crew->kernels->vectors * crew->kernels->lanes + window * w.range;
  w.partial = crew->alloc(crew->self, (size_t)w.shares * w.ranges * padded_rows(&w) * w.lanes.vectors * w.lanes.vector * sizeof(float));
  if (!w.partial) return "out of memory for partial sums: use a smaller micro_batch";
  const char *err = crew_run(crew, (size_t)w.lanes.blocks * w.ranges * w.shares, floats, weigh_task, &w);
  if (!err) err = crew_run(crew, (size_t)w.lanes.blocks * w.ranges, 0, gather_task, &w);
  crew->release(crew->self, w.partial);
  return err;
}
