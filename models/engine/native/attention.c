// One head of one example at a time, and of its queries a block: the block's
// scores against a tile of keys, [rows, width], stay in the nearest caches (Dao
// et al. 2022, arXiv 2205.14135, with the whole row of scores kept forward, so
// that nothing is rescaled). With P = softmax(scale·S), S = q·kᵀ, L its stats:
//
//   P = exp(scale·S − L),  D = Σ_c dy·y,  dS = scale·P∘(dy·vᵀ − D)
//   dq = dS·k,  dk = dSᵀ·q,  dv = Pᵀ·dy
//
// All products are kernels' product: rows are read where they lie, through a
// table of offsets; the other operand is packed into whole vectors.
#include "attention.h"

#include <math.h>
#include <string.h>

#include "lanes.h"

enum { ROWS = 2 * MAX_TILE, LONG = 2048, PARTS = 16 };

struct attention_call {
  const struct crew *crew;
  struct attention g;
  int d, rows;               // of a head; queries of a block
  struct lanes keys, width;  // s keys and d columns in vectors
  const int32_t *count;      // 0, 1, 2, …
  const float *dy, *q, *k, *v, *y, *stats_in;
  float *packed;             // forward: a head's k and v, packed
  float *out, *stats;
  float *dq, *dk, *dv;
  int parts;                 // a head's queries are cut into, backward
};

// padded is the number of rows that a tile's keys take in an accumulator.
static int padded(const struct attention_call *a, int b) { return round_up(lanes_width(&a->keys, b), MAX_TILE); }

// all_padded is their sum.
static size_t all_padded(const struct attention_call *a) {
  size_t rows = 0;
  for (int b = 0; b < a->keys.blocks; b++) rows += padded(a, b);
  return rows;
}

static size_t across(const struct attention_call *a) { return (size_t)a->keys.vectors * a->keys.vector; }  // floats of a row of scores
static size_t along(const struct attention_call *a) { return (size_t)a->width.vectors * a->width.vector; }  // and of a head's row

// pack_columns makes [d][width] of each tile of keys in x [s, d] (pitch c), one
// tile after the other.
static void pack_columns(const struct attention_call *a, const float *x, float *to) {
  for (int b = 0; b < a->keys.blocks; b++) {
    const int width = lanes_width(&a->keys, b), keys = lanes_channels(&a->keys, b);
    a->crew->kernels->transpose(x + (ptrdiff_t)lanes_first(&a->keys, b) * a->g.c, a->g.c, keys, a->d, to, width);
    for (int i = 0; keys < width && i < a->d; i++) memset(to + (ptrdiff_t)i * width + keys, 0, (width - keys) * sizeof *to);
    to += (ptrdiff_t)a->d * width;
  }
}

// pack_rows makes [rows][width] of each block of columns in x [rows, d] (pitch c).
static void pack_rows(const struct attention_call *a, const float *x, int rows, float *to) {
  for (int j = 0; j < a->width.blocks; j++) {
    const int width = lanes_width(&a->width, j), columns = lanes_channels(&a->width, j);
    for (int r = 0; r < rows; r++, to += width) {
      memcpy(to, x + (ptrdiff_t)r * a->g.c + lanes_first(&a->width, j), columns * sizeof *to);
      memset(to + columns, 0, (width - columns) * sizeof *to);
    }
  }
}

// offsets fills row with the places of n rows that lie pitch apart, and repeats
// the last one up to a whole tile of v vectors: returns how many that makes.
static int offsets(const struct attention_call *a, int n, ptrdiff_t pitch, int v, int32_t *row) {
  const int whole = round_up(n, a->crew->kernels->tile[v]);
  for (int r = 0; r < whole; r++) row[r] = (int32_t)((r < n ? r : n - 1) * pitch);
  return whole;
}

static void pack_task(const void *arg, float *scratch, size_t task) {
  (void)scratch;
  const struct attention_call *a = arg;
  const ptrdiff_t at = (ptrdiff_t)(task / a->g.heads) * a->g.s * a->g.c + task % a->g.heads * a->d;
  float *to = a->packed + task * (a->d * across(a) + a->g.s * along(a));
  pack_columns(a, a->k + at, to);
  pack_rows(a, a->v + at, a->g.s, to + a->d * across(a));
}

