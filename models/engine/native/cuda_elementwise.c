// Elementwise: one kernel for any chain of operators that work element by element.
// Memory is read once and written once, in vectors of 16 bytes where the shapes
// allow.
//
// Neighbouring axes along which the same inputs are broadcast are merged, so that
// [N, C, H, W] with a bias [1, C, 1, 1] is [N, C, H·W]. The kernel is made for the
// expression, the types and that pattern; extents are its parameters. An input is
// one of three kinds:
//
//	whole      of the result's shape: read where the result is written
//	single     one number: read once a thread
//	moving     anything else: its place is computed from the indices of a vector
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_kernels.h"
#include "cuda_rtc.h"

struct pattern {
  int axes, lanes, inputs, outputs;
  int in_type[MAX_INPUTS], out_type[MAX_OUTPUTS];  // out_type 0: nobody wants it
  unsigned moves[MAX_INPUTS];                      // a bit for each axis along which the input moves
};

static int whole(const struct pattern *p, int i) { return p->moves[i] == (1u << p->axes) - 1; }

// The generated text.
struct text {
  char *data;
  size_t used, room;
};

static void put(struct text *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  const int n = vsnprintf(t->data ? t->data + t->used : NULL, t->data ? t->room - t->used : 0, format, args);
  va_end(args);
  t->used += n;
}

static void write_kernel(struct text *t, const struct pattern *p, const char *expression) {
  const int inner = p->axes - 1;
  put(t, "KERNEL(elementwise, 256, elementwise_args) {\n");
  for (int i = 0; i < p->inputs; i++)
    if (!p->moves[i]) put(t, "  const float x%d = widen%d(*(const element%d *)a.in[%d]);\n", i, p->in_type[i], p->in_type[i], i);
  put(t, "  for (unsigned v = blockIdx.x * 256 + threadIdx.x; v < a.vectors; v += gridDim.x * 256) {\n");
  unsigned needed = 0;
  for (int i = 0; i < p->inputs; i++)
    if (!whole(p, i)) needed |= p->moves[i];
  if (needed) {
    // Index a is what is left of the vector's number after the axes behind a.
    put(t, "    unsigned rest = v;\n");
    for (int a = inner; a >= 0 && needed; a--) {
      if (a == 0) put(t, "    const unsigned i0 = rest;\n");
      else put(t, "    const unsigned q%d = divide(rest, &a.axis[%d]), i%d = rest - q%d * a.axis[%d].n;\n    rest = q%d;\n", a, a, a, a, a, a);
      needed &= ~(1u << a);
    }
  }
  for (int i = 0; i < p->inputs; i++) {
    if (!p->moves[i]) continue;
    const int vector = p->moves[i] >> inner & 1;
    put(t, "    const %s%d k%d = ((const %s%d *)a.in[%d])[", vector ? "vector" : "element", p->in_type[i], i, vector ? "vector" : "element", p->in_type[i], i);
    if (whole(p, i)) put(t, "v");
    else
      for (int a = 0, first = 1; a < p->axes; a++)
        if (p->moves[i] >> a & 1) put(t, "%si%d * a.stride[%d][%d]", first ? "" : " + ", a, i, a), first = 0;
    put(t, "];\n");
  }
  for (int i = 0; i < p->outputs; i++)
    if (p->out_type[i]) put(t, "    vector%d r%d;\n", p->out_type[i], i);
  put(t, "#pragma unroll\n    for (int j = 0; j < LANES; j++) {\n");
  for (int i = 0; i < p->inputs; i++)
    if (p->moves[i]) put(t, "      const float x%d = widen%d(k%d%s);\n", i, p->in_type[i], i, p->moves[i] >> inner & 1 ? ".lane[j]" : "");
  for (int i = 0; i < p->outputs; i++) put(t, "      float y%d = 0;\n", i);
  put(t, "      %s\n", expression);
  for (int i = 0; i < p->outputs; i++)
    if (p->out_type[i]) put(t, "      r%d.lane[j] = narrow%d(y%d);\n", i, p->out_type[i], i);
  put(t, "    }\n");
  for (int i = 0; i < p->outputs; i++)
    if (p->out_type[i]) put(t, "    ((vector%d *)a.out[%d])[v] = r%d;\n", p->out_type[i], i, i);
  put(t, "  }\n}\n");
}

