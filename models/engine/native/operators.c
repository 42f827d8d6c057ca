#include "operators.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "attention.h"
#include "conv.h"
#include "cuda_cudnn.h"
#include "cuda_rtc.h"
#include "dropout.h"
#include "norm.h"
#include "update.h"

static int refuse(char *message, const char *text) {
  snprintf(message, MESSAGE, "%s", text);
  return -1;
}

// geometry fills g from x [n, c, h, w], the channels o and the attributes.
static int geometry(const struct attributes *a, const int64_t *x, int64_t o, struct conv *g, char *message) {
  const int64_t h = x[2] + a->pads[0] + a->pads[2] - a->kernel_shape[0], w = x[3] + a->pads[1] + a->pads[3] - a->kernel_shape[1];
  for (int i = 0; i < 4; i++)
    if (a->pads[i] < 0) return refuse(message, "pads: got a negative one, want 0 or more");
  if (a->kernel_shape[0] < 1 || a->kernel_shape[1] < 1 || a->strides[0] < 1 || a->strides[1] < 1)
    return refuse(message, "kernel_shape and strides: got one below 1, want two positive numbers each");
  // Tables of taps and phases lie on the stack.
  if (a->kernel_shape[0] > 32 || a->kernel_shape[1] > 32 || a->strides[0] > 16 || a->strides[1] > 16)
    return refuse(message, "kernel_shape above 32 or strides above 16: want smaller ones, or the portable Conv");
  if (h < 0 || w < 0) return refuse(message, "the padded image is smaller than the kernel");
  for (int i = 0; i < 4; i++)
    if (x[i] < 1 || x[i] > INT32_MAX) return refuse(message, "an image dimension is not positive");
  if (o < 1 || o > INT32_MAX) return refuse(message, "the output channels are not positive");
  *g = (struct conv){
    .n = (int)x[0], .c = (int)x[1], .h = (int)x[2], .w = (int)x[3], .o = (int)o,
    .oh = (int)(h / a->strides[0] + 1), .ow = (int)(w / a->strides[1] + 1),
    .kh = (int)a->kernel_shape[0], .kw = (int)a->kernel_shape[1],
    .stride_h = (int)a->strides[0], .stride_w = (int)a->strides[1], .top = (int)a->pads[0], .left = (int)a->pads[1],
  };
  return 0;
}

static int weight_fits(const struct operands *o, int index, int64_t channels, char *message) {
  const struct shape *w = &o->in[index];
  if (w->rank != 4 || (channels >= 0 && w->dims[1] != channels) || w->dims[2] != o->attributes->kernel_shape[0] || w->dims[3] != o->attributes->kernel_shape[1])
    return refuse(message, "the weight is not [out channels, in channels, kernel_shape]");
  return 0;
}

static int is_dy(const struct shape *dy, const struct conv *g, char *message) {
  if (dy->rank != 4 || dy->dims[0] != g->n || dy->dims[1] != g->o || dy->dims[2] != g->oh || dy->dims[3] != g->ow)
    return refuse(message, "dy is not as large as this convolution's output");
  return 0;
}

// addend_of makes the operand at index the addend of out [N, C, H, W]: [N or 1,
// C or 1, H, W] or [N or 1, C or 1, 1, 1]; absent is fine.
static int addend_of(const struct operands *o, int index, const struct shape *out, struct addend *a, char *message) {
  const struct shape *s = &o->in[index];
  *a = (struct addend){0};
  if (s->rank < 0) return 0;
  if (s->rank != 4) return refuse(message, "the addend is not [N, C, H, W]");
  const int64_t pixels = s->dims[2] * s->dims[3];
  const int plane = s->dims[2] == out->dims[2] && s->dims[3] == out->dims[3];
  if ((s->dims[0] != out->dims[0] && s->dims[0] != 1) || (s->dims[1] != out->dims[1] && s->dims[1] != 1) || (!plane && pixels != 1))
    return refuse(message, "the addend does not broadcast to the result");
  *a = (struct addend){o->input[index], s->dims[0] == 1 ? 0 : s->dims[1] * pixels, s->dims[1] == 1 ? 0 : pixels, plane};
  return 0;
}

