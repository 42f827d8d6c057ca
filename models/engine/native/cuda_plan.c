#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_graph.h"

// Attributes.
enum {
  HEURISTICS_MODE = 200,
  HEURISTICS_GRAPH = 201,
  HEURISTICS_RESULTS = 202,
  HEURISTICS_DEVICE = 204,
  CONFIG_ENGINE = 300,
  PLAN_HANDLE = 400,
  PLAN_CONFIG = 401,
  PLAN_WORKSPACE = 402,
  PLAN_DEVICE = 407,
  GRAPH_HANDLE = 800,
  GRAPH_OPERATIONS = 801,
  PACK_IDS = 1000,
  PACK_POINTERS = 1001,
  PACK_WORKSPACE = 1003,
  ENGINE_INDEX = 1301,
  ENGINE_NOTES = 1303,
  DEVICE_JSON = 2702,
};

// cudnnBackendHeurMode_t
enum { MODE_FALLBACK = 2, MODE_A = 3 };

// cudnnBackendNumericalNote_t
enum { NOTE_TENSOR_CORE = 0, NOTE_DOWN_CONVERT_INPUTS = 1, NOTE_REDUCED_PRECISION_REDUCTION = 2, NOTE_NONDETERMINISTIC = 4, NOTES = 32 };

// cudnnStatus_t: from here on the call was right, and its execution was not.
enum { NOT_SUPPORTED = 3000, MOST_REFUSED = 8 };

// A workspace above this is not worth its memory while another engine does with
// less.
static const size_t workspace_limit = (size_t)1 << 30;

// struct device is where plans are to run: a handle, or the properties of a
// device that is not here.
struct device {
  void *handle;
  Descriptor properties;
};

// suits reads the notes of an engine and says whether the problem allows it.
static int suits(const struct problem *p, unsigned notes) {
  const unsigned float32_only = 1u << NOTE_DOWN_CONVERT_INPUTS | (p->tf32 ? 0 : 1u << NOTE_TENSOR_CORE);
  unsigned refused = 1u << NOTE_REDUCED_PRECISION_REDUCTION;
  if (p->type == CUDNN_FLOAT) refused |= float32_only;
  if (p->deterministic) refused |= 1u << NOTE_NONDETERMINISTIC;
  return !(notes & refused);
}

// plan_of makes a plan from one of the heuristics' configurations, or returns
// NULL: it does not suit, is not supported after all, or wants too much memory.
static Descriptor plan_of(const struct device *device, const struct problem *p, Descriptor config, size_t limit, struct build *b, struct found *found) {
  struct build own = {0};
  Descriptor engine = make(&own, ENGINE), plan = NULL;
  int notes[NOTES];
  int64_t count = 0, index = 0, workspace = 0;
  if (!own.status) failed(&own, cudnn.get_attribute(config, CONFIG_ENGINE, AS_DESCRIPTOR, 1, &count, &engine), "read a configuration");
  count = 0;
  if (!own.status) failed(&own, cudnn.get_attribute(engine, ENGINE_NOTES, AS_NUMERICAL_NOTE, NOTES, &count, notes), "read an engine's notes");
  if (!own.status) failed(&own, cudnn.get_attribute(engine, ENGINE_INDEX, AS_INT64, 1, &(int64_t){0}, &index), "read an engine's index");
  found->notes = 0;
  for (int64_t i = 0; i < count && i < NOTES; i++) found->notes |= 1u << notes[i];
  discard(&own);
  if (own.status || !suits(p, found->notes)) return NULL;
  if (cudnn.create_descriptor(EXECUTION_PLAN, &plan)) return NULL;
  own = (struct build){0};
  if (device->handle) set(&own, plan, PLAN_HANDLE, AS_HANDLE, 1, &device->handle);
  if (device->properties) set_descriptor(&own, plan, PLAN_DEVICE, device->properties);
  set_descriptor(&own, plan, PLAN_CONFIG, config);
  finish(&own, plan);
  if (!own.status) failed(&own, cudnn.get_attribute(plan, PLAN_WORKSPACE, AS_INT64, 1, &count, &workspace), "read a plan's workspace");
  if (own.status || (size_t)workspace > limit) {
    if (own.status) b->status = own.status;
    cudnn.destroy_descriptor(plan);
    return NULL;
  }
  found->engine = (int)index;
  found->workspace = (size_t)workspace;
  return plan;
}

