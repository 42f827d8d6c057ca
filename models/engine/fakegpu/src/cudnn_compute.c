// The stand-in of cuDNN: what its operations compute, each tensor as a dense array
// of doubles that are rounded to the tensor's type when they are stored.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cudnn.h"

enum { RANK = 8, ARRAYS = 512 };

struct tensor {
  int64_t id, dims[RANK], strides[RANK], count;
  int type, rank, is_virtual;
};

// struct run is one execution. arrays are freed at its end; those of virtual
// tensors are found by their tensor's id.
struct run {
  const struct engine *engine;
  const struct descriptor *pack;
  int arrays;
  double *array[ARRAYS];
  int64_t id[ARRAYS];  // of a virtual tensor, or −1
  unsigned times;      // executions of the process
};

static struct tensor tensor_of(const struct descriptor *d) {
  const struct value *dims = find(d, 902), *strides = find(d, 903);
  struct tensor t = {.id = (int64_t)number(d, 906, 0), .type = (int)number(d, 901, 0), .rank = (int)dims->count, .count = 1, .is_virtual = number(d, 907, 0) != 0};
  for (int i = 0; i < t.rank; i++) {
    t.dims[i] = ((int64_t *)dims->data)[i];
    t.strides[i] = ((int64_t *)strides->data)[i];
    t.count *= t.dims[i];
  }
  return t;
}

// place is where the element with a dense index lies.
static int64_t place(const struct tensor *t, int64_t index) {
  int64_t at = 0;
  for (int i = t->rank - 1; i >= 0; i--) {
    at += index % t->dims[i] * t->strides[i];
    index /= t->dims[i];
  }
  return at;
}

// round_to rounds to the nearest number of so many bits after the first, ties to
// even.
static double round_to(double v, int bits, int least_exponent, double most) {
  if (v == 0 || !isfinite(v)) return v;
  int e;
  frexp(v, &e);
  const int quantum = (e - 1 < least_exponent ? least_exponent : e - 1) - bits;
  const double r = ldexp(nearbyint(ldexp(v, -quantum)), quantum);
  return fabs(r) > most ? copysign(INFINITY, r) : r;
}

static double as_half(double v) { return round_to(v, 10, -14, 65504); }

static double as(int type, double v) {
  switch (type) {
    case T_FLOAT: return (float)v;
    case T_HALF: return as_half(v);
    case T_BFLOAT16: return (float)round_to(v, 7, -126, 0x1.fep127);
    case T_INT32: return trunc(v);
  }
  return v;
}

static double half_at(uint16_t h) {
  const int e = h >> 10 & 31, m = h & 1023;
  const double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
  return h >> 15 ? -v : v;
}

static uint16_t half_of(double v) {
  const uint16_t sign = signbit(v) ? 0x8000 : 0;
  v = fabs(as_half(v));
  if (isnan(v)) return 0x7e00;
  if (isinf(v)) return sign | 0x7c00;
  if (v < 0x1p-14) return sign | (uint16_t)ldexp(v, 24);
  int e;
  const double m = frexp(v, &e);
  return sign | (uint16_t)((e + 14) << 10) | ((uint16_t)ldexp(m, 11) & 1023);
}

static double read_at(int type, const void *data, int64_t at) {
  switch (type) {
    case T_FLOAT: return ((const float *)data)[at];
    case T_DOUBLE: return ((const double *)data)[at];
    case T_INT32: return ((const int32_t *)data)[at];
    case T_HALF: return half_at(((const uint16_t *)data)[at]);
    case T_BFLOAT16: {
      const uint32_t bits = (uint32_t)((const uint16_t *)data)[at] << 16;
      float f;
      memcpy(&f, &bits, sizeof f);
      return f;
    }
  }
  return 0;
}

static void write_at(int type, void *data, int64_t at, double v) {
  switch (type) {
    case T_FLOAT: ((float *)data)[at] = (float)v; break;
    case T_DOUBLE: ((double *)data)[at] = v; break;
    case T_INT32: ((int32_t *)data)[at] = (int32_t)v; break;
    case T_HALF: ((uint16_t *)data)[at] = half_of(v); break;
    case T_BFLOAT16: {
      const float f = (float)as(T_BFLOAT16, v);
      uint32_t bits;
      memcpy(&bits, &f, sizeof bits);
      ((uint16_t *)data)[at] = (uint16_t)(bits >> 16);
    }
  }
}