// Conv(x [N, C, H, W], weight [O, C, kh, kw], bias [O]?, addend?)
// → y [N, O, H', W']
static int conv_shapes(struct operands *o, char *message) {
  struct conv g;
  if (o->in[0].rank != 4) return refuse(message, "x is not [N, C, H, W]");
  if (weight_fits(o, 1, o->in[0].dims[1], message) || geometry(o->attributes, o->in[0].dims, o->in[1].dims[0], &g, message)) return -1;
  if (o->in[2].rank >= 0 && (o->in[2].rank != 1 || o->in[2].dims[0] != g.o)) return refuse(message, "the bias is not [out channels]");
  o->out[0] = (struct shape){4, {g.n, g.o, g.oh, g.ow}};
  struct addend a;
  return addend_of(o, 3, &o->out[0], &a, message);
}

static const char *conv_compute(const struct crew *crew, const struct operands *o) {
  struct conv g;
  char message[MESSAGE];
  struct addend a;
  geometry(o->attributes, o->in[0].dims, o->in[1].dims[0], &g, message);
  addend_of(o, 3, &o->out[0], &a, message);
  return conv_forward(crew, &g, o->input[0], o->input[1], o->input[2], a, o->output[0]);
}

// ConvInputGrad(dy [N, O, H', W'], weight [O, C, kh, kw], addend?) → dx = shape
static int input_grad_shapes(struct operands *o, char *message) {
  struct conv g;
  if (weight_fits(o, 1, o->attributes->shape[1], message)) return -1;
  if (geometry(o->attributes, o->attributes->shape, o->in[1].dims[0], &g, message) || is_dy(&o->in[0], &g, message)) return -1;
  o->out[0] = (struct shape){4, {g.n, g.c, g.h, g.w}};
  struct addend a;
  return addend_of(o, 2, &o->out[0], &a, message);
}

static const char *input_grad_compute(const struct crew *crew, const struct operands *o) {
  struct conv g;
  char message[MESSAGE];
  struct addend a;
  geometry(o->attributes, o->attributes->shape, o->in[1].dims[0], &g, message);
  addend_of(o, 2, &o->out[0], &a, message);
  return conv_input_grad(crew, &g, o->input[0], o->input[1], a, o->output[0]);
}

// ConvWeightGrad(x [N, C, H, W], dy [N, O, H', W']) → dweight [O, C, kh, kw]
static int weight_grad_shapes(struct operands *o, char *message) {
  struct conv g;
  if (o->in[0].rank != 4 || o->in[1].rank != 4) return refuse(message, "x or dy is not [N, C, H, W]");
  if (geometry(o->attributes, o->in[0].dims, o->in[1].dims[1], &g, message) || is_dy(&o->in[1], &g, message)) return -1;
  o->out[0] = (struct shape){4, {g.o, g.c, g.kh, g.kw}};
  return 0;
}

static const char *weight_grad_compute(const struct crew *crew, const struct operands *o) {
  struct conv g;
  char message[MESSAGE];
  geometry(o->attributes, o->in[0].dims, o->in[1].dims[1], &g, message);
  return conv_weight_grad(crew, &g, o->input[0], o->input[1], o->output[0]);
}

// norm_of fills g from x [N, C, …], scale [C] and bias [C].
static int norm_of(const struct attributes *a, const struct shape *x, const struct shape *scale, const struct shape *bias, struct norm *g, char *message) {
  if (x->rank < 3) return refuse(message, "x is not [N, C, …]");
  if (a->num_groups < 1 || x->dims[1] % a->num_groups) return refuse(message, "num_groups does not divide the channels of x");
  if (scale->rank != 1 || scale->dims[0] != x->dims[1] || bias->rank != 1 || bias->dims[0] != x->dims[1]) return refuse(message, "scale or bias is not [channels of x]");
  if (a->activation[0] && strcmp(a->activation, "silu")) return refuse(message, "activation: want \"\" or \"silu\"");
  *g = (struct norm){.n = (int)x->dims[0], .channels = (int)x->dims[1], .groups = (int)a->num_groups, .silu = a->activation[0] != 0, .pixels = 1, .epsilon = a->epsilon};
  for (int i = 2; i < x->rank; i++) g->pixels *= x->dims[i];
  return 0;
}

// GroupNormalization(x [N, C, …], scale [C], bias [C])
// → y, mean [N, G, 1], inv_std_dev [N, G, 1]
static int norm_shapes(struct operands *o, char *message) {
  struct norm g;
  if (norm_of(o->attributes, &o->in[0], &o->in[1], &o->in[2], &g, message)) return -1;
  o->out[0] = o->in[0];
  o->out[1] = o->out[2] = (struct shape){3, {g.n, g.groups, 1}};
  return 0;
}