static int blocks_of(const struct attention_call *a) { return (a->g.t + a->rows - 1) / a->rows; }

static void forward_task(const void *arg, float *scratch, size_t task) {
  const struct attention_call *a = arg;
  const struct attention *g = &a->g;
  const struct kernels *kernels = a->crew->kernels;
  const int head = (int)(task / blocks_of(a)), first = (int)(task % blocks_of(a)) * a->rows;
  const int rows = g->t - first < a->rows ? g->t - first : a->rows;
  const ptrdiff_t at = ((ptrdiff_t)(head / g->heads) * g->t + first) * g->c + head % g->heads * a->d;
  const float *kt = a->packed + head * (a->d * across(a) + g->s * along(a)), *v = kt + a->d * across(a);
  float *scores = scratch, *acc = scratch + a->rows * across(a), denominator[ROWS];
  int32_t row[ROWS];
  for (int b = 0; b < a->keys.blocks; b++) {
    const int vectors = lanes_vectors(&a->keys, b), start = lanes_first(&a->keys, b);
    const int whole = offsets(a, rows, g->c, vectors, row);
    kernels->product(a->q + at, row, whole, a->count, kt + (ptrdiff_t)a->d * start, a->d, vectors, 1, scores + (ptrdiff_t)a->rows * start);
  }
  int32_t *piece = (int32_t *)(acc + a->rows * along(a)), *count = piece + a->keys.blocks;
  for (int b = 0; b < a->keys.blocks; b++) {
    piece[b] = a->rows * lanes_first(&a->keys, b);
    count[b] = lanes_channels(&a->keys, b);
  }
  for (int r = 0; r < rows; r++) {
    float shift;
    denominator[r] = kernels->softmax(scores, piece, count, a->keys.blocks, g->scale, &shift);
    for (int b = 0; b < a->keys.blocks; b++) piece[b] += lanes_width(&a->keys, b);
    if (a->stats) a->stats[(ptrdiff_t)head * g->t + first + r] = shift + logf(denominator[r]);
  }
  for (int j = 0; j < a->width.blocks; j++) {
    const int vectors = lanes_vectors(&a->width, j), width = lanes_width(&a->width, j), from = lanes_first(&a->width, j), columns = lanes_channels(&a->width, j);
    for (int b = 0; b < a->keys.blocks; b++) {
      const int start = lanes_first(&a->keys, b);
      const int whole = offsets(a, rows, lanes_width(&a->keys, b), vectors, row);
      kernels->product(scores + (ptrdiff_t)a->rows * start, row, whole, a->count, v + (ptrdiff_t)g->s * from + (ptrdiff_t)start * width, lanes_channels(&a->keys, b), vectors, b == 0, acc);
    }
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < columns; i++) a->out[at + (ptrdiff_t)r * g->c + from + i] = acc[r * width + i] / denominator[r];
  }
}

// head_sizes fills in what follows from g; the caller releases count.
static const char *head_sizes(struct attention_call *a) {
  const struct kernels *kernels = a->crew->kernels;
  a->d = a->g.c / a->g.heads;
  a->keys = lanes_of(kernels, a->g.s);
  a->width = lanes_of(kernels, a->d);
  a->rows = a->g.s <= LONG ? ROWS : ROWS / 2;
  int most = a->d > kernels->vectors * kernels->lanes ? a->d : kernels->vectors * kernels->lanes;
  if (most < ROWS) most = ROWS;
  int32_t *count = a->crew->alloc(a->crew->self, most * sizeof *count);
  if (!count) return "out of memory for offsets";
  for (int i = 0; i < most; i++) count[i] = i;
  a->count = count;
  return NULL;
}

const char *attention_forward(const struct crew *crew, const struct attention *g, const float *q, const float *k, const float *v, float *y, float *stats) {
  struct attention_call a = {.crew = crew, .g = *g, .q = q, .k = k, .v = v, .out = y, .stats = stats};
  const char *err = head_sizes(&a);
  if (err) return err;
  const size_t heads = (size_t)g->n * g->heads;
  a.packed = crew->alloc(crew->self, heads * (a.d * across(&a) + g->s * along(&a)) * sizeof *a.packed);
  err = a.packed ? crew_run(crew, heads, 0, pack_task, &a) : "out of memory for packed keys: use a smaller micro_batch";
  if (!err) err = crew_run(crew, heads * blocks_of(&a), a.rows * (across(&a) + along(&a)) + 2 * a.keys.blocks, forward_task, &a);
  if (a.packed) crew->release(crew->self, a.packed);
  crew->release(crew->self, (void *)a.count);
  return err;
}

