#include "native.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operators.h"
#include "ort.h"

// custom_op comes first, so that ORT's pointer to it is a pointer to this.
struct operator {
  struct custom_op op;
  const struct operation *operation;
  int flags;      // NATIVE_CUDA …; 0: computed by the processor
  int type;       // of operands that have no type of their own
  unsigned wide;  // operation's, or what the name says
  char name[40];
};

struct kernel {
  Api api;
  const struct operator *operator;
  struct attributes attributes;
  void *allocator;
};

static const struct kernels *kernels;
static int workers;

int native_use(const char *instructions, int count) {
  const struct kernels *found = kernels_find(instructions);
  if (!found) return -1;
  kernels = found;
  workers = count > 0 ? count : (int)sysconf(_SC_NPROCESSORS_ONLN);
  if (workers < 1) workers = 1;
  return 0;
}

static void *status(Api api, int code, const char *message) {
  return ((void *(*)(int, const char *))api[CREATE_STATUS])(code, message);
}

// Attributes are read in two places, by two functions: when a kernel is made,
// and when shapes are inferred, where only the numbers matter.
struct reader {
  Api api;
  const void *info;  // OrtKernelInfo, or NULL
  void *inference;   // OrtShapeInferContext, or NULL
};

// read_ints leaves out alone where the attribute is absent.
static void *read_ints(const struct reader *r, const char *name, int64_t *out, size_t n) {
  Api api = r->api;
  int64_t read[8];
  size_t size = 0;
  void *failed;
  if (r->info) {
    failed = CALL(api, KERNEL_INFO_GET_ATTRIBUTE_ARRAY_INT64, (const void *, const char *, int64_t *, size_t *), r->info, name, NULL, &size);
    if (!failed && size == n) failed = CALL(api, KERNEL_INFO_GET_ATTRIBUTE_ARRAY_INT64, (const void *, const char *, int64_t *, size_t *), r->info, name, read, &size);
  } else {
    const void *attribute = NULL;
    failed = CALL(api, SHAPE_INFER_CONTEXT_GET_ATTRIBUTE, (void *, const char *, const void **), r->inference, name, &attribute);
    if (!failed) failed = CALL(api, READ_OP_ATTR, (const void *, int, void *, size_t, size_t *), attribute, ATTRIBUTE_INTS, read, sizeof read, &size);
    size /= sizeof *read;
  }
  if (failed) {
    RELEASE(api, RELEASE_STATUS, failed);
    return NULL;
  }
  if (size != n) {
    char message[MESSAGE];
    snprintf(message, sizeof message, "attribute %s: got %zu numbers, want %zu", name, size, n);
    return status(api, STATUS_INVALID_ARGUMENT, message);
  }
  memcpy(out, read, n * sizeof *out);
  return NULL;
}

static void read_int(const struct reader *r, const char *name, int64_t *out) {
  Api api = r->api;
  int64_t read;
  size_t size;
  void *failed;
  if (r->info) {
    failed = CALL(api, KERNEL_INFO_GET_ATTRIBUTE_INT64, (const void *, const char *, int64_t *), r->info, name, &read);
  } else {
    const void *attribute = NULL;
    failed = CALL(api, SHAPE_INFER_CONTEXT_GET_ATTRIBUTE, (void *, const char *, const void **), r->inference, name, &attribute);
    if (!failed) failed = CALL(api, READ_OP_ATTR, (const void *, int, void *, size_t, size_t *), attribute, ATTRIBUTE_INT, &read, sizeof read, &size);
  }
  if (failed) RELEASE(api, RELEASE_STATUS, failed);
  else *out = read;
}

static void read_float(const struct reader *r, const char *name, float *out) {
  float read;
  void *failed = CALL(r->api, KERNEL_INFO_GET_ATTRIBUTE_FLOAT, (const void *, const char *, float *), r->info, name, &read);
  if (failed) RELEASE(r->api, RELEASE_STATUS, failed);
  else *out = read;
}

