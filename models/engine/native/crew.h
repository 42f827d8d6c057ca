// What an operator may use of its surroundings: the session's threads and its
// memory. Operators see nothing else, so that they can be run outside ORT.
#ifndef IMMISCIBLE_NATIVE_CREW_H
#define IMMISCIBLE_NATIVE_CREW_H

#include <stddef.h>

#include "kernels.h"

struct crew {
  const struct kernels *kernels;
  int workers;  // how many threads there may be
  void *self;   // passed back to the functions below
  // parallel calls f(arg, i) for 0 ≤ i < n, in any order, and returns when all are
  // done: 0, or −1 if it could not.
  int (*parallel)(void *self, void (*f)(void *arg, size_t i), size_t n, void *arg);
  // alloc gives memory aligned to 64 bytes, or NULL.
  void *(*alloc)(void *self, size_t bytes);
  void (*release)(void *self, void *p);
};

// crew_run calls task(arg, scratch, i) for 0 ≤ i < tasks. No two calls at the
// same time get the same scratch (floats of it; its content is undefined). How
// the tasks fall to threads is left to chance, so a task must not depend on any
// other: that is what makes results independent of the number of threads.
// Returns NULL, or what went wrong.
const char *crew_run(const struct crew *c, size_t tasks, size_t floats, void (*task)(const void *arg, float *scratch, size_t i), const void *arg);

#endif