static void *bound(const struct run *r, int64_t id) {
  const struct value *ids = find(r->pack, 1000);
  for (int64_t i = 0; i < ids->count; i++)
    if (((int64_t *)ids->data)[i] == id) return ((void **)find(r->pack, 1001)->data)[i];
  return NULL;
}

static double *array(struct run *r, int64_t count, int64_t id) {
  if (r->arrays == ARRAYS) return NULL;
  r->id[r->arrays] = id;
  return r->array[r->arrays++] = calloc(count ? count : 1, sizeof(double));
}

// load returns a tensor's elements, or NULL: absent, of an unknown type, or not
// yet computed.
static double *load(struct run *r, const struct descriptor *d) {
  if (!d) return NULL;
  const struct tensor t = tensor_of(d);
  for (int i = 0; t.is_virtual && i < r->arrays; i++)
    if (r->id[i] == t.id) return r->array[i];
  const void *data = t.is_virtual ? NULL : bound(r, t.id);
  double *a = data ? array(r, t.count, -1) : NULL;
  for (int64_t i = 0; a && i < t.count; i++) a[i] = read_at(t.type, data, place(&t, i));
  return a;
}

// factor is load for what a product multiplies, which an engine may round.
static double *factor(struct run *r, const struct descriptor *d) {
  double *from = load(r, d), *a = from;
  const unsigned notes = r->engine->notes;
  if (!from || (int)number(d, 901, 0) != T_FLOAT || !(notes & (1u << TENSOR_CORE | 1u << DOWN_CONVERT_INPUTS))) return from;
  const int64_t count = tensor_of(d).count;
  a = array(r, count, -1);
  for (int64_t i = 0; a && i < count; i++) a[i] = notes & 1u << DOWN_CONVERT_INPUTS ? as_half(from[i]) : round_to(from[i], 10, -126, INFINITY);
  return a;
}

// store returns whether there was a place for the result.
static int store(struct run *r, const struct descriptor *d, const double *a) {
  const struct tensor t = tensor_of(d);
  void *data = t.is_virtual ? NULL : bound(r, t.id);
  double *kept = t.is_virtual ? array(r, t.count, t.id) : NULL;
  if (!data && !kept) return 0;
  const double wobble = r->engine->notes & 1u << NONDETERMINISTIC && r->times % 2 && data ? 1 + 0x1p-20 : 1;
  for (int64_t i = 0; i < t.count; i++) {
    if (kept) kept[i] = as(t.type, a[i]);
    else write_at(t.type, data, place(&t, i), a[i] * wobble);
  }
  return 1;
}

// struct convolution is the geometry of y = x ⋆ w, from an operation's attributes.
struct convolution {
  struct tensor x, w, y;
  int64_t stride[2], pad[2], dilation[2];
  int flip;
};

static int convolution_of(const struct descriptor *d, struct convolution *g, const struct descriptor **x, const struct descriptor **w, const struct descriptor **y) {
  const int first = d->type == D_CONVOLUTION_FORWARD ? 700 : d->type == D_INPUT_GRADIENT ? 706 : 712;
  const struct descriptor *c = child(d, first + 2);
  *w = child(d, first + 3), *x = child(d, first + 4), *y = child(d, first + 5);
  *g = (struct convolution){tensor_of(*x), tensor_of(*w), tensor_of(*y), .flip = number(c, 101, 1) == 0};
  if (g->x.rank != 4 || find(c, 103)->count != 2) return 0;
  for (int i = 0; i < 2; i++) {
    g->dilation[i] = ((int64_t *)find(c, 102)->data)[i];
    g->stride[i] = ((int64_t *)find(c, 103)->data)[i];
    g->pad[i] = ((int64_t *)find(c, 105)->data)[i];
  }
  return 1;
}

