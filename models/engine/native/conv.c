// Convolution with the destination's channels in the lanes: y from x, and dx
// from dy, which is the same sum over other taps (window.h).
//
//   pack     weights → [block][phase][source channel][tap][lane], once a call
//   a task   some destination rows × some blocks of channels:
//     for each chunk of source channels
//       copy its window                      (nearest cache)
//       for each block: product of the window's pixels with the chunk's weights
//                                            (nearest cache), added to
//       sums [block][pixel][lane]            (second cache)
//     transpose the sums into the destination
//
// Every destination element is one chain of multiply-adds over source channels
// and taps in ascending order that begins with the bias, whatever the tasks;
// the addend comes last.
#include "conv.h"

#include <string.h>

#include "output.h"
#include "window.h"
#include "winograd.h"

enum {
  STEPS = 80,             // channels × taps of a chunk: 20 KB of weights in 64 lanes
  PIXELS = 512,           // wanted in a task
  LEAST_PIXELS = 96,      // not split below
  SUMS = 192 * 1024,      // floats of sums in a task
  PADDING = 24,           // rows of a tile, of any width, divide this
};

struct phase {
  int taps;
  int *kernel;     // [taps] index into kh·kw
  int *dy, *dx;    // [taps] displacement
  size_t offset;   // taps of the phases before
};

struct spread {
  const struct crew *crew;
  struct view view;
  struct lanes lanes;
  int channels;  // of the source
  int taps;      // kh·kw
  int backward;
  const float *source, *weight, *bias;
  struct output output;
  float *packed;
  int phases;
  struct phase *phase;
  int rows, groups, row_tasks;  // of a task: destination rows, blocks
  int chunk;                    // source channels at a time
};

// packed_block is where a block's weights begin.
static size_t packed_block(const struct spread *s, int block) {
  return (size_t)lanes_first(&s->lanes, block) * s->channels * s->taps;
}

// pack_task packs one block's weights for PACK source channels.
enum { PACK = 16 };

static void pack_task(const void *arg, float *scratch, size_t i) {
  (void)scratch;
  const struct spread *s = arg;
  const int chunks = (s->channels + PACK - 1) / PACK, block = (int)i / chunks;
  const int c0 = (int)i % chunks * PACK, c1 = c0 + PACK < s->channels ? c0 + PACK : s->channels;
  const int width = lanes_width(&s->lanes, block), first = lanes_first(&s->lanes, block), used = lanes_channels(&s->lanes, block);
  // weight is [dest][source][tap] forward, [source][dest][tap] backward.
  const size_t dest_pitch = (size_t)s->taps * (s->backward ? 1 : s->channels);
  const size_t source_pitch = (size_t)s->taps * (s->backward ? s->lanes.channels : 1);
  for (int p = 0; p < s->phases; p++) {
    const struct phase *phase = &s->phase[p];
    float *dst = s->packed + packed_block(s, block) + (phase->offset * s->channels + (size_t)c0 * phase->taps) * width;
    if (!s->backward) {
      // One phase with its taps in order: rows of one destination channel.
      const float *src = s->weight + first * dest_pitch + c0 * source_pitch;
      const int cols = (c1 - c0) * s->taps;
      s->crew->kernels->transpose(src, dest_pitch, used, cols, dst, width);
      for (int k = 0; used < width && k < cols; k++) memset(dst + (size_t)k * width + used, 0, (width - used) * sizeof(float));
      continue;
    }
    for (int c = c0; c < c1; c++) {
      const float *src = s->weight + first * dest_pitch + c * source_pitch;
      if (s->phases == 1) {
        s->crew->kernels->transpose(src, dest_pitch, used, s->taps, dst, width);
        for (int t = 0; used < width && t < s->taps; t++) memset(dst + (size_t)t * width + used, 0, (width - used) * sizeof(float));
        dst += (size_t)s->taps * width;
        continue;
      }
      for (int t = 0; t < phase->taps; t++, dst += width) {
        for (int l = 0; l < used; l++) dst[l] = src[l * dest_pitch + phase->kernel[t]];
        for (int l = used; l < width; l++) dst[l] = 0;
      }
    }
  }
}