// try_mode asks the heuristics in one mode, and passes over the first *skip plans.
static Descriptor try_mode(const struct device *device, const struct problem *p, Descriptor graph, int mode, size_t limit, int *skip, struct build *b, struct found *found) {
  enum { MOST = 64 };
  struct build own = {0};
  Descriptor configs[MOST], plan = NULL;
  int64_t count = 0, made = 0;
  Descriptor heuristics = make(&own, HEURISTICS);
  set_descriptor(&own, heuristics, HEURISTICS_GRAPH, graph);
  set(&own, heuristics, HEURISTICS_MODE, AS_HEURISTIC_MODE, 1, &mode);
  if (device->properties) set_descriptor(&own, heuristics, HEURISTICS_DEVICE, device->properties);
  finish(&own, heuristics);
  if (!own.status) failed(&own, cudnn.get_attribute(heuristics, HEURISTICS_RESULTS, AS_DESCRIPTOR, 0, &count, NULL), "count the heuristics' results");
  if (count > MOST) count = MOST;
  while (!own.status && made < count && !failed(&own, cudnn.create_descriptor(ENGINE_CONFIG, &configs[made]), "create a descriptor")) made++;
  if (!own.status && made) failed(&own, cudnn.get_attribute(heuristics, HEURISTICS_RESULTS, AS_DESCRIPTOR, made, &count, configs), "read the heuristics' results");
  if (own.status) {
    b->status = own.status;
    b->step = own.step;
  } else {
    found->configurations += (int)count;
    for (int64_t i = 0; i < count && !plan; i++) {
      plan = plan_of(device, p, configs[i], limit, b, found);
      if (plan && *skip > 0) {
        --*skip;
        cudnn.destroy_descriptor(plan);
        plan = NULL;
      }
    }
  }
  while (made) cudnn.destroy_descriptor(configs[--made]);
  discard(&own);
  return plan;
}

// plan_for makes a plan whose workspace is at most limit, the first after skip
// others. b says what failed if there is none.
static Descriptor plan_for(const struct device *device, const struct problem *p, describe operation, size_t limit, int skip, struct build *b, struct found *found) {
  Descriptor plan = NULL, operations[MAX_OPERATIONS];
  const int count = operation(b, p, operations);
  Descriptor graph = make(b, OPERATION_GRAPH);
  *found = (struct found){0};
  if (device->handle) set(b, graph, GRAPH_HANDLE, AS_HANDLE, 1, &device->handle);
  set(b, graph, GRAPH_OPERATIONS, AS_DESCRIPTOR, count, operations);
  finish(b, graph);
  const int described = !b->status;
  static const int modes[] = {MODE_A, MODE_FALLBACK};
  for (int i = 0; described && !plan && i < 2; i++) plan = try_mode(device, p, graph, modes[i], limit, &skip, b, found);
  return plan;
}

// struct plan is an entry of the cache. Its problem is all that it depends on.
struct plan {
  struct plan *next;
  struct problem problem;
  Descriptor plan;
  size_t workspace;
  int refused;  // plans that did not run
};

