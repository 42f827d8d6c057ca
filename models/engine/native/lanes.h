// Channels in vectors: how a tensor's channels are cut into blocks that fill
// whole vectors, the last one with zeros.
#ifndef IMMISCIBLE_NATIVE_LANES_H
#define IMMISCIBLE_NATIVE_LANES_H

#include "kernels.h"

struct lanes {
  int channels;
  int vector;  // floats in a vector
  int blocks;
  int vectors;  // over all blocks
};

static inline struct lanes lanes_of(const struct kernels *k, int channels) {
  struct lanes l = {.channels = channels, .vector = k->lanes, .vectors = (channels + k->lanes - 1) / k->lanes};
  l.blocks = (l.vectors + k->vectors - 1) / k->vectors;
  return l;
}

// lanes_start is the first vector of a block: blocks are as equal as can be,
// because narrow ones compute slower.
static inline int lanes_start(const struct lanes *l, int block) { return (int)((int64_t)l->vectors * block / l->blocks); }
static inline int lanes_vectors(const struct lanes *l, int block) { return lanes_start(l, block + 1) - lanes_start(l, block); }
static inline int lanes_width(const struct lanes *l, int block) { return lanes_vectors(l, block) * l->vector; }
static inline int lanes_first(const struct lanes *l, int block) { return lanes_start(l, block) * l->vector; }
// lanes_channels is how many of the block's lanes are channels.
static inline int lanes_channels(const struct lanes *l, int block) {
  const int left = l->channels - lanes_first(l, block), width = lanes_width(l, block);
  return left < width ? left : width;
}

static inline int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

#endif