// A task's scratch, cut into its parts.
struct parts {
  int slots;          // pixels, those of each phase padded
  int32_t *offset;    // [pixels] in destination order
  int32_t *row;       // [slots] offset by slot
  int32_t *slot;      // [pixels] where a destination pixel is, with many phases
  int32_t *step;      // [phase taps of a chunk], phase after phase
  struct segment *segment;
  float *window;
  float *sums;
  float *sorted;      // [pixels][lanes], with many phases
  float *out;         // for output_write
};

// cut takes the next part of the scratch.
static size_t cut(size_t *used, size_t floats) {
  const size_t at = *used;
  *used += (floats + 15) & ~(size_t)15;
  return at;
}

// split_scratch fills parts (unless scratch is NULL) and returns its size.
static size_t split_scratch(const struct spread *s, int r0, int r1, int blocks, float *scratch, struct parts *p) {
  const struct window w = window_over(&s->view, r0, r1, NULL);
  const size_t pixels = (size_t)(r1 - r0) * s->view.x.dest;
  const size_t slots = pixels + (size_t)s->phases * (PADDING - 1) + PADDING;
  const size_t most = (size_t)s->crew->kernels->vectors * s->lanes.vector;
  size_t used = 0;
  const size_t offset = cut(&used, pixels), row = cut(&used, slots), slot = cut(&used, pixels);
  const size_t step = cut(&used, (size_t)s->chunk * s->taps);
  const size_t segment = cut(&used, window_segments(&s->view, r1 - r0) * sizeof(struct segment) / sizeof(float));
  const size_t window = cut(&used, (size_t)s->chunk * w.height * w.width);
  const size_t sums = cut(&used, slots * blocks * most);
  const size_t sorted = cut(&used, s->phases > 1 ? pixels * most : 0);
  const size_t out = cut(&used, OUTPUT_SCRATCH);
  if (scratch) {
    *p = (struct parts){
      .offset = (int32_t *)(scratch + offset), .row = (int32_t *)(scratch + row), .slot = (int32_t *)(scratch + slot),
      .step = (int32_t *)(scratch + step), .segment = (struct segment *)(scratch + segment), .window = scratch + window, .sums = scratch + sums, .sorted = scratch + sorted,
      .out = scratch + out,
    };
  }
  return used;
}

// phase_of is the phase of a destination pixel.
static int phase_of(const struct spread *s, int r, int X) {
  return axis_phase(&s->view.y, r % s->view.y.dest) * axis_phases(&s->view.x) + axis_phase(&s->view.x, X);
}

// sort_pixels puts the pixels of each phase together, each run padded with
// repetitions to whole tiles. begin[p] is where a phase's run begins.
static void sort_pixels(const struct spread *s, struct parts *p, int r0, int r1, int *begin, int *count) {
  const int columns = s->view.x.dest, pixels = (r1 - r0) * columns;
  if (s->phases == 1) {
    memcpy(p->row, p->offset, pixels * sizeof *p->row);
    begin[0] = 0;
    count[0] = pixels;
  } else {
    memset(count, 0, s->phases * sizeof *count);
    for (int q = 0; q < pixels; q++) count[phase_of(s, r0 + q / columns, q % columns)]++;
    for (int f = 0, at = 0; f < s->phases; f++) {
      begin[f] = at;
      at += round_up(count[f], PADDING);
      count[f] = 0;
    }
    for (int q = 0; q < pixels; q++) {
      const int f = phase_of(s, r0 + q / columns, q % columns);
      p->slot[q] = begin[f] + count[f]++;
      p->row[p->slot[q]] = p->offset[q];
    }
  }
  for (int f = 0; f < s->phases; f++) {
    const int end = begin[f] + round_up(count[f], PADDING);
    for (int i = begin[f] + count[f]; i < end; i++) p->row[i] = p->row[begin[f]];
    if (f == s->phases - 1) p->slots = end;
  }
}

// finish writes one block's sums to the destination.
static void finish(const struct spread *s, const struct parts *p, const float *sums, int r0, int r1, int block) {
  const int height = s->view.y.dest, columns = s->view.x.dest, pixels = (r1 - r0) * columns, width = lanes_width(&s->lanes, block);
  if (s->phases > 1) {
    for (int q = 0; q < pixels; q++) memcpy(p->sorted + (size_t)q * width, sums + (size_t)p->slot[q] * width, width * sizeof(float));
    sums = p->sorted;
  }
  for (int r = r0, end; r < r1; r = end) {
    end = r - r % height + height < r1 ? r - r % height + height : r1;
    output_write(&s->output, sums + (size_t)(r - r0) * columns * width, block, r / height, (ptrdiff_t)(r % height) * columns, (end - r) * columns, p->out);
  }
}

