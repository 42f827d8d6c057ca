#include "dropout.h"

enum { ELEMENTS = 16 * 1024 };  // of a task: enough to make handing it out cheap; a multiple of a block's 4

struct call {
  const struct crew *crew;
  const struct dropout *law;
  const int64_t *positions;
  const float *x;
  float *y;
  ptrdiff_t elements;
  size_t pieces;  // of an example
};

static void task(const void *arg, float *scratch, size_t i) {
  (void)scratch;
  const struct call *a = arg;
  const size_t example = i / a->pieces;
  const ptrdiff_t first = (ptrdiff_t)(i % a->pieces) * ELEMENTS, left = a->elements - first, at = (ptrdiff_t)example * a->elements + first;
  a->crew->kernels->dropout(a->law, (uint64_t)a->positions[example], (uint64_t)first / 4, a->x + at, left < ELEMENTS ? left : ELEMENTS, a->y + at);
}

const char *dropout(const struct crew *crew, const struct dropout *law, const int64_t *positions, int64_t n, ptrdiff_t elements, const float *x, float *y) {
  const struct call a = {crew, law, positions, x, y, elements, (size_t)(elements + ELEMENTS - 1) / ELEMENTS};
  return crew_run(crew, (size_t)n * a.pieces, 0, task, &a);
}
