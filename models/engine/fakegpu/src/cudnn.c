// libcudnn.so.9 for a machine without a GPU: descriptors that are checked as
// cuDNN's documentation says, and a graph's operations computed at once on the
// processor, in double precision, for device memory is the host's.
// https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html
//
// Its engines have the notes and the workspaces by which a caller chooses, and
// what they compute shows which one was chosen: see engines. An operation that it
// does not know succeeds, computes nothing, and is counted.
#include "cudnn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct engine engines[ENGINES] = {
  {1u << TENSOR_CORE, 512},          // float32 is read as TF32
  {1u << DOWN_CONVERT_INPUTS, 0},    // float32 is read as float16
  {0, (int64_t)8 << 30},             // is not to be used, because of its workspace
  {1u << NONDETERMINISTIC, 256},     // every second result is 2⁻²⁰ too large
  {0, 768},
};

// cudnnBackendAttributeType_t
enum { A_HANDLE, A_DATA_TYPE, A_BOOLEAN, A_INT64, A_FLOAT, A_DOUBLE, A_POINTER, A_CONVOLUTION_MODE, A_HEURISTIC_MODE, A_NOTE = 11, A_POINTWISE_MODE = 14, A_DESCRIPTOR = 15, A_REDUCTION = 18, A_BEHAVIOR = 19, A_INT32 = 23, A_CHAR = 24, A_FRACTION = 26 };

