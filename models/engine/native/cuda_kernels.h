// What the kernels are called with. The same text is compiled for the processor
// and for the GPU, so that both mean the same bytes: numbers of 4 bytes and
// pointers only. Sizes in vectors count LANES elements each, a number that the host
// chooses so that no vector crosses a channel, a row or an axis.
#ifndef IMMISCIBLE_NATIVE_CUDA_KERNELS_H
#define IMMISCIBLE_NATIVE_CUDA_KERNELS_H

// A divider is what a division by n below 2^31 is computed from, without one.
// https://gmplib.org/~tege/divcnst-pldi94.pdf, figure 4.1
struct divider {
  unsigned n, factor, shift;
};

// GroupNormalization: a block a group of channels·vectors.
struct group_norm_args {
  const void *x;
  const float *scale, *bias;
  void *y;
  float *mean, *r;     // [N, G] or NULL
  unsigned groups, channels;  // channels of a group
  unsigned vectors;           // of a group
  struct divider channel;     // vectors of a channel
  float epsilon;
};

struct group_norm_grad_args {
  const void *dy, *x, *addend;  // addend: or NULL
  const float *scale, *bias, *mean, *r;
  void *dx;
  float *sums;                // [N, 2, C]: Σ dz·x̂ and Σ dz of each channel
  unsigned groups, channels;
  unsigned vectors;           // of a group
  struct divider channel;     // vectors of a channel
  // A channel's vectors are summed in segments, each by a team of threads that is
  // a power of two up to 32.
  unsigned team, segments, segment;  // vectors of a segment
};

// LayerNormalizationGrad: a team of threads a row.
struct layer_norm_grad_args {
  const void *dy, *x;
  const float *scale, *mean, *r;
  void *dx;
  float *sums;  // [blocks, 2, D]: Σ dy·x̂ and Σ dy of the block's rows, or NULL
  unsigned rows, vectors;  // of a row
};

// Sums over the pixels of each channel, in segments as above.
struct channel_sums_args {
  const void *x;  // [N, C, vectors]
  float *sums;    // [N, segments, C]
  unsigned units; // N·segments·C
  unsigned channels, vectors, team, segments, segment;
};

// Sums over rows. Column c of a chunk of rows goes into out[c / width], where
// chunks are width apart.
struct column_sums_args {
  const void *x;  // [rows, columns]
  float *out[2];  // NULL: nobody wants it
  unsigned rows, columns, width, chunk;  // rows of a chunk
};

// Dropout: a thread a block of four elements of an example.
struct dropout_args {
  const void *x;
  void *y;
  const long long *positions;  // [N]
  unsigned key[2], most;       // an element stays where its word is most or less
  float scale;
  unsigned blocks;             // of all examples
  unsigned vectors;            // of an example
  struct divider example;      // blocks of an example
};

enum { ELEMENTWISE_INPUTS = 15, ELEMENTWISE_OUTPUTS = 8, ELEMENTWISE_AXES = 8 };

// Elementwise: see cuda_elementwise.c.
struct elementwise_args {
  const void *in[ELEMENTWISE_INPUTS];
  void *out[ELEMENTWISE_OUTPUTS];
  unsigned vectors;
  // The extents of the axes, the innermost last and in vectors, and by how many
  // elements (on the innermost one: vectors) each input moves along them.
  struct divider axis[ELEMENTWISE_AXES];
  unsigned stride[ELEMENTWISE_INPUTS][ELEMENTWISE_AXES];
};

#endif