// unpack writes the rows × d accumulator of blocks of columns, which lie
// rows_padded·width apart, to x (pitch c).
static void unpack(const struct attention_call *a, const float *acc, int rows, size_t rows_padded, float *x) {
  for (int j = 0; j < a->width.blocks; j++) {
    const int width = lanes_width(&a->width, j);
    for (int r = 0; r < rows; r++) memcpy(x + (ptrdiff_t)r * a->g.c + lanes_first(&a->width, j), acc + (ptrdiff_t)r * width, lanes_channels(&a->width, j) * sizeof *x);
    acc += rows_padded * width;
  }
}

static size_t grad_floats(const struct attention_call *a) {
  return 2 * a->d * across(a) + a->g.s * along(a)                              // kt, vt, k
         + 2 * all_padded(a) * along(a)                                        // dk, dv
         + a->rows * (3 * along(a) + 2 * (size_t)a->keys.vector * a->crew->kernels->vectors);  // q, dy, dq; P, dP
}

static void grad_task(const void *arg, float *scratch, size_t task) {
  const struct attention_call *a = arg;
  const struct attention *g = &a->g;
  const struct kernels *kernels = a->crew->kernels;
  const int head = (int)(task / a->parts), part = (int)(task % a->parts), blocks = blocks_of(a);
  const ptrdiff_t queries = (ptrdiff_t)(head / g->heads) * g->t * g->c + head % g->heads * a->d;
  const ptrdiff_t keys = (ptrdiff_t)(head / g->heads) * g->s * g->c + head % g->heads * a->d;
  const size_t sums = all_padded(a) * along(a);
  float *kt = scratch, *vt = kt + a->d * across(a), *k = vt + a->d * across(a), *dk = k + g->s * along(a), *dv = dk + sums;
  float *q = dv + sums, *dy = q + a->rows * along(a), *dq = dy + a->rows * along(a), *p = dq + a->rows * along(a);
  float *dp = p + a->rows * a->keys.vector * kernels->vectors, delta[ROWS];
  int32_t row[ROWS > MAX_VECTORS * 16 + MAX_TILE ? ROWS : MAX_VECTORS * 16 + MAX_TILE], step[ROWS];
  pack_columns(a, a->k + keys, kt);
  pack_columns(a, a->v + keys, vt);
  pack_rows(a, a->k + keys, g->s, k);
  memset(dk, 0, 2 * sums * sizeof *dk);
  for (int i = (int)((int64_t)blocks * part / a->parts); i < (int)((int64_t)blocks * (part + 1) / a->parts); i++) {
    const int first = i * a->rows, rows = g->t - first < a->rows ? g->t - first : a->rows;
    const ptrdiff_t at = queries + (ptrdiff_t)first * g->c;
    const float *stats = a->stats_in + (ptrdiff_t)head * g->t + first;
    pack_rows(a, a->q + at, rows, q);
    pack_rows(a, a->dy + at, rows, dy);
    for (int r = 0; r < rows; r++) {
      delta[r] = 0;
      for (int c = 0; c < a->d; c++) delta[r] += a->dy[at + (ptrdiff_t)r * g->c + c] * a->y[at + (ptrdiff_t)r * g->c + c];
    }
    size_t above = 0;  // rows of the accumulators before tile b
    for (int b = 0; b < a->keys.blocks; above += padded(a, b), b++) {
      const int vectors = lanes_vectors(&a->keys, b), width = lanes_width(&a->keys, b), start = lanes_first(&a->keys, b), count = lanes_channels(&a->keys, b);
      int whole = offsets(a, rows, g->c, vectors, row);
      kernels->product(a->q + at, row, whole, a->count, kt + (ptrdiff_t)a->d * start, a->d, vectors, 1, p);
      kernels->product(a->dy + at, row, whole, a->count, vt + (ptrdiff_t)a->d * start, a->d, vectors, 1, dp);
      kernels->softmax_grad(p, dp, rows, width, count, g->scale, stats, delta);
      for (int r = 0; r < rows; r++) step[r] = r * width;
      for (int j = 0; j < a->width.blocks; j++) {
        const int from = lanes_first(&a->width, j), across_j = lanes_width(&a->width, j), v = lanes_vectors(&a->width, j);
        const ptrdiff_t sum = all_padded(a) * from + above * across_j;
        whole = offsets(a, rows, width, v, row);
        kernels->product(dp, row, whole, a->count, k + (ptrdiff_t)g->s * from + (ptrdiff_t)start * across_j, count, v, b == 0, dq + (ptrdiff_t)a->rows * from);
        whole = offsets(a, count, 1, v, row);
        kernels->product(p, row, whole, step, dy + (ptrdiff_t)rows * from, rows, v, 0, dv + sum);
        kernels->product(dp, row, whole, step, q + (ptrdiff_t)rows * from, rows, v, 0, dk + sum);
      }
    }
    unpack(a, dq, rows, a->rows, a->dq + at);
  }
  size_t above = 0;
  for (int b = 0; b < a->keys.blocks; above += padded(a, b), b++) {
    const ptrdiff_t to = (ptrdiff_t)part * g->n * g->s * g->c + keys + (ptrdiff_t)lanes_first(&a->keys, b) * g->c;
    for (int j = 0; j < a->width.blocks; j++) {
      const int width = lanes_width(&a->width, j), from = lanes_first(&a->width, j);
      const ptrdiff_t sum = all_padded(a) * from + above * width;
      for (int r = 0; r < lanes_channels(&a->keys, b); r++) {
        memcpy(a->dk + to + (ptrdiff_t)r * g->c + from, dk + sum + (ptrdiff_t)r * width, lanes_channels(&a->width, j) * sizeof *dk);
        memcpy(a->dv + to + (ptrdiff_t)r * g->c + from, dv + sum + (ptrdiff_t)r * width, lanes_channels(&a->width, j) * sizeof *dv);
      }
    }
  }
}

