// 3 × 3 convolutions of stride 1 by minimal filtering: Winograd, Arithmetic
// Complexity of Computations (1980); Lavin and Gray, https://arxiv.org/abs/1509.09308
// §4.1. A tile of 2 × 2 outputs needs 16 multiplications a channel pair
// instead of 36:
//
//   Y  = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A       d 4 × 4 inputs, g 3 × 3 weights
//   dW = A₃ᵀ [ (G₂ δ G₂ᵀ) ⊙ (Bᵀ d B) ] A₃   δ the tile's 2 × 2 gradients
//
// The element-wise products, summed over channels (or tiles), are 16 matrix
// products. All constants are 0, ±1 and ½, so the transforms add roundings but
// no cancellation beyond a few terms: errors are 1 to 2 times the direct sum's.
//
// dx is the same sum over dy with the weights turned round and pads 2 − p.
#ifndef IMMISCIBLE_NATIVE_WINOGRAD_H
#define IMMISCIBLE_NATIVE_WINOGRAD_H

#include <stddef.h>
#include <stdint.h>

#include "conv.h"

enum { POSITIONS = 16 };

// struct tiling says where the tiles of the destination lie in the source.
// Tile (ty, tx) of an image has outputs 2ty, 2ty+1 × 2tx, 2tx+1 and reads the
// source rows 2ty + y0 … 2ty + y0 + 3, columns alike.
struct tiling {
  int n, channels, source_h, source_w;  // the source
  int dest_h, dest_w;
  int y0, x0;
  int rows, columns;  // tiles of an image: ⌈dest/2⌉
};

struct tiling tiling_forward(const struct conv *);   // y from x
struct tiling tiling_backward(const struct conv *);  // dx from dy

// Cells. The source rows under some tile rows are kept as four planes, by the
// parity of row and column, one line of columns + 1 cells a tile row and one
// more an image. Then each of a tile's 16 inputs is at one offset from its
// cell, and the transform runs along whole planes without knowing of tiles.
// Tile rows are numbered through all images.
struct cells {
  const struct tiling *tiling;
  int t0, t1;
  int pitch, count;  // of a line; of a plane
  int slack;         // what the transform may read beyond a plane
};

struct cells cells_over(const struct tiling *, int t0, int t1);
// cells_tiles gives each tile's cell; returns how many tiles.
int cells_tiles(const struct cells *, int32_t *cell);
// cells_transform fills v [POSITIONS][channel][cell] for channels c0…c1−1:
// position k of channel c begins at v + k·position + (c − c0)·pitch. planes
// [4][count + slack] must be zero before the first call.
void cells_transform(const struct cells *, const struct kernels *, const float *source, int c0, int c1, float *planes, float *v, ptrdiff_t position, ptrdiff_t pitch);

// winograd_fits says whether these functions compute g, and faster.
int winograd_fits(const struct conv *g, const struct kernels *);
const char *winograd_forward(const struct crew *, const struct conv *, const float *x, const float *weight, const float *bias, struct addend, float *y);
const char *winograd_input_grad(const struct crew *, const struct conv *, const float *dy, const float *weight, struct addend, float *dx);
const char *winograd_weight_grad(const struct crew *, const struct conv *, const float *x, const float *dy, float *dweight);

#endif
