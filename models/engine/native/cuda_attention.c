// Attention forward as one operation of cuDNN's graph API, and backward as the
// graph of products and pointwise operations that its fused engines know.

#include <string.h>

#include "cuda_cudnn.h"
#include "cuda_graph.h"

// Attributes.
enum {
  MODE = 0,
  MODE_PRECISION = 1,
  POINTWISE_KIND = 750,
  POINTWISE_X = 751,
  POINTWISE_B = 752,
  POINTWISE_Y = 753,
  PRODUCT_PRECISION = 1500,
  PRODUCT_A = 1520,  // then b, c
  PRODUCT_KIND = 1523,
  REDUCTION_OPERATOR = 1600,
  REDUCTION_PRECISION = 1601,
  REDUCTION_X = 1610,  // then y
  REDUCTION_KIND = 1612,
  RESHAPE_X = 2200,  // then y
  FORWARD_Q = 2800,  // then k, v, y, stats, scale
};

// cudnnPointwiseMode_t and cudnnReduceTensorOp_t.
enum { MULTIPLY = 1, SUBTRACT = 9, EXPONENTIAL = 13, IDENTITY = 21, SUM = 0 };

// The tensors' names.
enum { Q = 1, K, V, Y, STATS, SCALE, DQ, DK, DV, DY, ONE, DY_Y, DQ_SUMS };

// What struct problem's sizes are.
enum { N, HEADS, T, S, WIDTH, STATISTICS };

static int describe_forward(struct build *b, const struct problem *p, Descriptor operations[MAX_OPERATIONS]) {
  const int64_t n = p->size[N], heads = p->size[HEADS], t = p->size[T], s = p->size[S], d = p->size[WIDTH], c = heads * d;
  const int64_t rows[] = {n, heads, t, d}, row_strides[] = {t * c, d, c, 1};
  const int64_t keys[] = {n, heads, s, d}, key_strides[] = {s * c, d, c, 1};
  const int64_t stats[] = {n, heads, t, 1}, stat_strides[] = {heads * t, t, 1, 1};
  Descriptor operands[] = {
    tensor(b, Q, p->type, rows, row_strides), tensor(b, K, p->type, keys, key_strides), tensor(b, V, p->type, keys, key_strides), tensor(b, Y, p->type, rows, row_strides),
    p->size[STATISTICS] ? tensor(b, STATS, CUDNN_FLOAT, stats, stat_strides) : NULL, number(b, SCALE),
  };
  Descriptor forward = make(b, SDPA_FORWARD);
  for (int i = 0; i < 6; i++)
    if (operands[i]) set_descriptor(b, forward, FORWARD_Q + i, operands[i]);
  finish(b, forward);
  operations[0] = forward;
  return 1;
}

// struct list is a growing list of operations.
struct list {
  struct build *b;
  Descriptor *operations;
  int count;
};

static void append(struct list *l, Descriptor operation) {
  finish(l->b, operation);
  l->operations[l->count++] = operation;
}

// pointwise appends y = mode(x, other); other may be NULL.
static Descriptor pointwise(struct list *l, int mode, Descriptor x, Descriptor other, Descriptor y) {
  const int precision = CUDNN_FLOAT;
  Descriptor kind = make(l->b, POINTWISE), operation = make(l->b, OPERATION_POINTWISE);
  set(l->b, kind, MODE, AS_POINTWISE_MODE, 1, &mode);
  set(l->b, kind, MODE_PRECISION, AS_DATA_TYPE, 1, &precision);
  finish(l->b, kind);
  set_descriptor(l->b, operation, POINTWISE_KIND, kind);
  set_descriptor(l->b, operation, POINTWISE_X, x);
  if (other) set_descriptor(l->b, operation, POINTWISE_B, other);
  set_descriptor(l->b, operation, POINTWISE_Y, y);
  append(l, operation);
  return y;
}

// product appends c = a·b.
static Descriptor product(struct list *l, Descriptor a, Descriptor b, Descriptor c) {
  const int precision = CUDNN_FLOAT;
  Descriptor kind = make(l->b, MATMUL), operation = make(l->b, OPERATION_MATMUL);
  set(l->b, kind, PRODUCT_PRECISION, AS_DATA_TYPE, 1, &precision);
  finish(l->b, kind);
  set_descriptor(l->b, operation, PRODUCT_KIND, kind);
  set_descriptor(l->b, operation, PRODUCT_A, a);
  set_descriptor(l->b, operation, PRODUCT_A + 1, b);
  set_descriptor(l->b, operation, PRODUCT_A + 2, c);
  append(l, operation);
  return c;
}