// struct rule is what an attribute must be: of type, or the other one; least to
// most elements; of a kind of descriptor.
static const struct rule {
  int owner, name, type, other, least, most, required, kind;
} rules[] = {
  {D_POINTWISE, 0, A_POINTWISE_MODE, -1, 1, 1, 1, -1}, {D_POINTWISE, 1, A_DATA_TYPE, -1, 1, 1, 1, -1},
  {D_CONVOLUTION, 100, A_DATA_TYPE, -1, 1, 1, 1, -1}, {D_CONVOLUTION, 101, A_CONVOLUTION_MODE, -1, 1, 1, 1, -1}, {D_CONVOLUTION, 102, A_INT64, -1, 1, 8, 1, -1},
  {D_CONVOLUTION, 103, A_INT64, -1, 1, 8, 1, -1}, {D_CONVOLUTION, 104, A_INT64, -1, 1, 8, 1, -1}, {D_CONVOLUTION, 105, A_INT64, -1, 1, 8, 1, -1}, {D_CONVOLUTION, 106, A_INT64, -1, 1, 1, 1, -1},
  {D_HEURISTICS, 200, A_HEURISTIC_MODE, -1, 1, 1, 1, -1}, {D_HEURISTICS, 201, A_DESCRIPTOR, -1, 1, 1, 1, D_GRAPH},
  {D_CONFIG, 300, A_DESCRIPTOR, -1, 1, 1, 1, D_ENGINE},
  {D_PLAN, 400, A_HANDLE, -1, 1, 1, 0, -1}, {D_PLAN, 401, A_DESCRIPTOR, -1, 1, 1, 1, D_CONFIG},
  {D_CONVOLUTION_FORWARD, 700, A_FLOAT, A_DOUBLE, 1, 1, 1, -1}, {D_CONVOLUTION_FORWARD, 701, A_FLOAT, A_DOUBLE, 1, 1, 1, -1}, {D_CONVOLUTION_FORWARD, 702, A_DESCRIPTOR, -1, 1, 1, 1, D_CONVOLUTION},
  {D_CONVOLUTION_FORWARD, 703, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_CONVOLUTION_FORWARD, 704, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_CONVOLUTION_FORWARD, 705, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR},
  {D_INPUT_GRADIENT, 706, A_FLOAT, A_DOUBLE, 1, 1, 1, -1}, {D_INPUT_GRADIENT, 707, A_FLOAT, A_DOUBLE, 1, 1, 1, -1}, {D_INPUT_GRADIENT, 708, A_DESCRIPTOR, -1, 1, 1, 1, D_CONVOLUTION},
  {D_INPUT_GRADIENT, 709, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_INPUT_GRADIENT, 710, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_INPUT_GRADIENT, 711, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR},
  {D_WEIGHT_GRADIENT, 712, A_FLOAT, A_DOUBLE, 1, 1, 1, -1}, {D_WEIGHT_GRADIENT, 713, A_FLOAT, A_DOUBLE, 1, 1, 1, -1}, {D_WEIGHT_GRADIENT, 714, A_DESCRIPTOR, -1, 1, 1, 1, D_CONVOLUTION},
  {D_WEIGHT_GRADIENT, 715, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_WEIGHT_GRADIENT, 716, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_WEIGHT_GRADIENT, 717, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR},
  {D_OPERATION_POINTWISE, 750, A_DESCRIPTOR, -1, 1, 1, 1, D_POINTWISE}, {D_OPERATION_POINTWISE, 751, A_DESCRIPTOR, -1, 1, 1, 0, D_TENSOR}, {D_OPERATION_POINTWISE, 752, A_DESCRIPTOR, -1, 1, 1, 0, D_TENSOR},
  {D_OPERATION_POINTWISE, 753, A_DESCRIPTOR, -1, 1, 1, 0, D_TENSOR}, {D_OPERATION_POINTWISE, 754, A_FLOAT, A_DOUBLE, 1, 1, 0, -1}, {D_OPERATION_POINTWISE, 755, A_FLOAT, A_DOUBLE, 1, 1, 0, -1},
  {D_GRAPH, 800, A_HANDLE, -1, 1, 1, 0, -1}, {D_GRAPH, 801, A_DESCRIPTOR, -1, 1, 64, 1, -1},
  {D_TENSOR, 900, A_INT64, -1, 1, 1, 1, -1}, {D_TENSOR, 901, A_DATA_TYPE, -1, 1, 1, 1, -1}, {D_TENSOR, 902, A_INT64, -1, 1, 8, 1, -1}, {D_TENSOR, 903, A_INT64, -1, 1, 8, 1, -1},
  {D_TENSOR, 906, A_INT64, -1, 1, 1, 1, -1}, {D_TENSOR, 907, A_BOOLEAN, -1, 1, 1, 0, -1}, {D_TENSOR, 908, A_BOOLEAN, -1, 1, 1, 0, -1},
  {D_PACK, 1000, A_INT64, -1, 1, 64, 1, -1}, {D_PACK, 1001, A_POINTER, -1, 1, 64, 1, -1}, {D_PACK, 1003, A_POINTER, -1, 1, 1, 0, -1},
  {D_MATMUL, 1500, A_DATA_TYPE, -1, 1, 1, 1, -1},
  {D_OPERATION_MATMUL, 1520, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_OPERATION_MATMUL, 1521, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_OPERATION_MATMUL, 1522, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_OPERATION_MATMUL, 1523, A_DESCRIPTOR, -1, 1, 1, 1, D_MATMUL},
  {D_REDUCTION, 1600, A_REDUCTION, -1, 1, 1, 1, -1}, {D_REDUCTION, 1601, A_DATA_TYPE, -1, 1, 1, 1, -1},
  {D_OPERATION_REDUCTION, 1610, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_OPERATION_REDUCTION, 1611, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_OPERATION_REDUCTION, 1612, A_DESCRIPTOR, -1, 1, 1, 1, D_REDUCTION},
  {D_RESHAPE, 2200, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_RESHAPE, 2201, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR},
  {D_SDPA_FORWARD, 2800, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_SDPA_FORWARD, 2801, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_SDPA_FORWARD, 2802, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR},
  {D_SDPA_FORWARD, 2803, A_DESCRIPTOR, -1, 1, 1, 1, D_TENSOR}, {D_SDPA_FORWARD, 2804, A_DESCRIPTOR, -1, 1, 1, 0, D_TENSOR}, {D_SDPA_FORWARD, 2805, A_DESCRIPTOR, -1, 1, 1, 0, D_TENSOR},
};
enum { RULES = sizeof rules / sizeof *rules };

static _Thread_local char last_error[256];