// read_text reads a string attribute, "" where it is absent. One that does not
// fit is kept as "?", which no operator knows.
static void read_text(const struct reader *r, const char *name, char *out, size_t room) {
  size_t size = 0;
  out[0] = 0;
  void *failed = CALL(r->api, KERNEL_INFO_GET_ATTRIBUTE_STRING, (const void *, const char *, char *, size_t *), r->info, name, NULL, &size);
  if (failed) {
    RELEASE(r->api, RELEASE_STATUS, failed);
    return;
  }
  if (size > room) {
    strcpy(out, "?");
    return;
  }
  failed = CALL(r->api, KERNEL_INFO_GET_ATTRIBUTE_STRING, (const void *, const char *, char *, size_t *), r->info, name, out, &size);
  if (failed) RELEASE(r->api, RELEASE_STATUS, failed);
}

// read_long_text is read_text for a text of any length, which the caller frees;
// NULL where it is absent.
static char *read_long_text(const struct reader *r, const char *name) {
  size_t size = 0;
  void *failed = CALL(r->api, KERNEL_INFO_GET_ATTRIBUTE_STRING, (const void *, const char *, char *, size_t *), r->info, name, NULL, &size);
  char *text = failed ? NULL : calloc(1, size + 1);
  if (text) failed = CALL(r->api, KERNEL_INFO_GET_ATTRIBUTE_STRING, (const void *, const char *, char *, size_t *), r->info, name, text, &size);
  if (failed) RELEASE(r->api, RELEASE_STATUS, failed);
  return text;
}

static void *read_attributes(const struct reader *r, struct attributes *a) {
  *a = (struct attributes){.strides = {1, 1}, .epsilon = 1e-5f, .alpha = 1, .scale = 1};
  void *failed = read_ints(r, "kernel_shape", a->kernel_shape, 2);
  if (!failed) failed = read_ints(r, "strides", a->strides, 2);
  if (!failed) failed = read_ints(r, "pads", a->pads, 4);
  if (!failed) failed = read_ints(r, "shape", a->shape, 4);
  if (failed) return failed;
  read_int(r, "num_groups", &a->num_groups);
  read_int(r, "num_heads", &a->num_heads);
  read_int(r, "batch", &a->batch);
  read_int(r, "key", &a->key);
  read_int(r, "keep", &a->keep);
  if (r->info) {
    read_float(r, "epsilon", &a->epsilon);
    read_float(r, "alpha", &a->alpha);
    read_float(r, "scale", &a->scale);
    read_text(r, "activation", a->activation, sizeof a->activation);
    a->expression = read_long_text(r, "expression");
  }
  return NULL;
}

// read_shape reads info. A rank above MAX_RANK or an open dimension gives the
// rank −1, which is also an absent operand's.
static void *read_shape(Api api, void *info, struct shape *s) {
  size_t rank = 0;
  s->rank = -1;
  void *failed = CALL(api, GET_DIMENSIONS_COUNT, (void *, size_t *), info, &rank);
  if (!failed && rank <= MAX_RANK) {
    failed = CALL(api, GET_DIMENSIONS, (void *, int64_t *, size_t), info, s->dims, rank);
    if (!failed) s->rank = (int)rank;
    for (size_t i = 0; !failed && i < rank; i++)
      if (s->dims[i] < 0) s->rank = -1;
  }
  return failed;
}

// What a running operator has of ORT.
struct surroundings {
  Api api;
  void *context, *allocator;
};

static int parallel(void *self, void (*f)(void *, size_t), size_t n, void *arg) {
  const struct surroundings *s = self;
  void *failed = CALL(s->api, KERNEL_CONTEXT_PARALLEL_FOR, (const void *, void (*)(void *, size_t), size_t, size_t, void *),
                      s->context, f, n, n, arg);
  if (!failed) return 0;
  RELEASE(s->api, RELEASE_STATUS, failed);
  return -1;
}

static void *alloc(void *self, size_t bytes) {
  const struct surroundings *s = self;
  void *p = NULL;
  void *failed = CALL(s->api, ALLOCATOR_ALLOC, (void *, size_t, void **), s->allocator, bytes, &p);
  if (failed) RELEASE(s->api, RELEASE_STATUS, failed);
  return failed ? NULL : p;
}

static void release(void *self, void *p) {
  const struct surroundings *s = self;
  void *failed = CALL(s->api, ALLOCATOR_FREE, (void *, void *), s->allocator, p);
  if (failed) RELEASE(s->api, RELEASE_STATUS, failed);
}