static const char *norm_compute(const struct crew *crew, const struct operands *o) {
  struct norm g;
  char message[MESSAGE];
  norm_of(o->attributes, &o->in[0], &o->in[1], &o->in[2], &g, message);
  return norm_forward(crew, &g, o->input[0], o->input[1], o->input[2], o->output[0], o->output[1], o->output[2]);
}

static int same(const struct shape *a, const struct shape *b) {
  return a->rank == b->rank && !memcmp(a->dims, b->dims, a->rank * sizeof *a->dims);
}

// GroupNormalizationGrad(dy, x, scale [C], bias [C], mean, inv_std_dev [N, G, 1], addend?)
// → dx, dscale [C], dbias [C]
static int norm_grad_shapes(struct operands *o, char *message) {
  struct norm g;
  if (norm_of(o->attributes, &o->in[1], &o->in[2], &o->in[3], &g, message)) return -1;
  const struct shape stats = {3, {g.n, g.groups, 1}};
  if (!same(&o->in[0], &o->in[1])) return refuse(message, "dy is not as large as x");
  if (!same(&o->in[4], &stats) || !same(&o->in[5], &stats)) return refuse(message, "mean or inv_std_dev is not [N, num_groups, 1]");
  if (o->in[6].rank >= 0 && !same(&o->in[6], &o->in[1])) return refuse(message, "the addend is not as large as x");
  o->out[0] = o->in[1];
  o->out[1] = o->out[2] = o->in[2];
  return 0;
}

static const char *norm_grad_compute(const struct crew *crew, const struct operands *o) {
  struct norm g;
  char message[MESSAGE];
  norm_of(o->attributes, &o->in[1], &o->in[2], &o->in[3], &g, message);
  return norm_grad(crew, &g, o->input[0], o->input[1], o->input[2], o->input[3], o->input[4], o->input[5], o->input[6], o->output[0], o->output[1], o->output[2]);
}

// QuickGeluGrad(dy, x) → dx
static int gelu_grad_shapes(struct operands *o, char *message) {
  if (!same(&o->in[0], &o->in[1])) return refuse(message, "dy is not as large as x");
  o->out[0] = o->in[0];
  return 0;
}

static const char *gelu_grad_compute(const struct crew *crew, const struct operands *o) {
  ptrdiff_t n = 1;
  for (int i = 0; i < o->in[0].rank; i++) n *= o->in[0].dims[i];
  return gelu_grad(crew, o->input[0], o->input[1], n, o->attributes->alpha, o->output[0]);
}

// attention_of fills g from q [N·T, C], k and v [N·S, C].
static int attention_of(const struct attributes *a, const struct shape *q, const struct shape *k, const struct shape *v, struct attention *g, char *message) {
  if (q->rank != 2 || k->rank != 2 || !same(k, v) || q->dims[1] != k->dims[1]) return refuse(message, "q, k and v are not [N·T, C], [N·S, C] and [N·S, C]");
  if (a->batch < 1 || q->dims[0] % a->batch || k->dims[0] % a->batch) return refuse(message, "batch does not divide the rows of q and k");
  if (a->num_heads < 1 || q->dims[1] % a->num_heads) return refuse(message, "num_heads does not divide the columns of q");
  if (q->dims[0] < 1 || k->dims[0] < 1 || q->dims[1] < 1 || q->dims[0] * q->dims[1] > INT32_MAX || k->dims[0] * k->dims[1] > INT32_MAX)
    return refuse(message, "q or k is empty, or has more than 2^31 elements");
  if (!(a->scale > 0)) return refuse(message, "scale is not positive");
  *g = (struct attention){.n = (int)a->batch, .t = (int)(q->dims[0] / a->batch), .s = (int)(k->dims[0] / a->batch), .c = (int)q->dims[1], .heads = (int)a->num_heads, .scale = a->scale};
  return 0;
}

// Attention(q, k, v) → y [N·T, C], stats [N, num_heads, T]
static int attention_shapes(struct operands *o, char *message) {
  struct attention g;
  if (attention_of(o->attributes, &o->in[0], &o->in[1], &o->in[2], &g, message)) return -1;
  o->out[0] = o->in[0];
  o->out[1] = (struct shape){3, {g.n, g.heads, g.t}};
  return 0;
}

static const char *attention_compute(const struct crew *crew, const struct operands *o) {
  struct attention g;
  char message[MESSAGE];
  attention_of(o->attributes, &o->in[0], &o->in[1], &o->in[2], &g, message);
  return attention_forward(crew, &g, o->input[0], o->input[1], o->input[2], o->output[0], o->output[1]);
}