const char *shape_error(const struct descriptor *d) {
  struct convolution g;
  const struct descriptor *x, *w, *y;
  if (d->type != D_CONVOLUTION_FORWARD && d->type != D_INPUT_GRADIENT && d->type != D_WEIGHT_GRADIENT) return NULL;
  if (!convolution_of(d, &g, &x, &w, &y)) return NULL;
  const struct descriptor *c = child(d, d->type == D_CONVOLUTION_FORWARD ? 702 : d->type == D_INPUT_GRADIENT ? 708 : 714);
  for (int i = 0; i < 2; i++) {
    const int64_t post = ((int64_t *)find(c, 104)->data)[i], span = (g.w.dims[2 + i] - 1) * g.dilation[i] + 1;
    if (g.y.dims[2 + i] != (g.x.dims[2 + i] + g.pad[i] + post - span) / g.stride[i] + 1) return "a convolution's image, kernel and result do not fit each other";
  }
  if (g.x.dims[0] != g.y.dims[0] || g.w.dims[0] != g.y.dims[1] || g.x.dims[1] % g.w.dims[1]) return "a convolution's batch or channels do not fit each other";
  return NULL;
}

// convolve walks over every product of y = x ⋆ w: it adds to y, or to the gradient
// that takes the place of x or of w.
static int convolve(struct run *r, const struct descriptor *d) {
  struct convolution g;
  const struct descriptor *at[3];
  if (!convolution_of(d, &g, &at[0], &at[1], &at[2])) return 0;
  const int result = d->type == D_CONVOLUTION_FORWARD ? 2 : d->type == D_INPUT_GRADIENT ? 0 : 1, first = d->type == D_CONVOLUTION_FORWARD ? 700 : d->type == D_INPUT_GRADIENT ? 706 : 712;
  const double alpha = number(d, first, 1), beta = number(d, first + 1, 0);
  double *v[3];
  for (int i = 0; i < 3; i++) {
    v[i] = i == result ? array(r, tensor_of(at[i]).count, -1) : factor(r, at[i]);
    if (!v[i]) return 0;
  }
  const int64_t groups = g.x.dims[1] / g.w.dims[1], outputs = g.w.dims[0] / groups;
  for (int64_t n = 0; n < g.y.dims[0]; n++)
    for (int64_t o = 0; o < g.y.dims[1]; o++)
      for (int64_t c = 0; c < g.w.dims[1]; c++)
        for (int64_t row = 0; row < g.y.dims[2]; row++)
          for (int64_t column = 0; column < g.y.dims[3]; column++)
            for (int64_t i = 0; i < g.w.dims[2]; i++)
              for (int64_t j = 0; j < g.w.dims[3]; j++) {
                const int64_t h = row * g.stride[0] + i * g.dilation[0] - g.pad[0], w = column * g.stride[1] + j * g.dilation[1] - g.pad[1];
                if (h < 0 || h >= g.x.dims[2] || w < 0 || w >= g.x.dims[3]) continue;
                const int64_t ki = g.flip ? g.w.dims[2] - 1 - i : i, kj = g.flip ? g.w.dims[3] - 1 - j : j;
                double *x = &v[0][((n * g.x.dims[1] + o / outputs * g.w.dims[1] + c) * g.x.dims[2] + h) * g.x.dims[3] + w];
                double *k = &v[1][((o * g.w.dims[1] + c) * g.w.dims[2] + ki) * g.w.dims[3] + kj];
                double *y = &v[2][((n * g.y.dims[1] + o) * g.y.dims[2] + row) * g.y.dims[3] + column];
                if (result == 0) *x += *k * *y;
                if (result == 1) *k += *x * *y;
                if (result == 2) *y += *x * *k;
              }
  const double *old = beta != 0 ? load(r, at[result]) : NULL;
  for (int64_t i = 0; i < tensor_of(at[result]).count; i++) v[result][i] = alpha * v[result][i] + (old ? beta * old[i] : 0);
  return store(r, at[result], v[result]);
}

// spread is the dense index in t of the element that broadcasts to one of y.
static int64_t spread(const struct tensor *t, const struct tensor *y, int64_t index) {
  int64_t at = 0, step = 1;
  for (int i = y->rank - 1, j = t->rank - 1; i >= 0 && j >= 0; i--, j--) {
    if (t->dims[j] != 1) at += index % y->dims[i] * step;
    step *= t->dims[j];
    index /= y->dims[i];
  }
  return at;
}