// operand_type is the type of an operand; wide is the set that it may be in.
static int operand_type(const struct operator *operator, unsigned wide, size_t i) {
  return wide >> i & 1 ? FLOAT : operator->type;
}

static void *create(const struct custom_op *op, Api api, const void *info, void **out) {
  struct kernel *k = calloc(1, sizeof *k);
  if (!k) return status(api, STATUS_FAIL, "out of memory");
  k->api = api;
  k->operator = (const struct operator *)op;
  const struct reader r = {.api = api, .info = info};
  void *failed = read_attributes(&r, &k->attributes);
  enum { MEMORY_DEFAULT = 0 };
  if (!failed) failed = CALL(api, KERNEL_INFO_GET_ALLOCATOR, (const void *, int, void **), info, MEMORY_DEFAULT, &k->allocator);
  if (failed) {
    free(k->attributes.expression);
    free(k);
    return failed;
  }
  *out = k;
  return NULL;
}

static void destroy(void *kernel) {
  struct kernel *k = kernel;
  RELEASE(k->api, RELEASE_ALLOCATOR, k->allocator);
  free(k->attributes.expression);
  free(k);
}

static void *compute(void *kernel, void *context) {
  const struct kernel *k = kernel;
  const struct operator *const operator = k->operator;
  const struct operation *const operation = operator->operation;
  Api api = k->api;
  struct operands o = {.attributes = &k->attributes, .outputs = operation->outputs};
  size_t count = 0;
  void *failed = CALL(api, KERNEL_CONTEXT_GET_INPUT_COUNT, (const void *, size_t *), context, &count);
  if (failed) return failed;
  for (int i = 0; i < MAX_INPUTS; i++) o.in[i].rank = -1;
  for (int i = 0; i < operation->inputs && i < (int)count; i++) {
    void *value = NULL, *info = NULL;
    failed = CALL(api, KERNEL_CONTEXT_GET_INPUT, (const void *, size_t, void **), context, i, &value);
    if (failed) return failed;
    if (!value) continue;
    failed = CALL(api, GET_TENSOR_MUTABLE_DATA, (void *, void **), value, (void **)&o.input[i]);
    if (!failed) failed = CALL(api, GET_TENSOR_TYPE_AND_SHAPE, (const void *, void **), value, &info);
    if (!failed) {
      failed = read_shape(api, info, &o.in[i]);
      if (!failed) failed = CALL(api, GET_TENSOR_ELEMENT_TYPE, (const void *, int *), info, &o.in_type[i]);
      RELEASE(api, RELEASE_TENSOR_TYPE_AND_SHAPE_INFO, info);
    }
    if (failed) return failed;
    o.inputs = i + 1;
  }
  char message[MESSAGE];
  if (operation->shapes(&o, message)) return status(api, STATUS_INVALID_ARGUMENT, message);
  for (int i = 0; i < o.outputs; i++) {
    void *value = NULL;
    failed = CALL(api, KERNEL_CONTEXT_GET_OUTPUT, (void *, size_t, const int64_t *, size_t, void **), context, i, o.out[i].dims, o.out[i].rank, &value);
    if (!failed && value) failed = CALL(api, GET_TENSOR_MUTABLE_DATA, (void *, void **), value, (void **)&o.output[i]);
    if (failed) return failed;
    o.out_type[i] = operand_type(operator, operator->wide, i);
  }
  struct surroundings s = {api, context, k->allocator};
  const char *wrong;
  if (operator->flags) {
    struct gpu gpu = {
      .tf32 = operator->flags & NATIVE_TF32, .deterministic = operator->flags & NATIVE_DETERMINISTIC, .self = &s, .alloc = alloc, .release = release,
    };
    failed = CALL(api, KERNEL_CONTEXT_GET_GPU_COMPUTE_STREAM, (const void *, void **), context, &gpu.stream);
    if (failed) return failed;
    wrong = operation->cuda(&gpu, &o);
  } else {
    const struct crew crew = {.kernels = kernels, .workers = workers, .self = &s, .parallel = parallel, .alloc = alloc, .release = release};
    wrong = operation->compute(&crew, &o);
  }
  return wrong ? status(api, STATUS_FAIL, wrong) : NULL;
}

static Api shared_api;  // infer is given none