// One device serves a process. Sessions on it share the handle and the plans: a
// handle may be used by one thread at a time, and goes from stream to stream.
// https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html#cudnnsetstream
static struct {
  pthread_mutex_t lock;
  struct device device;
  struct plan *plans;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

// choose gives entry the best plan whose workspace is at most limit, after those
// that it passes over.
static const char *choose(const struct device *device, struct plan *entry, describe operation, size_t limit, struct found *found) {
  struct build b = {0};
  entry->plan = plan_for(device, &entry->problem, operation, limit, entry->refused, &b, found);
  entry->workspace = found->workspace;
  const char *wrong = entry->plan ? NULL : complain(b.step ? b.step : "choose an engine", b.status);
  discard(&b);
  return wrong;
}

// first_choice prefers a workspace below the limit to cuDNN's order.
static const char *first_choice(const struct device *device, struct plan *entry, describe operation, struct found *found) {
  const char *wrong = choose(device, entry, operation, workspace_limit, found);
  return wrong ? choose(device, entry, operation, SIZE_MAX, found) : NULL;
}

static const char *find(const struct problem *p, describe operation, struct plan **entry) {
  for (*entry = shared.plans; *entry; *entry = (*entry)->next)
    if (!memcmp(&(*entry)->problem, p, sizeof *p)) return NULL;
  struct plan *made = calloc(1, sizeof *made);
  if (!made) return "out of host memory";
  made->problem = *p;
  const char *wrong = first_choice(&shared.device, made, operation, &(struct found){0});
  if (wrong) {
    free(made);
    return wrong;
  }
  made->next = shared.plans;
  *entry = shared.plans = made;
  return NULL;
}

static const char *execute(const struct gpu *gpu, const struct plan *entry, const struct bindings *tensors, void *workspace, int *status) {
  struct build b = {0};
  Descriptor pack = make(&b, VARIANT_PACK);
  set(&b, pack, PACK_IDS, AS_INT64, tensors->count, tensors->ids);
  set(&b, pack, PACK_POINTERS, AS_POINTER, tensors->count, tensors->pointers);
  set(&b, pack, PACK_WORKSPACE, AS_POINTER, 1, &workspace);
  finish(&b, pack);
  if (!b.status) failed(&b, cudnn.set_stream(shared.device.handle, gpu->stream), "set the stream");
  if (!b.status) failed(&b, cudnn.execute(shared.device.handle, entry->plan, pack), "execute");
  const char *wrong = b.status ? complain(b.step, b.status) : NULL;
  *status = b.status;
  discard(&b);
  return wrong;
}

// replace gives entry its next best plan, or leaves it as it is: 0 or −1.
static int replace(struct plan *entry, describe operation, size_t limit) {
  struct plan other = *entry;
  if (choose(&shared.device, &other, operation, limit, &(struct found){0})) return -1;
  cudnn.destroy_descriptor(entry->plan);
  *entry = other;
  return 0;
}

static const char *run_locked(const struct gpu *gpu, const struct problem *p, describe operation, const struct bindings *tensors) {
  struct plan *entry;
  void *workspace = NULL;
  if (!cudnn.open) return "cuDNN is not open";
  if (!shared.device.handle) {
    const int status = cudnn.create(&shared.device.handle);
    if (status) return complain("cudnnCreate", status);
  }
  const char *wrong = find(p, operation, &entry);
  for (int again = !wrong; again;) {
    while (entry->workspace && !(workspace = gpu->alloc(gpu->self, entry->workspace)))
      // It does not fit beside what is there: an engine that needs less.
      if (replace(entry, operation, entry->workspace - 1))
        return about("no engine needs less: choose a smaller train.micro_batch", "out of device memory for a workspace of %zu bytes", entry->workspace);
    int status;
    wrong = execute(gpu, entry, tensors, workspace, &status);
    if (workspace) gpu->release(gpu->self, workspace);
    workspace = NULL;
    // An engine may take a problem and then not run it: the next one, a few times.
    again = 0;
    if (wrong && status >= NOT_SUPPORTED && entry->refused < MOST_REFUSED) {
      entry->refused++;
      char first[512];
      snprintf(first, sizeof first, "%s", wrong);
      again = !replace(entry, operation, SIZE_MAX);
      if (!again) wrong = about(first, "no other engine");
    }
  }
  return wrong;
}

const char *run_plan(const struct gpu *gpu, const struct problem *p, describe operation, const struct bindings *tensors) {
  pthread_mutex_lock(&shared.lock);
  const char *wrong = run_locked(gpu, p, operation, tensors);
  pthread_mutex_unlock(&shared.lock);
  return wrong;
}

const char *plan_on(const char *json, const struct problem *p, describe operation, struct found *found) {
  struct build b = {0};
  struct plan entry = {.problem = *p};
  const struct device device = {.properties = make(&b, DEVICE_PROPERTIES)};
  set(&b, device.properties, DEVICE_JSON, AS_CHAR, (int64_t)strlen(json) + 1, json);
  finish(&b, device.properties);
  const char *wrong = b.status ? complain(b.step, b.status) : first_choice(&device, &entry, operation, found);
  if (entry.plan) cudnn.destroy_descriptor(entry.plan);
  discard(&b);
  return wrong;
}