// mode is a cudnnPointwiseMode_t of x and, where it has two operands, b.
static int apply(const struct descriptor *kind, double x, double b, double *y) {
  switch ((int)number(kind, 0, -1)) {
    case 0: *y = x + b; break;
    case 1: *y = x * b; break;
    case 2: *y = fmin(x, b); break;
    case 3: *y = fmax(x, b); break;
    case 4: *y = sqrt(x); break;
    case 6: *y = x / b; break;
    case 9: *y = x - b; break;
    case 10: *y = fabs(x); break;
    case 13: *y = exp(x); break;
    case 15: *y = log(x); break;
    case 16: *y = -x; break;
    case 17: *y = 1 / sqrt(x); break;
    case 20: *y = erf(x); break;
    case 21: *y = x; break;
    case 22: *y = 1 / x; break;
    case 100: {
      const double low = number(kind, 3, 0), slope = number(kind, 5, 0);
      *y = fmin(x < low ? low + slope * (x - low) : x, number(kind, 4, INFINITY));
      break;
    }
    case 101: *y = tanh(x); break;
    case 102: *y = 1 / (1 + exp(-x)); break;
    case 106: *y = x / (1 + exp(-number(kind, 8, 1) * x)); break;
    default: return 0;
  }
  return 1;
}

static int pointwise(struct run *r, const struct descriptor *d) {
  const struct descriptor *kind = child(d, 750), *xd = child(d, 751), *bd = child(d, 752), *yd = child(d, 753);
  const double *x = load(r, xd), *b = load(r, bd), alpha1 = number(d, 754, 1), alpha2 = number(d, 755, 1);
  if (!x || (bd && !b) || !yd) return 0;
  const struct tensor tx = tensor_of(xd), tb = bd ? tensor_of(bd) : tx, ty = tensor_of(yd);
  double *y = array(r, ty.count, -1);
  for (int64_t i = 0; y && i < ty.count; i++)
    if (!apply(kind, alpha1 * x[spread(&tx, &ty, i)], b ? alpha2 * b[spread(&tb, &ty, i)] : 0, &y[i])) return 0;
  return y && store(r, yd, y);
}

static int product(struct run *r, const struct descriptor *d) {
  const struct descriptor *ad = child(d, 1520), *bd = child(d, 1521), *cd = child(d, 1522);
  const double *a = factor(r, ad), *b = factor(r, bd);
  if (!a || !b) return 0;
  struct tensor ta = tensor_of(ad), tb = tensor_of(bd), tc = tensor_of(cd), batches = tc;
  double *c = array(r, tc.count, -1);
  const int64_t m = tc.dims[tc.rank - 2], n = tc.dims[tc.rank - 1], k = ta.dims[ta.rank - 1];
  if (!c || ta.dims[ta.rank - 2] != m || tb.dims[tb.rank - 2] != k || tb.dims[tb.rank - 1] != n) return 0;
  ta.rank -= 2, tb.rank -= 2, batches.rank -= 2;
  for (int64_t batch = 0; batch < tc.count / (m * n); batch++) {
    const double *ab = a + spread(&ta, &batches, batch) * m * k, *bb = b + spread(&tb, &batches, batch) * k * n;
    for (int64_t i = 0; i < m; i++)
      for (int64_t l = 0; l < k; l++)
        for (int64_t j = 0; j < n; j++) c[(batch * m + i) * n + j] += ab[i * k + l] * bb[l * n + j];
  }
  return store(r, cd, c);
}

static int reduce(struct run *r, const struct descriptor *d) {
  const struct descriptor *xd = child(d, 1610), *yd = child(d, 1611);
  const int operator= (int)number(child(d, 1612), 1600, -1);
  const double *x = load(r, xd);
  if (!x || operator< 0 || operator> 3) return 0;
  const struct tensor tx = tensor_of(xd), ty = tensor_of(yd);
  double *y = array(r, ty.count, -1);
  for (int64_t i = 0; y && i < ty.count; i++) y[i] = (double[]){0, 1, INFINITY, -INFINITY}[operator];
  for (int64_t i = 0; y && i < tx.count; i++) {
    double *to = &y[spread(&ty, &tx, i)];
    *to = operator== 0 ? *to + x[i] : operator== 1 ? *to *x[i] : operator== 2 ? fmin(*to, x[i]) : fmax(*to, x[i]);
  }
  return y && store(r, yd, y);
}