static int output_type(const struct custom_op *op, size_t i) { return operand_type((const struct operator *)op, ((const struct operator *)op)->wide, i); }

// infer tells ORT the output shapes where the input shapes are known, so that
// later operators can be planned to reuse memory.
static void *infer(const struct custom_op *op, void *context) {
  Api api = shared_api;
  const struct operation *operation = ((const struct operator *)op)->operation;
  struct attributes attributes;
  const struct reader r = {.api = api, .inference = context};
  void *failed = read_attributes(&r, &attributes);
  if (failed) return failed;
  struct operands o = {.attributes = &attributes};
  // ORT asks the first of all operators of one name, so that the type is input 0's.
  struct operator typed = *(const struct operator *)op;
  size_t count = 0;
  failed = CALL(api, SHAPE_INFER_CONTEXT_GET_INPUT_COUNT, (const void *, size_t *), context, &count);
  if (failed) return failed;
  for (int i = 0; i < MAX_INPUTS; i++) o.in[i].rank = -1;
  for (int i = 0; i < operation->inputs && i < (int)count; i++) {
    void *info = NULL;  // the context's own
    failed = CALL(api, SHAPE_INFER_CONTEXT_GET_INPUT_TYPE_SHAPE, (const void *, size_t, void **), context, i, &info);
    if (failed) return failed;
    if (info) failed = read_shape(api, info, &o.in[i]);
    if (!failed && info && i == 0 && !operation->any) failed = CALL(api, GET_TENSOR_ELEMENT_TYPE, (const void *, int *), info, &typed.type);
    if (failed) return failed;
    // Of the optional ones an open shape looks like an absent operand, and one of
    // which nothing is known like a scalar's.
    if (i < operation->required_inputs && o.in[i].rank < 0) return NULL;
    if ((operation->any || i == 0) && o.in[i].rank < 1) return NULL;
  }
  char message[MESSAGE];
  if (operation->shapes(&o, message)) return status(api, STATUS_INVALID_ARGUMENT, message);
  for (int i = 0; i < operation->outputs && !failed; i++) {
    void *info = NULL;
    failed = CALL(api, CREATE_TENSOR_TYPE_AND_SHAPE_INFO, (void **), &info);
    if (failed) break;
    failed = CALL(api, SET_TENSOR_ELEMENT_TYPE, (void *, int), info, operand_type(&typed, operation->wide, i));
    if (!failed) failed = CALL(api, SET_DIMENSIONS, (void *, const int64_t *, size_t), info, o.out[i].dims, o.out[i].rank);
    if (!failed) failed = CALL(api, SHAPE_INFER_CONTEXT_SET_OUTPUT_TYPE_SHAPE, (const void *, size_t, const void *), context, i, info);
    RELEASE(api, RELEASE_TENSOR_TYPE_AND_SHAPE_INFO, info);
  }
  return failed;
}

static const struct operation *of(const struct custom_op *op) { return ((const struct operator *)op)->operation; }
static const char *name(const struct custom_op *op) { return ((const struct operator *)op)->name; }

static const char *provider(const struct custom_op *op) {
  const int flags = ((const struct operator *)op)->flags;
  return flags & NATIVE_CUDA && !(flags & NATIVE_ON_HOST) ? "CUDAExecutionProvider" : NULL;
}

static int input_type(const struct custom_op *op, size_t i) {
  if (of(op)->any) return ELEMENT_ANY;
  return i > 0 && (int)i == of(op)->whole ? INT64 : operand_type((const struct operator *)op, of(op)->wide_inputs, i);
}

static size_t inputs(const struct custom_op *op) { return of(op)->inputs; }
static size_t outputs(const struct custom_op *op) { return of(op)->outputs; }
static int input_characteristic(const struct custom_op *op, size_t i) { return (int)i < of(op)->required_inputs ? REQUIRED : OPTIONAL; }
static int output_characteristic(const struct custom_op *op, size_t i) { return (int)i < of(op)->required_outputs ? REQUIRED : OPTIONAL; }
static int memory(const struct custom_op *op, size_t i) { return (void)op, (void)i, 0; }
static int one(const struct custom_op *op) { return (void)op, 1; }

