// Partial sums of a weight's gradient, and their end: both ways to compute it
// (conv_weight.c, winograd_weight.c) leave [channel, tap][lane] sums, cut by
// ranges of channels and by shares of the batch.
#ifndef IMMISCIBLE_NATIVE_WEIGHT_SUMS_H
#define IMMISCIBLE_NATIVE_WEIGHT_SUMS_H

#include "crew.h"
#include "lanes.h"

struct weight_sums {
  struct lanes lanes;
  int channels, taps;  // of the other tensor; kh·kw
  int range, ranges;   // channels of a range
  int shares;
  int swapped;         // lanes are input channels, the others output channels
  const struct crew *crew;
  float *partial;
  float *dweight;
};

// weight_sums_alloc makes room for the sums; weight_sums_free gives it back.
const char *weight_sums_alloc(struct weight_sums *);
void weight_sums_free(struct weight_sums *);
// weight_sums_rows is channels × taps of a range, and what tiles write beyond.
size_t weight_sums_rows(const struct weight_sums *);
// weight_sums_at is where the sums [rows][lanes of the block] of one part are.
float *weight_sums_at(const struct weight_sums *, int share, int range, int block);
// weight_sums_finish adds the shares in order and writes dweight [O, C, kh, kw].
const char *weight_sums_finish(const struct weight_sums *);

#endif
