// How the pixels of one tensor see those of another.
//
// A destination pixel (Y, X) depends on source pixels base(Y) + dy, base(X) + dx
// for the taps (dy, dx) of its phase:
//
//   forward   y ← x:   base(Y) = s·Y − pad,        dy = i,  all taps, one phase
//   backward  dx ← dy: base(Y) = ⌊(Y + pad) / s⌋,  dy = −m for i = a + s·m,
//                      where a = (Y + pad) mod s: s phases in each direction
//
// A window is a copy of the source rows that some destination rows need, with
// zeros where the source ends. All images of the range stand below each other,
// so that a pixel is one offset into the window and a tap is another.
#ifndef IMMISCIBLE_NATIVE_WINDOW_H
#define IMMISCIBLE_NATIVE_WINDOW_H

#include <stdint.h>

struct axis {
  int source, dest, kernel, stride, pad;
  int backward;
};

struct view {
  int n, channels;  // of the source
  struct axis y, x;
};

// Rows of the destination are numbered through all images: r = n·height + Y.
struct window {
  const struct view *view;
  int r0, r1;         // destination rows
  int height, width;  // of the copy, in source pixels
};

int axis_base(const struct axis *, int pos);
int axis_phases(const struct axis *);
int axis_phase(const struct axis *, int pos);
// axis_taps lists the taps of a phase: kernel index and displacement.
int axis_taps(const struct axis *, int phase, int *index, int *shift);

struct window window_over(const struct view *, int r0, int r1);
// window_copy fills buffer [c1−c0, height, width].
void window_copy(const struct window *, const float *source, int c0, int c1, float *buffer);
// window_pixels gives the offset of each destination pixel of r0…r1−1 in a
// plane of the window, before its taps' displacements dy·width + dx.
void window_pixels(const struct window *, int32_t *offset);

#endif