// last_version must be said: else ONNX Runtime 1.30 finds only the first of the
// operators of one name that differ in their types.
static int last_version(const struct custom_op *op) { return (void)op, 1 << 30; }

// ORT asks without saying of which operator, so there is a function an input.
static size_t inplace(int input, int **in, int **out) {
  *in = calloc(1, sizeof **in);
  *out = calloc(1, sizeof **out);
  if (!*in || !*out) return 0;
  **in = input;
  return 1;
}

static size_t inplace_0(int **in, int **out) { return inplace(0, in, out); }
static size_t inplace_2(int **in, int **out) { return inplace(2, in, out); }
static size_t inplace_3(int **in, int **out) { return inplace(3, in, out); }

static void release_inplace(int *in, int *out) {
  free(in);
  free(out);
}

static char *text(void *failed) {
  if (!failed) return NULL;
  char *copy = strdup(((const char *(*)(void *))shared_api[GET_ERROR_MESSAGE])(failed));
  RELEASE(shared_api, RELEASE_STATUS, failed);
  return copy;
}

// A domain is made once for each set of flags, and lives as long as the process,
// because sessions refer to it until they are closed.
static struct domain {
  void *domain;
  char *error;
} domains[NATIVE_FLAGS];

// add makes operation an operator of the domain, of this name.
static char *add(struct domain *d, int flags, const struct operation *operation, int type, unsigned wide, const char *called) {
  struct operator *o = calloc(1, sizeof *o);
  if (!o) return strdup("out of memory");
  o->operation = operation;
  o->flags = flags;
  o->type = type;
  o->wide = wide;
  snprintf(o->name, sizeof o->name, "%s", called);
  o->op = (struct custom_op){
    .version = ORT_VERSION, .name = name, .provider = provider, .input_type = input_type, .inputs = inputs,
    .output_type = output_type, .outputs = outputs, .destroy = destroy, .input_characteristic = input_characteristic,
    .output_characteristic = output_characteristic, .input_memory = memory, .variadic_input_minimum = one,
    .variadic_input_homogeneous = one, .variadic_output_minimum = one, .variadic_output_homogeneous = one,
    .create = create, .compute = compute, .infer = infer, .start_version = one, .end_version = last_version,
  };
  size_t (*const by_input[])(int **, int **) = {inplace_0, NULL, inplace_2, inplace_3};
  if (operation->inplace != NOWHERE) {
    o->op.may_inplace = by_input[operation->inplace];
    o->op.release_may_inplace = release_inplace;
  }
  return text(CALL(shared_api, CUSTOM_OP_DOMAIN_ADD, (void *, const void *), d->domain, &o->op));
}

static char *make_domain(struct domain *d, int flags) {
  static const struct { int type; const char *suffix; } types[] = {{FLOAT, ""}, {FLOAT16, "Float16"}, {BFLOAT16, "BFloat16"}};
  char *error = text(CALL(shared_api, CREATE_CUSTOM_OP_DOMAIN, (const char *, void **), "immiscible", &d->domain));
  for (int i = 0; i < operation_count && !error; i++) {
    const struct operation *const o = &operations[i];
    if (!flags && o->compute) error = add(d, flags, o, FLOAT, o->wide, o->name);
    if (!flags || !o->cuda) continue;
    const int count = o->wide_inputs == ~0u || o->any ? 1 : 3;  // float32 alone, or all
    for (int t = 0; t < count && !error; t++) error = add(d, flags, o, types[t].type, o->wide, o->name);
    for (int t = 1; t < 3 && o->any; t++) {
      for (int half = 1; half <= o->outputs && !error; half++) {
        char called[40];
        snprintf(called, sizeof called, "%s%sx%d", o->name, types[t].suffix, half);
        error = add(d, flags, o, types[t].type, ~0u << half, called);
      }
    }
  }
  return error;
}

char *native_register(void *const *api, void *session_options, int flags) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  if (!shared_api) {
    shared_api = api;
    native_use(NULL, 0);
  }
  struct domain *const d = &domains[flags];
  if (!d->domain && !d->error) d->error = make_domain(d, flags);
  pthread_mutex_unlock(&lock);
  if (d->error) return strdup(d->error);
  return text(CALL(shared_api, ADD_CUSTOM_OP_DOMAIN, (void *, void *), session_options, d->domain));
}