static int fail(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

static size_t size_of(int type) {
  switch (type) {
    case A_BOOLEAN: case A_CHAR: return 1;
    case A_HANDLE: case A_INT64: case A_DOUBLE: case A_POINTER: case A_DESCRIPTOR: return 8;
    case A_FRACTION: return 16;
  }
  return 4;
}

const struct value *find(const struct descriptor *d, int name) {
  for (const struct value *v = d ? d->values : NULL; v; v = v->next)
    if (v->name == name) return v;
  return NULL;
}

const struct descriptor *child(const struct descriptor *d, int name) {
  const struct value *v = find(d, name);
  return v ? *(struct descriptor **)v->data : NULL;
}

double number(const struct descriptor *d, int name, double fallback) {
  const struct value *v = find(d, name);
  if (!v) return fallback;
  switch (v->type) {
    case A_FLOAT: return *(float *)v->data;
    case A_DOUBLE: return *(double *)v->data;
    case A_INT64: return (double)*(int64_t *)v->data;
    case A_BOOLEAN: return *(char *)v->data;
  }
  return *(int *)v->data;
}

// A descriptor keeps those that were set on it, though their owner destroys them.
static void drop(struct descriptor *d) {
  if (__atomic_sub_fetch(&d->references, 1, __ATOMIC_ACQ_REL)) return;
  for (struct value *v = d->values, *next; v; v = next) {
    next = v->next;
    for (int64_t i = 0; v->type == A_DESCRIPTOR && i < v->count; i++) drop(((struct descriptor **)v->data)[i]);
    free(v->data);
    free(v);
  }
  free(d);
}

static int put(struct descriptor *d, int name, int type, int64_t count, const void *data) {
  struct value *v = (struct value *)find(d, name);
  if (!v) {
    v = calloc(1, sizeof *v);
    if (!v) return fail(NO_MEMORY, "no memory");
    v->next = d->values;
    d->values = v;
  }
  void *copy = malloc(count * size_of(type) + 1);
  memcpy(copy, data, count * size_of(type));
  for (int64_t i = 0; type == A_DESCRIPTOR && i < count; i++) __atomic_add_fetch(&((struct descriptor **)copy)[i]->references, 1, __ATOMIC_ACQ_REL);
  for (int64_t i = 0; v->data && v->type == A_DESCRIPTOR && i < v->count; i++) drop(((struct descriptor **)v->data)[i]);
  free(v->data);
  v->name = name, v->type = type, v->count = count, v->data = copy;
  return OK;
}

int cudnnBackendCreateDescriptor(int type, void **out) {
  if (!out) return fail(NULL_POINTER, "descriptor is NULL");
  if (type < 0 || type > D_LAST) return fail(NOT_SUPPORTED, "no descriptor type %d", type);
  struct descriptor *d = calloc(1, sizeof *d);
  d->type = type;
  d->references = 1;
  *out = d;
  return OK;
}

int cudnnBackendDestroyDescriptor(void *d) {
  if (d) drop(d);
  return OK;
}

int cudnnBackendSetAttribute(void *descriptor, int name, int type, int64_t count, const void *data) {
  struct descriptor *d = descriptor;
  if (!d || !data) return fail(NULL_POINTER, "attribute %d: NULL", name);
  if (d->finished) return fail(NOT_INITIALIZED, "attribute %d: the descriptor of type %d is finalized", name, d->type);
  for (int i = 0; i < RULES; i++) {
    const struct rule *r = &rules[i];
    if (r->owner != d->type || r->name != name) continue;
    if (type != r->type && type != r->other) return fail(ATTRIBUTE_TYPE, "attribute %d: type %d, want %d", name, type, r->type);
    if (count < r->least || count > r->most) return fail(BAD_PARAM, "attribute %d: %lld elements, want %d to %d", name, (long long)count, r->least, r->most);
    for (int64_t j = 0; type == A_DESCRIPTOR && j < count; j++) {
      const struct descriptor *c = ((struct descriptor *const *)data)[j];
      if (!c) return fail(NULL_POINTER, "attribute %d: NULL", name);
      if (!c->finished) return fail(NOT_FINALIZED, "attribute %d: a descriptor of type %d is not finalized", name, c->type);
      if (r->kind >= 0 && c->type != r->kind) return fail(DESCRIPTOR_TYPE, "attribute %d: a descriptor of type %d, want %d", name, c->type, r->kind);
    }
  }
  return put(d, name, type, count, data);
}

int cudnnBackendFinalize(void *descriptor) {
  struct descriptor *d = descriptor;
  if (!d) return fail(NULL_POINTER, "descriptor is NULL");
  for (int i = 0; i < RULES; i++)
    if (rules[i].owner == d->type && rules[i].required && !find(d, rules[i].name)) return fail(BAD_PARAM, "descriptor type %d: attribute %d is missing", d->type, rules[i].name);
  if (d->type == D_TENSOR && find(d, 902)->count != find(d, 903)->count) return fail(BAD_PARAM, "a tensor's dimensions and strides differ in number");
  if (d->type == D_PACK && find(d, 1000)->count != find(d, 1001)->count) return fail(BAD_PARAM, "a variant pack's ids and pointers differ in number");
  const char *wrong = shape_error(d);
  if (wrong) return fail(SHAPE_MISMATCH, "%s", wrong);
  d->finished = 1;
  return OK;
}

// give copies an attribute's elements out.
static int give(const void *data, size_t size, int64_t have, int64_t room, int64_t *count, void *out) {
  if (count) *count = have;
  if (out && room > 0) memcpy(out, data, size * (size_t)(room < have ? room : have));
  return OK;
}

// With $FAKEGPU_IDLE no engine wants any, so that what others take is counted alone.
static int64_t workspace_of(int64_t engine) { return getenv("FAKEGPU_IDLE") ? 0 : engines[engine].workspace; }

static int64_t engine_of(const struct descriptor *plan) { return (int64_t)number(child(child(plan, 401), 300), 1301, 0); }

int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t room, int64_t *count, void *out) {
  const struct descriptor *d = descriptor;
  if (!d) return fail(NULL_POINTER, "descriptor is NULL");
  if (!d->finished) return fail(NOT_FINALIZED, "attribute %d: the descriptor of type %d is not finalized", name, d->type);
  struct descriptor **children = out;
  if (d->type == D_HEURISTICS && name == 202) {
    if (type != A_DESCRIPTOR) return fail(ATTRIBUTE_TYPE, "attribute 202: type %d", type);
    for (int64_t i = 0; i < room && i < ENGINES; i++) {
      if (children[i]->type != D_CONFIG) return fail(DESCRIPTOR_TYPE, "attribute 202: want engine configurations");
      struct descriptor *e = NULL;
      cudnnBackendCreateDescriptor(D_ENGINE, (void **)&e);
      put(e, 1300, A_DESCRIPTOR, 1, find(d, 201)->data);
      put(e, 1301, A_INT64, 1, &i);
      e->finished = children[i]->finished = 1;
      put(children[i], 300, A_DESCRIPTOR, 1, &e);
      drop(e);
    }
    if (count) *count = room > 0 && room < ENGINES ? room : ENGINES;
    return OK;
  }
  if (d->type == D_CONFIG && name == 300) {
    if (room < 1 || children[0]->type != D_ENGINE) return fail(DESCRIPTOR_TYPE, "attribute 300: want an engine");
    put(children[0], 1300, A_DESCRIPTOR, 1, find(child(d, 300), 1300)->data);
    put(children[0], 1301, A_INT64, 1, find(child(d, 300), 1301)->data);
    children[0]->finished = 1;
    if (count) *count = 1;
    return OK;
  }
  if (d->type == D_CONFIG && name == 302) return give(NULL, 0, 0, 0, count, NULL);
  if (d->type == D_CONFIG && name == 303) return give(&(int64_t){workspace_of((int64_t)number(child(d, 300), 1301, 0))}, 8, 1, room, count, out);
  if (d->type == D_CONFIG && name == 304) return give(&(int32_t){0}, 4, 1, room, count, out);
  if (d->type == D_ENGINE && name == 1303) {
    int notes[32], n = 0;
    const unsigned set = engines[(int64_t)number(d, 1301, 0)].notes;
    for (int i = 0; i < 32; i++)
      if (set >> i & 1) notes[n++] = i;
    return type == A_NOTE ? give(notes, sizeof *notes, n, room, count, out) : fail(ATTRIBUTE_TYPE, "attribute 1303: type %d", type);
  }
  // No knobs, no layouts, no notes on behaviour.
  if ((d->type == D_ENGINE && (name == 1302 || name == 1304 || name == 1305)) || (d->type == D_CONFIG && name == 302)) return give(NULL, 0, 0, 0, count, NULL);
  if (d->type == D_CONFIG && name == 303) return give(&engines[(int64_t)number(child(d, 300), 1301, 0)].workspace, 8, 1, room, count, out);
  if (d->type == D_GRAPH && name == 802) return give(&(int64_t){ENGINES}, 8, 1, room, count, out);
  if (d->type == D_PLAN && name == 402) return type == A_INT64 ? give(&(int64_t){workspace_of(engine_of(d))}, 8, 1, room, count, out) : fail(ATTRIBUTE_TYPE, "attribute 402: type %d", type);
  const struct value *v = find(d, name);
  if (!v) return fail(NOT_SUPPORTED, "descriptor type %d has no attribute %d", d->type, name);
  if (v->type != type) return fail(ATTRIBUTE_TYPE, "attribute %d: type %d, want %d", name, type, v->type);
  return give(v->data, size_of(type), v->count, room, count, out);
}

