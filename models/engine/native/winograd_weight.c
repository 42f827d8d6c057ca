// The gradient of a 3 × 3 weight from tiles (winograd.h), output channels in
// the lanes, tiles as the steps of the product, input channels as its rows.
//
//   a task   some blocks of output channels × a range of input channels × a
//            share of the tile rows:
//     for each run of tile rows
//       Bᵀ x B → v [position][channel][cell]                    (second cache)
//       for each block: G₂ dy G₂ᵀ → d [position][tile][lane],
//         for each position: the product, added to
//         m [position][channel][lane]                           (second cache)
//     A₃ᵀ m A₃ → sums [channel, tap][lane]
//   then     the shares are added in order (weight_sums.h)
//
// The shares depend on the shapes alone, so the sum's order does too.
#include <string.h>

#include "weight_sums.h"
#include "winograd.h"

enum {
  STEPS = 96,          // tiles of a product: 24 KB of values in 64 lanes
  INPUTS = 128 * 1024, // floats of v
  MOST_TILES = 384,
  RANGE = 64,          // input channels of a task
  GROUP = 2,           // blocks of a task
  WANTED = 8,          // tasks, before the tile rows are shared out
  PADDING = 24,        // rows of a product's tile, of any width, divide this
};

struct weight_grad {
  struct weight_sums sums;
  struct tiling tiling;
  const float *x, *dy;
  int out;    // output channels
  int group;  // blocks of a task
  int run;    // tile rows at a time
};

static size_t align16(size_t n) { return (n + 15) & ~(size_t)15; }

// A task's scratch, cut into its parts.
struct parts {
  size_t total;
  size_t cell, row, planes, v, d, m, pixels;  // where each begins
  ptrdiff_t pitch, position, d_position, m_position;
};

static struct parts parts_of(const struct weight_grad *w) {
  // A run that begins inside an image takes one more line.
  const struct tiling *g = &w->tiling;
  const int lines = w->run + w->run / g->rows + 2, most = w->sums.crew->kernels->vectors * w->sums.lanes.vector;
  const int count = lines * (g->columns + 1), tiles = w->run * g->columns;
  struct parts p = {.pitch = round_up(count, 16)};  // as in winograd.c
  p.position = p.pitch * w->sums.range + 16;
  p.d_position = (ptrdiff_t)tiles * most;
  p.m_position = (ptrdiff_t)round_up(w->sums.range, PADDING) * most;
  size_t at = 0;
  p.cell = at, at += align16(tiles);
  p.row = at, at += align16(round_up(w->sums.range, PADDING));
  p.planes = at, at += align16(4 * ((size_t)count + g->columns + 1 + 2 * 16));
  p.v = at, at += align16(POSITIONS * (size_t)p.position);
  p.d = at, at += align16(POSITIONS * (size_t)p.d_position);
  p.m = at, at += align16(POSITIONS * (size_t)p.m_position * w->group);
  p.pixels = at, at += align16(4 * (size_t)g->columns * most);
  p.total = at;
  return p;
}

// grad_tiles fills d from dy for one block of a run.
static void grad_tiles(const struct weight_grad *w, int t0, int t1, int block, float *pixels, float *d, ptrdiff_t position) {
  const struct tiling *g = &w->tiling;
  const struct kernels *k = w->sums.crew->kernels;
  const struct lanes *lanes = &w->sums.lanes;
  const int width = lanes_width(lanes, block), used = lanes_channels(lanes, block), first = lanes_first(lanes, block);
  const size_t area = (size_t)g->dest_h * g->dest_w, line = 2 * (size_t)g->columns * width;
  if (used < width || g->dest_w % 2) memset(pixels, 0, 2 * line * sizeof(float));
  for (int t = t0; t < t1; t++) {
    const int y = 2 * (t % g->rows), rows = g->dest_h - y < 2 ? 1 : 2;
    const float *src = w->dy + ((size_t)(t / g->rows) * w->out + first) * area + (size_t)y * g->dest_w;
    if (g->dest_w % 2 == 0) {
      k->transpose(src, area, used, rows * g->dest_w, pixels, width);
    } else {
      for (int r = 0; r < rows; r++) k->transpose(src + r * g->dest_w, area, used, g->dest_w, pixels + r * line, width);
    }
    if (rows == 1) memset(pixels + line, 0, line * sizeof(float));
    for (int x = 0; x < g->columns; x++, d += width) k->grad_in(pixels + 2 * x * width, pixels + line + 2 * x * width, width, d, position);
  }
}

