#include "crew.h"

#include <stdatomic.h>

struct run {
  void (*task)(const void *arg, float *scratch, size_t i);
  const void *arg;
  float *scratch;
  size_t floats, tasks;
  atomic_size_t next;
};

// worker takes the next task until none is left.
static void worker(void *arg, size_t i) {
  struct run *r = arg;
  float *scratch = r->scratch + i * r->floats;
  for (size_t t; (t = atomic_fetch_add(&r->next, 1)) < r->tasks;) r->task(r->arg, scratch, t);
}

const char *crew_run(const struct crew *c, size_t tasks, size_t floats, void (*task)(const void *arg, float *scratch, size_t i), const void *arg) {
  const size_t workers = tasks < (size_t)c->workers ? tasks : (size_t)c->workers;
  struct run r = {.task = task, .arg = arg, .floats = (floats + 15) & ~(size_t)15, .tasks = tasks};
  if (floats) {
    r.scratch = c->alloc(c->self, workers * r.floats * sizeof(float));
    if (!r.scratch) return "out of memory for scratch: use a smaller micro_batch";
  }
  const int failed = c->parallel(c->self, worker, workers, &r);
  if (floats) c->release(c->self, r.scratch);
  return failed ? "the session's threads did not take the work" : NULL;
}