// AttentionGrad(dy, q, k, v, y, stats) → dq, dk, dv
static int attention_grad_shapes(struct operands *o, char *message) {
  struct attention g;
  if (attention_of(o->attributes, &o->in[1], &o->in[2], &o->in[3], &g, message)) return -1;
  const struct shape stats = {3, {g.n, g.heads, g.t}};
  if (!same(&o->in[0], &o->in[1]) || !same(&o->in[4], &o->in[1])) return refuse(message, "dy or y is not as large as q");
  if (!same(&o->in[5], &stats)) return refuse(message, "stats is not [N, num_heads, T]");
  for (int i = 0; i < 3; i++) o->out[i] = o->in[i + 1];
  return 0;
}

static const char *attention_grad_compute(const struct crew *crew, const struct operands *o) {
  struct attention g;
  char message[MESSAGE];
  attention_of(o->attributes, &o->in[1], &o->in[2], &o->in[3], &g, message);
  return attention_grad(crew, &g, o->input[0], o->input[1], o->input[2], o->input[3], o->input[4], o->input[5], o->output[0], o->output[1], o->output[2]);
}

// Dropout(x [N, …], positions int64 [N]) → y: x·scale where the mask that key and keep
// draw is true, 0 elsewhere
static int dropout_shapes(struct operands *o, char *message) {
  if (o->in[0].rank < 1) return refuse(message, "x is a scalar");
  if (o->in[1].rank != 1 || o->in[1].dims[0] != o->in[0].dims[0]) return refuse(message, "positions are not [first dimension of x]");
  if (o->attributes->keep < 1 || o->attributes->keep > (int64_t)1 << 32) return refuse(message, "keep: want 1…2^32, of 2^32");
  o->out[0] = o->in[0];
  return 0;
}

static const char *dropout_compute(const struct crew *crew, const struct operands *o) {
  const struct attributes *a = o->attributes;
  const struct dropout law = {.key = (uint64_t)a->key, .most = (uint32_t)(a->keep - 1), .scale = a->scale};
  ptrdiff_t elements = 1;
  for (int i = 1; i < o->in[0].rank; i++) elements *= o->in[0].dims[i];
  return dropout(crew, &law, o->input[1], o->in[0].dims[0], elements, o->input[0], o->output[0]);
}

// AdamW(params, grads, exp_avg, exp_avg_sq, ema_params [M], lr, beta1, beta2,
// eps, weight_decay, bias_correction1, bias_correction2, clip_coef, ema_decay [])
// → params, exp_avg, exp_avg_sq, ema_params [M]: torch.optim.AdamW and diffusers'
// EMAModel, as models/graph/op_update.go writes them in operators.
enum { FLAT = 5, LR = FLAT, BETA1, BETA2, EPS, WEIGHT_DECAY, BIAS_CORRECTION1, BIAS_CORRECTION2, CLIP_COEF, EMA_DECAY, ADAMW_INPUTS };

static int adamw_shapes(struct operands *o, char *message) {
  for (int i = 0; i < FLAT; i++)
    if (o->in[i].rank != 1 || o->in[i].dims[0] != o->in[0].dims[0]) return refuse(message, "params, grads, exp_avg, exp_avg_sq and ema_params are not all [M]");
  for (int i = FLAT; i < ADAMW_INPUTS; i++)
    if (o->in[i].rank != 0) return refuse(message, "lr … ema_decay are not all scalars");
  for (int i = 0; i < 4; i++) o->out[i] = o->in[0];
  return 0;
}

static const char *adamw_compute(const struct crew *crew, const struct operands *o) {
  float s[ADAMW_INPUTS];
  for (int i = FLAT; i < ADAMW_INPUTS; i++) s[i] = *(const float *)o->input[i];
  const float root = sqrtf(s[BIAS_CORRECTION2]);
  const struct adamw_step step = {
    .clip = s[CLIP_COEF], .mean_rate = 1 - s[BETA1], .square_keep = s[BETA2], .square_rate = 1 - s[BETA2], .eps = s[EPS] * root,
    .step = s[LR] * root / s[BIAS_CORRECTION1], .keep = 1 - s[LR] * s[WEIGHT_DECAY], .follow = 1 - s[EMA_DECAY],
  };
  const float *in[FLAT];
  float *out[4];
  for (int i = 0; i < FLAT; i++) in[i] = o->input[i];
  for (int i = 0; i < 4; i++) out[i] = o->output[i];
  return adamw(crew, &step, o->in[0].dims[0], in, out);
}

