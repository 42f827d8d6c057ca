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

#include <stddef.h>
#include <stdint.h>

struct axis {
  int source, dest, kernel, stride, pad;
  int backward;
};

struct view {
  int n, channels;  // of the source
  struct axis y, x;
};

// segment is the part of a window that comes from one image.
struct segment {
  int32_t rows;    // destination rows
  int32_t line;    // the window's first line for it
  int32_t base;    // source row that belongs there, may be negative
  int32_t image, source_row, source_rows, copy_line;  // what is copied, and where to
};

// Rows of the destination are numbered through all images: r = n·height + Y.
struct window {
  const struct view *view;
  int r0, r1;                       // destination rows
  int height, width;                // of the copy, in source pixels
  int lead, skip, columns;          // zeros left of the copied columns, first one, how many
  int segments;
  const struct segment *segment;
};

int axis_base(const struct axis *, int pos);
int axis_phases(const struct axis *);
int axis_phase(const struct axis *, int pos);
// axis_taps lists the taps of a phase: kernel index and displacement.
int axis_taps(const struct axis *, int phase, int *index, int *shift);

// window_segments is how many segments rows destination rows may take.
size_t window_segments(const struct view *, int rows);
// window_over describes a window. Without segments (NULL) only sizes are filled.
struct window window_over(const struct view *, int r0, int r1, struct segment *);
// window_copy fills buffer [c1−c0, height, width] where the source has pixels;
// the rest must be zero already.
void window_copy(const struct window *, const float *source, int c0, int c1, float *buffer);
// window_pixels gives the offset of each destination pixel of r0…r1−1 in a
// plane of the window, before its taps' displacements dy·width + dx.
void window_pixels(const struct window *, int32_t *offset);

#endif
