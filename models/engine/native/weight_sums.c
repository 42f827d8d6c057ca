#include "weight_sums.h"

enum { PADDING = 24 };  // rows of a product's tile, of any width, divide this

size_t weight_sums_rows(const struct weight_sums *w) { return round_up(w->range * w->taps, PADDING); }

static size_t all_lanes(const struct weight_sums *w) { return (size_t)w->lanes.vectors * w->lanes.vector; }

const char *weight_sums_alloc(struct weight_sums *w) {
  w->partial = w->crew->alloc(w->crew->self, weight_sums_rows(w) * w->shares * w->ranges * all_lanes(w) * sizeof(float));
  return w->partial ? NULL : "out of memory for partial sums: use a smaller micro_batch";
}

void weight_sums_free(struct weight_sums *w) { w->crew->release(w->crew->self, w->partial); }

float *weight_sums_at(const struct weight_sums *w, int share, int range, int block) {
  const size_t rows = weight_sums_rows(w), all = rows * all_lanes(w);
  return w->partial + ((size_t)share * w->ranges + range) * all + rows * lanes_first(&w->lanes, block);
}

static void finish_task(const void *arg, float *scratch, size_t i) {
  (void)scratch;
  const struct weight_sums *w = arg;
  const struct kernels *k = w->crew->kernels;
  const int block = (int)(i % w->lanes.blocks), range = (int)(i / w->lanes.blocks);
  const int c0 = range * w->range, channels = c0 + w->range < w->channels ? w->range : w->channels - c0;
  const int width = lanes_width(&w->lanes, block), used = lanes_channels(&w->lanes, block), first = lanes_first(&w->lanes, block);
  const int rows = channels * w->taps;
  float *sums = weight_sums_at(w, 0, range, block);
  for (int share = 1; share < w->shares; share++) {
    const float *more = weight_sums_at(w, share, range, block);
    for (size_t j = 0; j < (size_t)rows * width; j++) sums[j] += more[j];
  }
  if (!w->swapped) {
    const size_t pitch = (size_t)w->channels * w->taps;
    k->transpose(sums, width, rows, used, w->dweight + first * pitch + (size_t)c0 * w->taps, pitch);
    return;
  }
  for (int o = 0; o < channels; o++) {
    float *dst = w->dweight + ((size_t)(c0 + o) * w->lanes.channels + first) * w->taps;
    k->transpose(sums + (size_t)o * w->taps * width, width, w->taps, used, dst, w->taps);
  }
}

const char *weight_sums_finish(const struct weight_sums *w) {
  return crew_run(w->crew, (size_t)w->lanes.blocks * w->ranges, 0, finish_task, w);
}