static Descriptor sum(struct list *l, Descriptor x, Descriptor y) {
  const int precision = CUDNN_FLOAT, operator= SUM;
  Descriptor kind = make(l->b, REDUCTION), operation = make(l->b, OPERATION_REDUCTION);
  set(l->b, kind, REDUCTION_OPERATOR, AS_REDUCTION_OPERATOR, 1, &operator);
  set(l->b, kind, REDUCTION_PRECISION, AS_DATA_TYPE, 1, &precision);
  finish(l->b, kind);
  set_descriptor(l->b, operation, REDUCTION_KIND, kind);
  set_descriptor(l->b, operation, REDUCTION_X, x);
  set_descriptor(l->b, operation, REDUCTION_X + 1, y);
  append(l, operation);
  return y;
}

// reshape appends y, which is x with other dimensions and strides.
static Descriptor reshape(struct list *l, Descriptor x, Descriptor y) {
  Descriptor operation = make(l->b, OPERATION_RESHAPE);
  set_descriptor(l->b, operation, RESHAPE_X, x);
  set_descriptor(l->b, operation, RESHAPE_X + 1, y);
  append(l, operation);
  return y;
}

// With P = exp(scale·q·kᵀ − stats) and D = Σ_c dy∘y:
//
//	dv = Pᵀ·dy,  dS = scale·P∘(dy·vᵀ − D),  dk = dSᵀ·q,  dq = dS·k
//
// in the order, and with the stored intermediates D and the float32 sums of dq,
// by which cuDNN knows the pattern:
// https://github.com/NVIDIA/cudnn-frontend/blob/3929da2ef4c1dba1bb8acb68727b9134f26f40c0/include/cudnn_frontend/node/scaled_dot_product_flash_attention.h#L1360
// (One descriptor for all of it exists since 9.17, but finalizes from some version
// after 9.20 only.) Where results must not depend on timing, dq is written once, from one product,
// instead of being summed in float32 by blocks of keys as they come.
static int describe_backward(struct build *b, const struct problem *p, Descriptor operations[MAX_OPERATIONS]) {
  const int64_t n = p->size[N], heads = p->size[HEADS], t = p->size[T], s = p->size[S], d = p->size[WIDTH], c = heads * d;
  const int64_t rows[] = {n, heads, t, d}, row_strides[] = {t * c, d, c, 1}, packed[] = {heads * t * d, t * d, d, 1};
  const int64_t keys[] = {n, heads, s, d}, key_strides[] = {s * c, d, c, 1};
  const int64_t across[] = {n, heads, d, s}, across_strides[] = {s * c, d, 1, c};
  const int64_t stats[] = {n, heads, t, 1}, stat_strides[] = {heads * t, t, 1, 1};
  const int64_t scores[] = {n, heads, t, s}, score_strides[] = {heads * t * s, t * s, s, 1};
  const int64_t turned[] = {n, heads, s, t}, turned_strides[] = {heads * t * s, t * s, 1, s};
  struct list l = {b, operations, 0};
#define SCORES virtual_tensor(b, CUDNN_FLOAT, scores, score_strides)
  Descriptor q = tensor(b, Q, p->type, rows, row_strides), y = tensor(b, Y, p->type, rows, row_strides), dy = tensor(b, DY, p->type, rows, row_strides);
  Descriptor k = tensor(b, K, p->type, across, across_strides), v = tensor(b, V, p->type, across, across_strides);
  Descriptor logarithms = tensor(b, STATS, CUDNN_FLOAT, stats, stat_strides), scale = number(b, SCALE);
  Descriptor dq = tensor(b, DQ, p->type, rows, row_strides);

  Descriptor dy_y = pointwise(&l, MULTIPLY, dy, y, virtual_tensor(b, CUDNN_FLOAT, rows, packed));
  dy_y = sum(&l, dy_y, virtual_tensor(b, CUDNN_FLOAT, stats, stat_strides));
  dy_y = pointwise(&l, MULTIPLY, dy_y, number(b, ONE), tensor(b, DY_Y, CUDNN_FLOAT, stats, stat_strides));

  Descriptor weights = product(&l, q, k, SCORES);
  weights = pointwise(&l, MULTIPLY, weights, scale, SCORES);
  weights = pointwise(&l, SUBTRACT, weights, logarithms, SCORES);
  weights = pointwise(&l, EXPONENTIAL, weights, NULL, SCORES);
  product(&l, reshape(&l, weights, virtual_tensor(b, p->type, turned, turned_strides)), dy, tensor(b, DV, p->type, keys, key_strides));

  Descriptor ds = product(&l, dy, v, SCORES);
  ds = pointwise(&l, SUBTRACT, ds, dy_y, SCORES);
  ds = pointwise(&l, MULTIPLY, ds, weights, SCORES);
  ds = pointwise(&l, MULTIPLY, ds, scale, SCORES);
  product(&l, reshape(&l, ds, virtual_tensor(b, p->type, turned, turned_strides)), q, tensor(b, DK, p->type, keys, key_strides));

  Descriptor k_rows = reshape(&l, k, virtual_tensor(b, p->type, keys, key_strides));
  if (p->deterministic) {
    product(&l, ds, k_rows, dq);
  } else {
    Descriptor sums = product(&l, ds, k_rows, tensor(b, DQ_SUMS, CUDNN_FLOAT, rows, packed));
    pointwise(&l, IDENTITY, sums, NULL, dq);
  }
#undef SCORES
  return l.count;
}

