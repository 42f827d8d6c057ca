// The forward view: y from x, and dx from dy.
//
//   weights   G g Gᵀ → [block][position][source channel][lane], once a call
//   a task    some tile rows × some blocks of channels:
//     for each chunk of source channels: Bᵀ d B → v [position][channel][cell]
//       for each block, for each position: product of v with the weights,
//       added to m [position][tile][lane]                 (both second cache)
//     Aᵀ m A + bias, two rows of pixels at a time, transposed into place
#include "winograd.h"

#include <string.h>

#include "output.h"

enum {
  STEPS = 80,              // channels of a product: 20 KB of weights in 64 lanes
  CHANNELS = 256,          // of a chunk at most
  CACHED = 320 * 1024,     // floats of v and m
  MOST_TILES = 512,
  FEWEST_TILES = 48,       // not split below: each task reads all weights
  PADDING = 24,            // rows of a product's tile, of any width, divide this
  PACK = 16,               // source channels of a packing task
};

struct filter {
  const struct crew *crew;
  struct tiling tiling;
  struct lanes lanes;
  int turned;  // dx: weight is [source][dest][3][3], to be turned round
  const float *source, *weight, *bias;
  struct output output;
  float *packed;
  int rows, row_tasks, group;  // tile rows and blocks of a task
  int chunk;
};

int winograd_fits(const struct conv *g, const struct kernels *k) {
  return g->kh == 3 && g->kw == 3 && g->stride_h == 1 && g->stride_w == 1 && g->c >= k->lanes && g->o >= k->lanes && g->oh > 1 && g->ow > 1;
}

static size_t align16(size_t n) { return (n + 15) & ~(size_t)15; }

// packed_block is where a block's transformed weights begin.
static float *packed_block(const struct filter *f, int block) {
  return f->packed + (size_t)lanes_first(&f->lanes, block) * f->tiling.channels * POSITIONS;
}

static void pack_task(const void *arg, float *scratch, size_t i) {
  const struct filter *f = arg;
  const struct kernels *k = f->crew->kernels;
  const int channels = f->tiling.channels, chunks = (channels + PACK - 1) / PACK, block = (int)i / chunks;
  const int c0 = (int)i % chunks * PACK, c1 = c0 + PACK < channels ? c0 + PACK : channels;
  const int width = lanes_width(&f->lanes, block), first = lanes_first(&f->lanes, block), used = lanes_channels(&f->lanes, block);
  memset(scratch, 0, (size_t)PACK * 9 * width * sizeof(float));
  if (!f->turned) {
    k->transpose(f->weight + ((size_t)first * channels + c0) * 9, (ptrdiff_t)channels * 9, used, (c1 - c0) * 9, scratch, width);
  } else {
    // A negative pitch turns the taps round.
    for (int c = c0; c < c1; c++)
      k->transpose(f->weight + ((size_t)c * f->lanes.channels + first) * 9, 9, used, 9, scratch + ((size_t)(c - c0) * 9 + 8) * width, -width);
  }
  for (int c = c0; c < c1; c++)
    k->weight_in(scratch + (size_t)(c - c0) * 9 * width, width, packed_block(f, block) + (size_t)c * width, (ptrdiff_t)channels * width);
}

// A task's scratch, cut into its parts.
struct parts {
  size_t total;
  size_t cell, step, planes, v, m, pixels, bias, out;  // where each begins
  ptrdiff_t pitch, position, m_position;
};

static struct parts parts_of(const struct filter *f, int t0, int t1) {
  const struct cells c = cells_over(&f->tiling, t0, t1);
  const int tiles = round_up((t1 - t0) * f->tiling.columns, PADDING), most = f->crew->kernels->vectors * f->lanes.vector;
  struct parts p = {0};
  // An odd pitch spreads channels over the sets of the nearest cache. What the
  // transform writes beyond a channel's cells, the next channel overwrites.
  p.pitch = round_up(c.count, 16);
  p.position = p.pitch * f->chunk + 16;
  p.m_position = (ptrdiff_t)tiles * most;
  size_t at = 0;
  p.cell = at, at += align16(tiles);
  p.step = at, at += align16(f->chunk);
  p.planes = at, at += align16(4 * (size_t)(c.count + c.slack));
  p.v = at, at += align16(POSITIONS * (size_t)p.position);
  p.m = at, at += align16(POSITIONS * (size_t)p.m_position * (f->chunk < f->tiling.channels ? f->group : 1));
  p.pixels = at, at += align16(4 * (size_t)f->tiling.columns * most);
  p.bias = at, at += align16(most);
  p.out = at, at += OUTPUT_SCRATCH;
  p.total = at;
  return p;
}