// LayerNormalizationGrad(dy, x [..., D], scale [D], mean, inv_std_dev [..., 1])
// → dx, dscale [D], dbias [D]
static int layer_norm_grad_shapes(struct operands *o, char *message) {
  struct shape stats = o->in[1];
  if (stats.rank < 1) return refuse(message, "x is a scalar");
  if (!same(&o->in[0], &o->in[1])) return refuse(message, "dy is not as large as x");
  if (o->in[2].rank != 1 || o->in[2].dims[0] != stats.dims[stats.rank - 1]) return refuse(message, "scale is not [last dimension of x]");
  stats.dims[stats.rank - 1] = 1;
  if (!same(&o->in[3], &stats) || !same(&o->in[4], &stats)) return refuse(message, "mean or inv_std_dev is not as large as x with a last dimension of 1");
  o->out[0] = o->in[1];
  o->out[1] = o->out[2] = o->in[2];
  return 0;
}

// ConvBiasGrad(dy [N, C, …]) → dbias [C]
static int bias_grad_shapes(struct operands *o, char *message) {
  if (o->in[0].rank < 2) return refuse(message, "dy is not [N, C, …]");
  o->out[0] = (struct shape){1, {o->in[0].dims[1]}};
  return 0;
}

// Elementwise(x0, x1, …) → y0, y1, …: the shape that all inputs broadcast to, as
// NumPy has it
static int elementwise_shapes(struct operands *o, char *message) {
  struct shape s = {0};
  for (int i = 0; i < MAX_INPUTS; i++)
    if (o->in[i].rank > s.rank) s.rank = o->in[i].rank;
  for (int d = 0; d < s.rank; d++) s.dims[d] = 1;
  for (int i = 0; i < MAX_INPUTS; i++)
    for (int d = 0; d < o->in[i].rank; d++) {
      const int64_t n = o->in[i].dims[d];
      int64_t *const at = &s.dims[s.rank - o->in[i].rank + d];
      if (n != 1 && *at != 1 && n != *at) return refuse(message, "the inputs do not broadcast to one shape");
      if (n != 1) *at = n;
    }
  for (int i = 0; i < MAX_OUTPUTS; i++) o->out[i] = s;
  return 0;
}

const struct operation operations[] = {
  {"Conv", 4, 2, 1, 1, conv_shapes, conv_compute, NULL, 3},
  {"ConvInputGrad", 3, 2, 1, 1, input_grad_shapes, input_grad_compute, cuda_conv_input_grad, 2},
  {"ConvWeightGrad", 2, 2, 1, 1, weight_grad_shapes, weight_grad_compute, cuda_conv_weight_grad, NOWHERE},
  {"GroupNormalization", 3, 3, 3, 1, norm_shapes, norm_compute, cuda_group_norm, NOWHERE, .wide_inputs = 3u << 1, .wide = 3u << 1},
  {"GroupNormalizationGrad", 7, 6, 3, 1, norm_grad_shapes, norm_grad_compute, cuda_group_norm_grad, 0, .wide_inputs = 15u << 2, .wide = 3u << 1},
  {"QuickGeluGrad", 2, 2, 1, 1, gelu_grad_shapes, gelu_grad_compute, cuda_gelu_grad, 0},
  {"Dropout", 2, 2, 1, 1, dropout_shapes, dropout_compute, cuda_dropout, 0, 1},
  {"Attention", 3, 3, 2, 1, attention_shapes, attention_compute, cuda_attention, NOWHERE, .wide = 1u << 1},
  {"AttentionGrad", 6, 6, 3, 3, attention_grad_shapes, attention_grad_compute, cuda_attention_grad, NOWHERE, .wide_inputs = 1u << 5},
  {"AdamW", ADAMW_INPUTS, ADAMW_INPUTS, 4, 4, adamw_shapes, adamw_compute, cuda_adamw, 0, .wide_inputs = ~0u, .wide = ~0u},
  {"LayerNormalizationGrad", 5, 5, 3, 1, layer_norm_grad_shapes, NULL, cuda_layer_norm_grad, 0, .wide_inputs = 7u << 2, .wide = 3u << 1},
  {"ConvBiasGrad", 1, 1, 1, 1, bias_grad_shapes, NULL, cuda_bias_grad, NOWHERE, .wide = 1},
  {"Elementwise", ELEMENTWISE_INPUTS, 1, ELEMENTWISE_OUTPUTS, 1, elementwise_shapes, NULL, cuda_elementwise, 0, .any = 1},
};
const int operation_count = sizeof operations / sizeof *operations;