static char *body(const void *arg, const char *expression) {
  struct text t = {0};
  write_kernel(&t, arg, expression);
  t.room = t.used + 1;
  t.used = 0;
  if ((t.data = malloc(t.room))) write_kernel(&t, arg, expression);
  return t.data;
}

static int bytes_of(int type) { return type == FLOAT ? 4 : type == BOOL ? 1 : type == FLOAT16 || type == BFLOAT16 ? 2 : 0; }

// collapse fills the pattern's axes and the extents and strides of a, in elements.
static const char *collapse(const struct operands *o, int inputs, struct pattern *p, struct elementwise_args *a, int64_t *elements) {
  const struct shape *out = &o->out[0];
  int64_t extent[MAX_RANK] = {1};
  unsigned mask[MAX_RANK] = {0};  // inputs that move along the axis
  *elements = 1;
  p->axes = 0;
  for (int d = 0; d < out->rank; d++) {
    *elements *= out->dims[d];
    if (out->dims[d] == 1) continue;
    unsigned m = 0;
    for (int i = 0; i < inputs; i++) {
      const int at = d - (out->rank - o->in[i].rank);
      if (at >= 0 && o->in[i].dims[at] != 1) m |= 1u << i;
    }
    if (p->axes && mask[p->axes - 1] == m) {
      extent[p->axes - 1] *= out->dims[d];
    } else {
      extent[p->axes] = out->dims[d];
      mask[p->axes++] = m;
    }
  }
  if (!p->axes) {  // one element
    p->axes = 1;
    mask[0] = (1u << inputs) - 1;
  }
  if (*elements > INT32_MAX * (int64_t)16) return "Elementwise: more than 2^35 elements";
  for (int i = 0; i < inputs; i++) {
    int64_t stride = 1;
    p->moves[i] = 0;
    for (int d = p->axes - 1; d >= 0; d--) {
      const int moves = mask[d] >> i & 1;
      p->moves[i] |= (unsigned)moves << d;
      a->stride[i][d] = moves ? (unsigned)stride : 0;
      if (moves) stride *= extent[d];
    }
    if (!whole(p, i) && stride > INT32_MAX) return "Elementwise: an input that is broadcast has more than 2^31 elements";
  }
  for (int d = 0; d < p->axes; d++) {
    if (p->axes > 1 && extent[d] > INT32_MAX) return "Elementwise: an axis beside one that is broadcast has more than 2^31 elements";
    a->axis[d].n = (unsigned)extent[d];
  }
  return NULL;
}

struct divider rtc_divider(unsigned n) {
  struct divider d = {.n = n};
  while ((uint64_t)1 << d.shift < n) d.shift++;
  d.factor = (unsigned)((((uint64_t)1 << 32) * (((uint64_t)1 << d.shift) - n)) / n + 1);
  return d;
}

int rtc_lanes(int most, int64_t extent, int type, const void *p) {
  while (most > 1 && (extent % most || (uintptr_t)p % (most * bytes_of(type)))) most /= 2;
  return most;
}