// finish takes one block from m to the destination.
static void finish(const struct filter *f, const struct parts *p, float *scratch, const float *m, int t0, int t1, int block) {
  const struct tiling *g = &f->tiling;
  const int width = lanes_width(&f->lanes, block);
  float *pixels = scratch + p->pixels, *bias = f->bias ? scratch + p->bias : NULL;
  if (bias) {
    memset(bias, 0, width * sizeof(float));
    memcpy(bias, f->bias + lanes_first(&f->lanes, block), lanes_channels(&f->lanes, block) * sizeof(float));
  }
  const size_t line = 2 * (size_t)g->columns * width;  // of pixels
  for (int t = t0; t < t1; t++) {
    for (int x = 0; x < g->columns; x++, m += width)
      f->crew->kernels->tiles_out(m, p->m_position, width, bias, pixels + 2 * x * width, pixels + line + 2 * x * width);
    const int y = 2 * (t % g->rows), rows = g->dest_h - y < 2 ? 1 : 2;
    const ptrdiff_t first = (ptrdiff_t)y * g->dest_w;
    if (g->dest_w % 2 == 0) {
      output_write(&f->output, pixels, block, t / g->rows, first, rows * g->dest_w, scratch + p->out);
    } else {
      for (int r = 0; r < rows; r++) output_write(&f->output, pixels + r * line, block, t / g->rows, first + r * g->dest_w, g->dest_w, scratch + p->out);
    }
  }
}

static void filter_task(const void *arg, float *scratch, size_t i) {
  const struct filter *f = arg;
  const struct kernels *k = f->crew->kernels;
  const struct tiling *g = &f->tiling;
  const int all = g->n * g->rows;
  const int t0 = (int)(i % f->row_tasks) * f->rows, t1 = t0 + f->rows < all ? t0 + f->rows : all;
  const int b0 = (int)(i / f->row_tasks) * f->group, b1 = b0 + f->group < f->lanes.blocks ? b0 + f->group : f->lanes.blocks;
  const struct cells cells = cells_over(g, t0, t1);
  const struct parts p = parts_of(f, t0, t1);
  int32_t *cell = (int32_t *)(scratch + p.cell), *step = (int32_t *)(scratch + p.step);
  float *planes = scratch + p.planes, *v = scratch + p.v;

  const int tiles = cells_tiles(&cells, cell);
  for (int t = tiles; t < round_up(tiles, PADDING); t++) cell[t] = cell[0];
  for (int c = 0; c < f->chunk; c++) step[c] = (int32_t)(c * p.pitch);
  memset(planes, 0, 4 * (size_t)(cells.count + cells.slack) * sizeof(float));
  for (int c0 = 0; c0 < g->channels; c0 += f->chunk) {
    const int c1 = c0 + f->chunk < g->channels ? c0 + f->chunk : g->channels;
    cells_transform(&cells, k, f->source, c0, c1, planes, v, p.position, p.pitch);
    for (int b = b0; b < b1; b++) {
      const int vectors = lanes_vectors(&f->lanes, b), width = lanes_width(&f->lanes, b), rows = round_up(tiles, k->tile[vectors]);
      const int whole = f->chunk == g->channels;
      float *m = scratch + p.m + (whole ? 0 : (size_t)(b - b0) * POSITIONS * p.m_position);
      for (int q = 0; q < POSITIONS; q++) {
        float *sums = m + q * p.m_position;
        const float *values = packed_block(f, b) + ((size_t)q * g->channels + c0) * width;
        for (int c = c0; c < c1; c += STEPS) {
          const int n = c + STEPS < c1 ? STEPS : c1 - c;
          k->product(v + q * p.position, cell, rows, step + (c - c0), values + (size_t)(c - c0) * width, n, vectors, c == 0, sums);
        }
      }
      if (c1 == g->channels) finish(f, &p, scratch, m, t0, t1, b);
    }
  }
}

