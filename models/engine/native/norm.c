// A group of channels is contiguous in memory and small, so that all passes
// over it after the first find it in a cache:
//
//   forward    mean; variance about that mean; the result
//   backward   dz, A = Σ dz and B = Σ dz·x̂ of each channel; with M elements a group
//              dx = r·γ·dz − x̂·(r/M)·Σ_{c∈g} γB − (r/M)·Σ_{c∈g} γA
//              then dγ = Σ_n B, dβ = Σ_n A, the images in order
//
// One thread computes a group from end to end.
#include "norm.h"

#include <math.h>

enum { ELEMENTS = 16 * 1024 };  // of a task: enough to make handing it out cheap

struct norm_call {
  const struct crew *crew;
  struct norm norm;
  const float *dy, *x, *scale, *bias, *mean_in, *r_in, *addend;
  float *y, *mean, *r;
  float *sum, *sum_hat, *dscale, *dbias;
  int share;  // groups of a task
};

static int share_of(const struct norm *g) {
  const ptrdiff_t group = g->channels / g->groups * g->pixels, n = ELEMENTS / (group > 0 ? group : 1);
  return n > 1 ? (int)n : 1;
}

static size_t tasks_of(const struct norm_call *a) { return ((size_t)a->norm.n * a->norm.groups + a->share - 1) / a->share; }

static void forward_task(const void *arg, float *scratch, size_t task) {
  (void)scratch;
  const struct norm_call *a = arg;
  const struct norm *g = &a->norm;
  const int channels = g->channels / g->groups, all = g->n * g->groups;
  const ptrdiff_t size = channels * g->pixels;
  const int end = (int)(task + 1) * a->share < all ? (int)(task + 1) * a->share : all;
  for (int i = (int)task * a->share; i < end; i++) {
    const int c = i % g->groups * channels;
    float mean, variance;
    a->crew->kernels->moments(a->x + i * size, size, &mean, &variance);
    const float r = 1 / sqrtf(variance + g->epsilon);
    a->crew->kernels->normalize(a->x + i * size, channels, g->pixels, mean, r, a->scale + c, a->bias + c, g->silu, a->y + i * size);
    if (a->mean) a->mean[i] = mean;
    if (a->r) a->r[i] = r;
  }
}

const char *norm_forward(const struct crew *crew, const struct norm *g, const float *x, const float *scale, const float *bias, float *y, float *mean, float *r) {
  const struct norm_call a = {.crew = crew, .norm = *g, .x = x, .scale = scale, .bias = bias, .y = y, .mean = mean, .r = r, .share = share_of(g)};
  return crew_run(crew, tasks_of(&a), 0, forward_task, &a);
}

static void grad_task(const void *arg, float *scratch, size_t task) {
  (void)scratch;
  const struct norm_call *a = arg;
  const struct norm *g = &a->norm;
  const struct kernels *k = a->crew->kernels;
  const int channels = g->channels / g->groups, all = g->n * g->groups;
  const ptrdiff_t size = channels * g->pixels;
  const int end = (int)(task + 1) * a->share < all ? (int)(task + 1) * a->share : all;
  for (int i = (int)task * a->share; i < end; i++) {
    const int c = i % g->groups * channels;
    float *sum = a->sum + (ptrdiff_t)i * channels, *sum_hat = a->sum_hat + (ptrdiff_t)i * channels, *dx = a->y + i * size;
    const float mean = a->mean_in[i], r = a->r_in[i], *x = a->x + i * size, *dz = a->dy + i * size;
    k->normalize_sums(dz, x, channels, g->pixels, mean, r, a->scale + c, a->bias + c, g->silu, dx, sum, sum_hat);
    if (g->silu) dz = dx;
    float ones = 0, hats = 0;
    for (int j = 0; j < channels; j++) {
      ones += a->scale[c + j] * sum[j];
      hats += a->scale[c + j] * sum_hat[j];
    }
    const float *addend = a->addend ? a->addend + i * size : NULL;
    k->normalize_grad(dz, x, channels, g->pixels, mean, r, a->scale + c, r / (float)size * hats, r / (float)size * ones, addend, dx);
  }
}

// batch_task adds the images' sums of some channels.
enum { CHANNELS = 64 };

static void batch_task(const void *arg, float *scratch, size_t task) {
  (void)scratch;
  const struct norm_call *a = arg;
  const int all = a->norm.channels, c0 = (int)task * CHANNELS, c1 = c0 + CHANNELS < all ? c0 + CHANNELS : all;
  for (int c = c0; c < c1; c++) {
    float ones = 0, hats = 0;
    for (int n = 0; n < a->norm.n; n++) {
      ones += a->sum[(ptrdiff_t)n * all + c];
      hats += a->sum_hat[(ptrdiff_t)n * all + c];
    }
    if (a->dbias) a->dbias[c] = ones;
    if (a->dscale) a->dscale[c] = hats;
  }
}

const char *norm_grad(const struct crew *crew, const struct norm *g, const float *dy, const float *x, const float *scale, const float *bias, const float *mean, const float *r, const float *addend, float *dx, float *dscale, float *dbias) {
  struct norm_call a = {
    .crew = crew, .norm = *g, .dy = dy, .x = x, .scale = scale, .bias = bias, .mean_in = mean, .r_in = r, .addend = addend, .y = dx, .dscale = dscale, .dbias = dbias,
    .share = share_of(g),
  };
  const size_t sums = (size_t)g->n * g->channels;
  a.sum = crew->alloc(crew->self, 2 * sums * sizeof(float));
  if (!a.sum) return "out of memory for sums";
  a.sum_hat = a.sum + sums;
  const char *err = crew_run(crew, tasks_of(&a), 0, grad_task, &a);
  if (!err) err = crew_run(crew, (g->channels + CHANNELS - 1) / CHANNELS, 0, batch_task, &a);
  crew->release(crew->self, a.sum);
  return err;
}

struct gelu_call {
  const struct crew *crew;
  const float *dy, *x;
  float *dx, alpha;
  ptrdiff_t n;
};

static void gelu_task(const void *arg, float *scratch, size_t task) {
  (void)scratch;
  const struct gelu_call *a = arg;
  const ptrdiff_t at = (ptrdiff_t)task * ELEMENTS, left = a->n - at;
  a->crew->kernels->gelu_grad(a->dy + at, a->x + at, left < ELEMENTS ? left : ELEMENTS, a->alpha, a->dx + at);
}

const char *gelu_grad(const struct crew *crew, const float *dy, const float *x, ptrdiff_t n, float alpha, float *dx) {
  const struct gelu_call a = {.crew = crew, .dy = dy, .x = x, .dx = dx, .alpha = alpha, .n = n};
  return crew_run(crew, (n + ELEMENTS - 1) / ELEMENTS, 0, gelu_task, &a);
}
