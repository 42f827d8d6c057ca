// Memory is read and written once; as nine passes of elementwise operators the
// update takes more than twice as long.
#include "update.h"

enum { ELEMENTS = 16 * 1024 };  // of a task

struct adamw_call {
  const struct crew *crew;
  const struct adamw_step *step;
  ptrdiff_t n;
  const float *const *in;
  float *const *out;
};

static void adamw_task(const void *arg, float *scratch, size_t task) {
  (void)scratch;
  const struct adamw_call *a = arg;
  const ptrdiff_t at = (ptrdiff_t)task * ELEMENTS, n = a->n - at < ELEMENTS ? a->n - at : ELEMENTS;
  const float *const in[5] = {a->in[0] + at, a->in[1] + at, a->in[2] + at, a->in[3] + at, a->in[4] + at};
  float *const out[4] = {a->out[0] + at, a->out[1] + at, a->out[2] + at, a->out[3] + at};
  a->crew->kernels->adamw(a->step, n, in, out);
}

const char *adamw(const struct crew *crew, const struct adamw_step *step, ptrdiff_t n, const float *const in[5], float *const out[4]) {
  const struct adamw_call a = {crew, step, n, in, out};
  return crew_run(crew, (n + ELEMENTS - 1) / ELEMENTS, 0, adamw_task, &a);
}