static void spread_task(const void *arg, float *scratch, size_t i) {
  const struct spread *s = arg;
  const struct kernels *kernels = s->crew->kernels;
  const int all = s->view.n * s->view.y.dest;
  const int r0 = (int)i % s->row_tasks * s->rows, r1 = r0 + s->rows < all ? r0 + s->rows : all;
  const int b0 = (int)i / s->row_tasks * s->groups, b1 = b0 + s->groups < s->lanes.blocks ? b0 + s->groups : s->lanes.blocks;
  struct parts p;
  split_scratch(s, r0, r1, b1 - b0, scratch, &p);
  const struct window w = window_over(&s->view, r0, r1, p.segment);
  memset(p.window, 0, (size_t)s->chunk * w.height * w.width * sizeof(float));
  window_pixels(&w, p.offset);
  int begin[s->phases], count[s->phases];
  sort_pixels(s, &p, r0, r1, begin, count);

  int32_t *step = p.step;
  for (int f = 0; f < s->phases; f++)
    for (int c = 0; c < s->chunk; c++)
      for (int t = 0; t < s->phase[f].taps; t++) *step++ = (c * w.height + s->phase[f].dy[t]) * w.width + s->phase[f].dx[t];

  float *sums = p.sums;
  for (int b = b0; b < b1; b++) {
    const int width = lanes_width(&s->lanes, b), used = lanes_channels(&s->lanes, b);
    if (s->bias) {
      memset(sums, 0, width * sizeof(float));
      memcpy(sums, s->bias + lanes_first(&s->lanes, b), used * sizeof(float));
      for (int q = 1; q < p.slots; q++) memcpy(sums + (size_t)q * width, sums, width * sizeof(float));
    } else {
      memset(sums, 0, (size_t)p.slots * width * sizeof(float));
    }
    sums += (size_t)p.slots * width;
  }
  for (int c = 0; c < s->channels; c += s->chunk) {
    const int chunk = c + s->chunk < s->channels ? s->chunk : s->channels - c;
    window_copy(&w, s->source, c, c + chunk, p.window);
    sums = p.sums;
    for (int b = b0; b < b1; b++) {
      const int vectors = lanes_vectors(&s->lanes, b), width = lanes_width(&s->lanes, b);
      for (int f = 0; f < s->phases; f++) {
        const struct phase *phase = &s->phase[f];
        const float *values = s->packed + packed_block(s, b) + (phase->offset * s->channels + (size_t)c * phase->taps) * width;
        kernels->product(p.window, p.row + begin[f], round_up(count[f], kernels->tile[vectors]), p.step + phase->offset * s->chunk,
                         values, chunk * phase->taps, vectors, 0, sums + (size_t)begin[f] * width);
      }
      sums += (size_t)p.slots * width;
    }
  }
  sums = p.sums;
  for (int b = b0; b < b1; b++) {
    finish(s, &p, sums, r0, r1, b);
    sums += (size_t)p.slots * lanes_width(&s->lanes, b);
  }
}

// plan chooses the size of a task.
static void plan(struct spread *s) {
  const int columns = s->view.x.dest, height = s->view.y.dest, image = height * columns, all = s->view.n * height;
  const int wanted = 4 * s->crew->workers;
  const int most = s->crew->kernels->vectors * s->lanes.vector;
  s->chunk = STEPS / s->taps > 1 ? STEPS / s->taps : 1;
  if (s->chunk > s->channels) s->chunk = s->channels;
  for (int pixels = PIXELS;; pixels /= 2) {
    if (image <= pixels) {
      s->rows = pixels / image * height;
    } else {
      const int parts = (image + pixels - 1) / pixels;
      s->rows = (height + parts - 1) / parts;
    }
    if (s->rows > all) s->rows = all;
    s->row_tasks = (all + s->rows - 1) / s->rows;
    s->groups = SUMS / (s->rows * columns * most);
    if (s->groups > s->lanes.blocks) s->groups = s->lanes.blocks;
    // With few pixels, blocks of channels are shared out too: their packed
    // weights are then read once altogether, and the window once a block.
    const int split = (wanted + s->row_tasks - 1) / s->row_tasks;
    if (s->groups > (s->lanes.blocks + split - 1) / split) s->groups = (s->lanes.blocks + split - 1) / split;
    if (s->groups < 1) s->groups = 1;
    const int tasks = s->row_tasks * ((s->lanes.blocks + s->groups - 1) / s->groups);
    if (tasks >= wanted || s->rows == 1 || s->rows * columns / 2 < LEAST_PIXELS) return;
  }
}