static const char *launch(const struct gpu *gpu, const struct operands *o, int inputs, const char *expression) {
  struct elementwise_args a = {0};
  struct pattern p = {.inputs = inputs, .outputs = o->outputs};
  int64_t elements;
  const char *wrong = collapse(o, inputs, &p, &a, &elements);
  if (wrong) return wrong;
  if (!elements) return NULL;

  // A vector of the narrowest float has 16 bytes.
  p.lanes = 4;
  for (int i = 0; i < inputs; i++) {
    p.in_type[i] = o->in_type[i];
    if (!bytes_of(o->in_type[i])) return "Elementwise: an input is not float32, float16, bfloat16 or bool";
    if (bytes_of(o->in_type[i]) == 2) p.lanes = 8;
  }
  for (int i = 0; i < o->outputs; i++) {
    p.out_type[i] = o->output[i] ? o->out_type[i] : 0;
    if (p.out_type[i] && bytes_of(p.out_type[i]) == 2) p.lanes = 8;
  }
  const int inner = p.axes - 1;
  const int64_t extent = p.axes == 1 ? elements : a.axis[inner].n;
  for (int i = 0; i < inputs; i++) p.lanes = rtc_lanes(p.lanes, extent, p.in_type[i], p.moves[i] >> inner & 1 ? o->input[i] : NULL);
  for (int i = 0; i < o->outputs; i++)
    if (p.out_type[i]) p.lanes = rtc_lanes(p.lanes, extent, p.out_type[i], o->output[i]);
  if (elements / p.lanes > INT32_MAX) return "Elementwise: more than 2^31 vectors";

  // The innermost axis is counted in vectors, and so is what moves along it.
  for (int d = 0; d < p.axes; d++) a.axis[d] = rtc_divider(d == inner ? (unsigned)(extent / p.lanes) : a.axis[d].n);
  for (int i = 0; i < inputs; i++) {
    a.in[i] = o->input[i];
    for (int d = 0; d < inner; d++)
      if (p.moves[i] >> inner & 1) a.stride[i][d] /= (unsigned)p.lanes;
  }
  for (int i = 0; i < o->outputs; i++) a.out[i] = o->output[i];
  a.vectors = (unsigned)(elements / p.lanes);

  char defines[512];
  int used = snprintf(defines, sizeof defines, "#define LANES %d\n#define TYPE 1\n//", p.lanes);
  for (int i = 0; i < inputs; i++) used += snprintf(defines + used, sizeof defines - used, " %d:%x", p.in_type[i], p.moves[i]);
  used += snprintf(defines + used, sizeof defines - used, " /%d ->", p.axes);
  for (int i = 0; i < o->outputs; i++) used += snprintf(defines + used, sizeof defines - used, " %d", p.out_type[i]);

  struct rtc_device device;
  if ((wrong = rtc_device(&device))) return wrong;
  // Eight blocks fill a multiprocessor; four rounds of them even out its end, and
  // spare the single inputs their reading in every block.
  const unsigned blocks = (a.vectors + 255) / 256, most = 32 * device.processors;
  const struct program program = {"elementwise", defines, expression, body, &p};
  const struct grid grid = {blocks < most ? blocks : most, 1, 256, 0};
  return rtc_launch(gpu, &program, &grid, &a);
}

const char *cuda_elementwise(const struct gpu *gpu, const struct operands *o) {
  if (!o->attributes->expression) return "Elementwise: no expression";
  return launch(gpu, o, o->inputs, o->attributes->expression);
}

// The operators that are an expression.

// QuickGeluGrad(dy, x): s + αx·s·(1 − s) for s = σ(αx)
const char *cuda_gelu_grad(const struct gpu *gpu, const struct operands *o) {
  char expression[128];
  snprintf(expression, sizeof expression, "y0 = through(x0, %.9ef * x1);", o->attributes->alpha);
  return launch(gpu, o, 2, expression);
}

// AdamW: nine streams of memory, each once; the scalars are read by each thread,
// since they are on the device.
const char *cuda_adamw(const struct gpu *gpu, const struct operands *o) {
  return launch(gpu, o, 14,
                "const float lr = x5, beta1 = x6, beta2 = x7, eps = x8, weight_decay = x9, bias_correction1 = x10, clip_coef = x12, ema_decay = x13;\n"
                "const float root = sqrtf(x11), g = x1 * clip_coef;\n"
                "y1 = x2 + (g - x2) * (1 - beta1);\n"
                "y2 = x3 * beta2 + g * g * (1 - beta2);\n"
                "y0 = x0 * (1 - lr * weight_decay) - y1 / (sqrtf(y2) + eps * root) * (lr * root / bias_correction1);\n"
                "y3 = x4 - (x4 - y0) * (1 - ema_decay);");
}