// plan chooses the size of a task.
static void plan(struct filter *f) {
  const struct tiling *g = &f->tiling;
  const int wanted = 2 * f->crew->workers, all = g->n * g->rows;
  f->chunk = g->channels < CHANNELS ? g->channels : CHANNELS;
  // v has a quarter more cells than there are tiles.
  int tiles = CACHED / POSITIONS / (f->chunk * 5 / 4 + f->crew->kernels->vectors * f->lanes.vector);
  if (tiles > MOST_TILES) tiles = MOST_TILES;
  f->group = f->chunk < g->channels ? 2 : f->lanes.blocks;
  if (f->group > f->lanes.blocks) f->group = f->lanes.blocks;
  for (;;) {
    f->rows = tiles / g->columns > 1 ? tiles / g->columns : 1;
    // Whole images, or equal parts of one.
    if (f->rows >= g->rows) {
      f->rows -= f->rows % g->rows;
    } else {
      const int parts = (g->rows + f->rows - 1) / f->rows;
      f->rows = (g->rows + parts - 1) / parts;
    }
    if (f->rows > all) f->rows = all;
    f->row_tasks = (all + f->rows - 1) / f->rows;
    if (f->row_tasks * ((f->lanes.blocks + f->group - 1) / f->group) >= wanted) return;
    const int now = f->rows * g->columns;
    if (now >= 4 * FEWEST_TILES) tiles = now / 2;
    else if (f->group > 1) f->group = (f->group + 1) / 2;
    else if (now >= 2 * FEWEST_TILES && f->rows > 1) tiles = now / 2;
    else return;
  }
}

static const char *filter(struct filter *f) {
  plan(f);
  const int all = f->tiling.n * f->tiling.rows;
  size_t floats = 0;
  for (int t = 0; t < all; t += f->rows) {
    const struct parts p = parts_of(f, t, t + f->rows < all ? t + f->rows : all);
    if (p.total > floats) floats = p.total;
  }
  f->packed = f->crew->alloc(f->crew->self, (size_t)f->lanes.vectors * f->lanes.vector * f->tiling.channels * POSITIONS * sizeof(float));
  if (!f->packed) return "out of memory for packed weights: use a smaller micro_batch";
  const size_t chunks = (f->tiling.channels + PACK - 1) / PACK;
  const char *err = crew_run(f->crew, f->lanes.blocks * chunks, (size_t)PACK * 9 * f->crew->kernels->vectors * f->lanes.vector, pack_task, f);
  if (!err) err = crew_run(f->crew, (size_t)f->row_tasks * ((f->lanes.blocks + f->group - 1) / f->group), floats, filter_task, f);
  f->crew->release(f->crew->self, f->packed);
  return err;
}

const char *winograd_forward(const struct crew *crew, const struct conv *g, const float *x, const float *weight, const float *bias, struct addend addend, float *y) {
  struct filter f = {.crew = crew, .tiling = tiling_forward(g), .lanes = lanes_of(crew->kernels, g->o), .source = x, .weight = weight, .bias = bias};
  f.output = (struct output){crew->kernels, f.lanes, (ptrdiff_t)g->oh * g->ow, y, addend};
  return filter(&f);
}

const char *winograd_input_grad(const struct crew *crew, const struct conv *g, const float *dy, const float *weight, struct addend addend, float *dx) {
  struct filter f = {.crew = crew, .tiling = tiling_backward(g), .lanes = lanes_of(crew->kernels, g->c), .turned = 1, .source = dy, .weight = weight};
  f.output = (struct output){crew->kernels, f.lanes, (ptrdiff_t)g->h * g->w, dx, addend};
  return filter(&f);
}