static void weight_task(const void *arg, float *scratch, size_t i) {
  const struct weight_grad *w = arg;
  const struct weight_sums *s = &w->sums;
  const struct kernels *k = s->crew->kernels;
  const struct tiling *g = &w->tiling;
  const int groups = (s->lanes.blocks + w->group - 1) / w->group, all = g->n * g->rows;
  const int range = (int)(i / groups % s->ranges), share = (int)(i / groups / s->ranges);
  const int b0 = (int)(i % groups) * w->group, b1 = b0 + w->group < s->lanes.blocks ? b0 + w->group : s->lanes.blocks;
  const int c0 = range * s->range, c1 = c0 + s->range < s->channels ? c0 + s->range : s->channels;
  const int begin = (int)((int64_t)all * share / s->shares), end = (int)((int64_t)all * (share + 1) / s->shares);
  const struct parts p = parts_of(w);
  int32_t *cell = (int32_t *)(scratch + p.cell), *row = (int32_t *)(scratch + p.row);
  float *planes = scratch + p.planes, *v = scratch + p.v, *d = scratch + p.d, *m = scratch + p.m;

  for (int c = 0; c < round_up(c1 - c0, PADDING); c++) row[c] = (int32_t)((c < c1 - c0 ? c : 0) * p.pitch);
  for (int t0 = begin; t0 < end; t0 += w->run) {
    const int t1 = t0 + w->run < end ? t0 + w->run : end;
    const struct cells cells = cells_over(g, t0, t1);
    const int tiles = cells_tiles(&cells, cell);
    memset(planes, 0, 4 * (size_t)(cells.count + cells.slack) * sizeof(float));
    cells_transform(&cells, k, w->x, c0, c1, planes, v, p.position, p.pitch);
    for (int b = b0; b < b1; b++) {
      const int vectors = lanes_vectors(&s->lanes, b), width = lanes_width(&s->lanes, b), rows = round_up(c1 - c0, k->tile[vectors]);
      grad_tiles(w, t0, t1, b, scratch + p.pixels, d, p.d_position);
      for (int q = 0; q < POSITIONS; q++) {
        for (int t = 0; t < tiles; t += STEPS) {
          const int n = t + STEPS < tiles ? STEPS : tiles - t;
          k->product(v + q * p.position, row, rows, cell + t, d + q * p.d_position + (size_t)t * width, n, vectors, t0 == begin && t == 0,
                     m + ((b - b0) * POSITIONS + q) * p.m_position);
        }
      }
    }
  }
  for (int b = b0; b < b1; b++) {
    const int width = lanes_width(&s->lanes, b);
    float *sums = weight_sums_at(s, share, range, b);
    const float *from = m + (size_t)(b - b0) * POSITIONS * p.m_position;
    for (int c = 0; c < c1 - c0; c++) k->weight_out(from + (size_t)c * width, p.m_position, width, sums + (size_t)c * 9 * width);
  }
}

// plan looks at nothing but shapes: shares decide the order of the sum.
static void plan(struct weight_grad *w) {
  struct weight_sums *s = &w->sums;
  const int all = w->tiling.n * w->tiling.rows;
  s->range = s->channels < RANGE ? s->channels : RANGE;
  s->ranges = (s->channels + s->range - 1) / s->range;
  w->group = s->lanes.blocks < GROUP ? s->lanes.blocks : GROUP;
  const int tasks = s->ranges * ((s->lanes.blocks + w->group - 1) / w->group);
  s->shares = tasks >= WANTED ? 1 : (WANTED + tasks - 1) / tasks;
  if (s->shares > all) s->shares = all;
  int tiles = INPUTS / (POSITIONS * s->range) * 4 / 5;
  if (tiles > MOST_TILES) tiles = MOST_TILES;
  w->run = tiles / w->tiling.columns > 1 ? tiles / w->tiling.columns : 1;
  if (w->run > w->tiling.rows) w->run -= w->run % w->tiling.rows;
  const int most = (all + s->shares - 1) / s->shares;
  if (w->run > most) w->run = most;
}

const char *winograd_weight_grad(const struct crew *crew, const struct conv *g, const float *x, const float *dy, float *dweight) {
  struct weight_grad w = {
    .sums = {.crew = crew, .lanes = lanes_of(crew->kernels, g->o), .channels = g->c, .taps = 9, .dweight = dweight},
    .tiling = tiling_forward(g), .x = x, .dy = dy, .out = g->o,
  };
  plan(&w);
  const char *err = weight_sums_alloc(&w.sums);
  if (err) return err;
  const int groups = (w.sums.lanes.blocks + w.group - 1) / w.group;
  err = crew_run(crew, (size_t)groups * w.sums.ranges * w.sums.shares, parts_of(&w).total, weight_task, &w);
  if (!err) err = weight_sums_finish(&w.sums);
  weight_sums_free(&w.sums);
  return err;
}