int attention_fits(int type, int64_t width) {
  return (type == FLOAT16 || type == BFLOAT16) && width > 0 && width <= 256 && width % 8 == 0;
}

// attention_of is the problem of q [N·T, C], k [N·S, C] and a node's attributes.
static struct problem attention_of(int operation, const struct gpu *gpu, const struct operands *o, const struct shape *q, const struct shape *k) {
  const int64_t n = o->attributes->batch, heads = o->attributes->num_heads;
  struct problem p;
  memset(&p, 0, sizeof p);
  p.operation = operation;
  p.type = data_type(o->in_type[0]);
  p.deterministic = operation != SDPA_FORWARD && gpu->deterministic;
  p.size[N] = n;
  p.size[HEADS] = heads;
  p.size[T] = q->dims[0] / n;
  p.size[S] = k->dims[0] / n;
  p.size[WIDTH] = q->dims[1] / heads;
  return p;
}

static const char *run_attention(const struct gpu *gpu, const struct operands *o, const struct problem *p, describe operation, const struct bindings *tensors) {
  const int64_t *s = p->size;
  const char *wrong = attention_fits(o->in_type[0], s[WIDTH]) ? run_plan(gpu, p, operation, tensors)
                                                              : "cuDNN wants float16 or bfloat16 and heads of 8, 16, … 256 columns; use the portable lowering";
  return about(wrong, "%s of %ld × %ld heads of %ld columns, %ld queries, %ld keys, %s", operation == describe_forward ? "Attention" : "AttentionGrad", (long)s[N],
               (long)s[HEADS], (long)s[WIDTH], (long)s[T], (long)s[S], type_name(o->in_type[0]));
}

const char *cuda_attention(const struct gpu *gpu, const struct operands *o) {
  struct problem p = attention_of(SDPA_FORWARD, gpu, o, &o->in[0], &o->in[1]);
  struct bindings tensors = {5, {Q, K, V, Y, SCALE}, {o->input[0], o->input[1], o->input[2], o->output[0], &o->attributes->scale}};
  p.size[STATISTICS] = o->output[1] != NULL;
  if (o->output[1]) {
    tensors.ids[tensors.count] = STATS;
    tensors.pointers[tensors.count++] = o->output[1];
  }
  return run_attention(gpu, o, &p, describe_forward, &tensors);
}

const char *cuda_attention_grad(const struct gpu *gpu, const struct operands *o) {
  static const float one = 1;
  // No one descriptor type stands for the gradient: that of its products does.
  const struct problem p = attention_of(OPERATION_MATMUL, gpu, o, &o->in[1], &o->in[2]);
  const size_t rows = (size_t)(p.size[N] * p.size[HEADS] * p.size[T]), sums = p.deterministic ? 0 : rows * (size_t)p.size[WIDTH];
  const size_t aligned = (rows + 63) / 64 * 64;  // 256 bytes
  float *scratch = gpu->alloc(gpu->self, (aligned + sums) * sizeof *scratch);
  if (!scratch) return "AttentionGrad: out of device memory; choose a smaller train.micro_batch";
  const struct bindings tensors = {
    p.deterministic ? 12 : 13,
    {DY, Q, K, V, Y, STATS, DQ, DK, DV, SCALE, ONE, DY_Y, DQ_SUMS},
    {o->input[0], o->input[1], o->input[2], o->input[3], o->input[4], o->input[5], o->output[0], o->output[1], o->output[2], &o->attributes->scale, &one, scratch, scratch + aligned},
  };
  const char *wrong = run_attention(gpu, o, &p, describe_backward, &tensors);
  gpu->release(gpu->self, scratch);
  return wrong;
}