struct parts_call {
  const struct attention_call *a;
  float *dk, *dv;
};

// parts_task adds the parts' sums of an example, in order.
static void parts_task(const void *arg, float *scratch, size_t task) {
  (void)scratch;
  const struct parts_call *s = arg;
  const size_t each = (size_t)s->a->g.s * s->a->g.c, all = each * s->a->g.n;
  for (size_t i = task * each; i < (task + 1) * each; i++) {
    float k = 0, v = 0;
    for (int part = 0; part < s->a->parts; part++) {
      k += s->a->dk[part * all + i];
      v += s->a->dv[part * all + i];
    }
    s->dk[i] = k;
    s->dv[i] = v;
  }
}

const char *attention_grad(const struct crew *crew, const struct attention *g, const float *dy, const float *q, const float *k, const float *v, const float *y, const float *stats, float *dq, float *dk, float *dv) {
  struct attention_call a = {.crew = crew, .g = *g, .dy = dy, .q = q, .k = k, .v = v, .y = y, .stats_in = stats, .dq = dq, .dk = dk, .dv = dv};
  const char *err = head_sizes(&a);
  if (err) return err;
  // Few heads are cut into parts, so that there is work for many threads; the
  // shapes alone decide into how many.
  const size_t heads = (size_t)g->n * g->heads;
  a.parts = heads < PARTS ? (int)(PARTS / heads) : 1;
  if (a.parts > blocks_of(&a)) a.parts = blocks_of(&a);
  float *sums = NULL;
  if (a.parts > 1) {
    const size_t all = (size_t)a.parts * g->n * g->s * g->c;
    sums = crew->alloc(crew->self, 2 * all * sizeof *sums);
    if (!sums) err = "out of memory for partial sums: use a smaller micro_batch";
    a.dk = sums;
    a.dv = sums + all;
  }
  if (!err) err = crew_run(crew, heads * a.parts, grad_floats(&a), grad_task, &a);
  if (!err && sums) {
    const struct parts_call s = {&a, dk, dv};
    err = crew_run(crew, g->n, 0, parts_task, &s);
  }
  if (sums) crew->release(crew->self, sums);
  crew->release(crew->self, (void *)a.count);
  return err;
}