int cudnnBackendExecute(void *handle, void *plan_descriptor, void *pack_descriptor) {
  const struct descriptor *plan = plan_descriptor, *pack = pack_descriptor;
  if (!handle || !plan || !pack) return fail(NULL_POINTER, "execute: NULL");
  if (plan->type != D_PLAN || pack->type != D_PACK) return fail(DESCRIPTOR_TYPE, "execute: want a plan and a variant pack");
  if (!plan->finished || !pack->finished) return fail(NOT_FINALIZED, "execute: a descriptor is not finalized");
  const struct engine *engine = &engines[engine_of(plan)];
  const struct value *workspace = find(pack, 1003);
  void *memory = workspace ? *(void **)workspace->data : NULL;
  if (workspace_of(engine_of(plan)) && !memory) return fail(BAD_PARAM, "execute: the plan needs a workspace of %lld bytes", (long long)engine->workspace);
  if (workspace_of(engine_of(plan)) > (int64_t)1 << 30) return fail(NOT_SUPPORTED, "execute: nobody should want a workspace of %lld bytes", (long long)engine->workspace);
  // An engine that takes a problem and then does not run it.
  const struct value *of = find(child(child(child(plan, 401), 300), 1300), 801);
  if (engine_of(plan) == 0 && (*(struct descriptor **)of->data)->type == D_WEIGHT_GRADIENT) return fail(NOT_SUPPORTED, "execute: not after all");
  if (getenv("FAKEGPU_IDLE")) return OK;
  if (memory) memset(memory, 0xa5, engine->workspace);  // what lay there is lost
  const int unknown = compute(child(child(child(plan, 401), 300), 1300), engine, pack);
  if (fakegpu_count) fakegpu_count(unknown ? "graphs of cuDNN that are not computed" : "graphs of cuDNN", 1);
  return OK;
}

void cudnnGetLastErrorString(char *message, size_t size) {
  snprintf(message, size, "%s", last_error);
  last_error[0] = 0;
}

const char *cudnnGetErrorString(int status) {
  switch (status) {
    case OK: return "CUDNN_STATUS_SUCCESS";
    case NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
    case NULL_POINTER: return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case NOT_FINALIZED: return "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED";
    case SHAPE_MISMATCH: return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case ATTRIBUTE_TYPE: return "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE";
    case DESCRIPTOR_TYPE: return "CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE";
    case NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
  }
  return "CUDNN_STATUS_BAD_PARAM";
}