static const char *spread(struct spread *s, int kh, int kw) {
  const int phases_x = axis_phases(&s->view.x);
  s->phases = axis_phases(&s->view.y) * phases_x;
  s->taps = kh * kw;
  int indices[3 * s->taps], *next = indices, iy[kh], ix[kw], dy[kh], dx[kw];
  struct phase phase[s->phases];
  s->phase = phase;
  for (int f = 0, before = 0; f < s->phases; f++) {
    const int ny = axis_taps(&s->view.y, f / phases_x, iy, dy), nx = axis_taps(&s->view.x, f % phases_x, ix, dx);
    phase[f] = (struct phase){.taps = ny * nx, .kernel = next, .dy = next + ny * nx, .dx = next + 2 * ny * nx, .offset = before};
    next += 3 * ny * nx;
    before += ny * nx;
    for (int t = 0; t < ny * nx; t++) {
      phase[f].kernel[t] = iy[t / nx] * kw + ix[t % nx];
      phase[f].dy[t] = dy[t / nx];
      phase[f].dx[t] = dx[t % nx];
    }
  }
  plan(s);
  const int all = s->view.n * s->view.y.dest;
  size_t floats = 0;
  for (int r = 0; r < all; r += s->rows) {
    const size_t f = split_scratch(s, r, r + s->rows < all ? r + s->rows : all, s->groups, NULL, NULL);
    if (f > floats) floats = f;
  }
  s->packed = s->crew->alloc(s->crew->self, (size_t)s->lanes.vectors * s->lanes.vector * s->channels * s->taps * sizeof(float));
  if (!s->packed) return "out of memory for packed weights: use a smaller micro_batch";
  const char *err = crew_run(s->crew, (size_t)s->lanes.blocks * ((s->channels + PACK - 1) / PACK), 0, pack_task, s);
  if (!err) err = crew_run(s->crew, (size_t)s->row_tasks * ((s->lanes.blocks + s->groups - 1) / s->groups), floats, spread_task, s);
  s->crew->release(s->crew->self, s->packed);
  return err;
}

const char *conv_forward(const struct crew *crew, const struct conv *g, const float *x, const float *weight, const float *bias, struct addend addend, float *y) {
  if (winograd_fits(g, crew->kernels)) return winograd_forward(crew, g, x, weight, bias, addend, y);
  struct spread s = {
    .crew = crew, .source = x, .weight = weight, .bias = bias, .channels = g->c, .lanes = lanes_of(crew->kernels, g->o),
    .view = {.n = g->n, .channels = g->c, .y = {g->h, g->oh, g->kh, g->stride_h, g->top, 0}, .x = {g->w, g->ow, g->kw, g->stride_w, g->left, 0}},
  };
  s.output = (struct output){crew->kernels, s.lanes, (ptrdiff_t)g->oh * g->ow, y, addend};
  return spread(&s, g->kh, g->kw);
}

const char *conv_input_grad(const struct crew *crew, const struct conv *g, const float *dy, const float *weight, struct addend addend, float *dx) {
  if (winograd_fits(g, crew->kernels)) return winograd_input_grad(crew, g, dy, weight, addend, dx);
  struct spread s = {
    .crew = crew, .source = dy, .weight = weight, .channels = g->o, .backward = 1, .lanes = lanes_of(crew->kernels, g->c),
    .view = {.n = g->n, .channels = g->o, .y = {g->oh, g->h, g->kh, g->stride_h, g->top, 1}, .x = {g->ow, g->w, g->kw, g->stride_w, g->left, 1}},
  };
  s.output = (struct output){crew->kernels, s.lanes, (ptrdiff_t)g->h * g->w, dx, addend};
  return spread(&s, g->kh, g->kw);
}