// reshape reads the memory that x lies in with y's dimensions and strides.
static int reshape(struct run *r, const struct descriptor *d) {
  const struct descriptor *xd = child(d, 2200), *yd = child(d, 2201);
  const double *x = load(r, xd);
  if (!x) return 0;
  const struct tensor tx = tensor_of(xd), ty = tensor_of(yd);
  if (tx.count != ty.count) return 0;
  int64_t most = 0;
  for (int64_t i = 0; i < tx.count; i++) most = place(&tx, i) > most ? place(&tx, i) : most;
  double *memory = array(r, most + 1, -1), *y = array(r, ty.count, -1);
  for (int64_t i = 0; memory && i < tx.count; i++) memory[place(&tx, i)] = x[i];
  for (int64_t i = 0; memory && y && i < ty.count; i++) {
    if (place(&ty, i) > most) return 0;
    y[i] = memory[place(&ty, i)];
  }
  return memory && y && store(r, yd, y);
}

// attend: y = softmax(scale·q·kᵀ)·v, and the logarithm of the softmax's sum. Its
// weights are rounded to q's type before they multiply v, as in the fused kernels.
static int attend(struct run *r, const struct descriptor *d) {
  const struct descriptor *qd = child(d, 2800), *yd = child(d, 2803), *sd = child(d, 2804);
  const double *q = load(r, qd), *k = load(r, child(d, 2801)), *v = load(r, child(d, 2802)), *scale = load(r, child(d, 2805));
  if (!q || !k || !v) return 0;
  const struct tensor t = tensor_of(qd), s = tensor_of(child(d, 2801));
  if (t.type == T_FLOAT || t.dims[3] % 8 || t.dims[0] != s.dims[0] || t.dims[1] != s.dims[1] || t.dims[3] != s.dims[3]) return 0;
  const int64_t width = t.dims[3], keys = s.dims[2];
  double *y = array(r, t.count, -1), *stats = array(r, t.count / width, -1), *p = array(r, keys, -1);
  for (int64_t row = 0; row < t.count / width; row++) {
    const int64_t head = row / t.dims[2] * keys;
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
      p[j] = 0;
      for (int64_t c = 0; c < width; c++) p[j] += q[row * width + c] * k[(head + j) * width + c];
      p[j] *= scale ? *scale : 1;
      most = fmax(most, p[j]);
    }
    for (int64_t j = 0; j < keys; j++) sum += p[j] = exp(p[j] - most);
    stats[row] = most + log(sum);
    for (int64_t j = 0; j < keys; j++)
      for (int64_t c = 0; c < width; c++) y[row * width + c] += as(t.type, p[j]) / sum * v[(head + j) * width + c];
  }
  return store(r, yd, y) && (!sd || store(r, sd, stats));
}

static int operate(struct run *r, const struct descriptor *d) {
  switch (d->type) {
    case D_CONVOLUTION_FORWARD: case D_INPUT_GRADIENT: case D_WEIGHT_GRADIENT: return convolve(r, d);
    case D_OPERATION_POINTWISE: return pointwise(r, d);
    case D_OPERATION_MATMUL: return product(r, d);
    case D_OPERATION_REDUCTION: return reduce(r, d);
    case D_RESHAPE: return reshape(r, d);
    case D_SDPA_FORWARD: return attend(r, d);
  }
  return 0;
}

int compute(const struct descriptor *graph, const struct engine *engine, const struct descriptor *pack) {
  static unsigned times;
  struct run r = {engine, pack, .times = __atomic_add_fetch(&times, 1, __ATOMIC_RELAXED)};
  const struct value *operations = find(graph, 801);
  char done[64] = {0};
  int left = (int)operations->count, progress = 1;
  // An operation waits for the virtual tensors that others compute.
  while (left && progress) {
    progress = 0;
    for (int64_t i = 0; i < operations->count; i++)
      if (!done[i] && operate(&r, ((struct descriptor **)operations->data)[i])) done[i] = 1, progress = 1, left--;
  }
  for (int i = 0; i < r.arrays; i++) free(r.array[i]);
  return left;
}
