// Normalisation and its derivatives on an NVIDIA GPU: what the kernels of
// cuda_group_norm.cu, cuda_layer_norm.cu and cuda_sums.cu are called with.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cuda_kernels.h"
#include "cuda_rtc.h"

// greatest_lanes is how many elements of a type fill 16 bytes.
static int greatest_lanes(int type) { return type == FLOAT ? 4 : 8; }

static const char *check_type(int type) {
  return type == FLOAT || type == FLOAT16 || type == BFLOAT16 ? NULL : "x is not float32, float16 or bfloat16";
}

static unsigned at_least_one(int64_t n) { return (unsigned)(n > 1 ? n : 1); }

// power is the smallest power of two from low to high that is n or more, else high.
static unsigned power(int64_t n, unsigned low, unsigned high) {
  while (low < high && low < n) low *= 2;
  return low;
}

// Segments: how sums over the vectors of each of many channels are spread over
// teams of threads: a team of up to a warp, which has two vectors a thread or more
// where there are as many, and as many segments of a channel as it takes to occupy
// `teams` of them.
struct segments {
  unsigned team, segments, segment;
};

static struct segments segments_of(int64_t vectors, int64_t channels, int64_t teams) {
  struct segments s = {.team = power((vectors + 1) / 2, 1, 32)};
  const int64_t wanted = (teams + channels - 1) / channels, most = vectors / (2 * s.team);
  s.segments = at_least_one(wanted < most ? wanted : most);
  s.segment = (unsigned)((vectors + s.segments - 1) / s.segments);
  return s;
}

// column_sums adds the rows of x into out[0] and out[1], `width` numbers each, or
// the first alone: columns is width or twice that.
static const char *column_sums(const struct gpu *gpu, int type, const void *x, int64_t rows, unsigned columns, unsigned width, float *first, float *second) {
  struct rtc_device device;
  const char *wrong = rtc_device(&device);
  if (wrong) return wrong;
  char defines[64];
  snprintf(defines, sizeof defines, "#define COLUMN_SUMS\n#define TYPE %d\n#define LANES 1", type);
  const struct program program = {.kernel = "column_sums", .defines = defines};
  struct column_sums_args a = {.x = x, .out = {first, second}, .rows = (unsigned)rows, .columns = columns, .width = width, .chunk = (unsigned)rows};
  struct grid grid = {.x = (columns + 31) / 32, .y = 1, .threads = 512};
  // Where the columns alone leave the device idle, chunks of 128 rows or more are
  // added first, about four blocks a multiprocessor.
  const int64_t chunks = 4 * device.processors / grid.x, most = rows / 128;
  const unsigned count = at_least_one(chunks < most ? chunks : most);
  if (count == 1 || columns != width) return rtc_launch(gpu, &program, &grid, &a);
  float *sums = gpu->alloc(gpu->self, (size_t)count * columns * sizeof *sums);
  if (!sums) return "out of memory for sums";
  a.chunk = (unsigned)((rows + count - 1) / count);
  a.out[0] = sums;
  grid.y = (a.rows + a.chunk - 1) / a.chunk;
  wrong = rtc_launch(gpu, &program, &grid, &a);
  if (!wrong) wrong = column_sums(gpu, FLOAT, sums, grid.y, columns, width, first, NULL);
  gpu->release(gpu->self, sums);
  return wrong;
}

struct group {
  int64_t n, channels, groups, pixels;
  int lanes, silu;
  int64_t vectors;  // of a group
};

// group_of reads x [N, C, …]; the pointers are those that are read in vectors.
static const char *group_of(const struct operands *o, int x, const void *const pointers[4], struct group *g) {
  const struct shape *s = &o->in[x];
  *g = (struct group){.n = s->dims[0], .channels = s->dims[1], .groups = o->attributes->num_groups, .pixels = 1, .silu = o->attributes->activation[0] != 0};
  for (int i = 2; i < s->rank; i++) g->pixels *= s->dims[i];
  const char *wrong = check_type(o->in_type[x]);
  if (wrong) return wrong;
  if (g->n < 1 || g->channels < 1 || g->pixels < 1) return "x is empty";
  g->lanes = greatest_lanes(o->in_type[x]);
  for (int i = 0; i < 4; i++) g->lanes = rtc_lanes(g->lanes, g->pixels, o->in_type[x], pointers[i]);
  g->vectors = g->channels / g->groups * (g->pixels / g->lanes);
  return g->vectors > INT32_MAX || g->n * g->groups > INT32_MAX ? "a group has more than 2^31 elements, or there are more groups than that" : NULL;
}

// threads_of gives a thread two vectors or more: half of its multiprocessor's
// memory requests are then on their way while it computes.
static unsigned threads_of(int64_t vectors) { return power(vectors / 2, 64, 1024); }

const char *cuda_group_norm(const struct gpu *gpu, const struct operands *o) {
  struct group g;
  struct rtc_device device;
  const char *wrong = group_of(o, 0, (const void *const[4]){o->input[0], o->output[0]}, &g);
  if (wrong || (wrong = rtc_device(&device))) return wrong;
  const struct group_norm_args a = {
    .x = o->input[0], .scale = o->input[1], .bias = o->input[2], .y = o->output[0], .mean = o->output[1], .r = o->output[2],
    .groups = (unsigned)g.groups, .channels = (unsigned)(g.channels / g.groups), .vectors = (unsigned)g.vectors,
    .channel = rtc_divider((unsigned)(g.pixels / g.lanes)), .epsilon = o->attributes->epsilon,
  };
  const int64_t bytes = g.vectors * g.lanes * (o->in_type[0] == FLOAT ? 4 : 2);
  const int keep = bytes <= device.shared;
  char defines[128];
  snprintf(defines, sizeof defines, "#define GROUP_NORM\n#define TYPE %d\n#define LANES %d\n#define SILU %d\n#define KEEP %d", o->in_type[0], g.lanes, g.silu, keep);
  const struct program program = {.kernel = "group_norm", .defines = defines};
  const struct grid grid = {(unsigned)(g.n * g.groups), 1, threads_of(g.vectors), keep ? (unsigned)bytes : 0};
  return rtc_launch(gpu, &program, &grid, &a);
}

const char *cuda_group_norm_grad(const struct gpu *gpu, const struct operands *o) {
  struct group g;
  struct rtc_device device;
  const char *wrong = group_of(o, 1, (const void *const[4]){o->input[0], o->input[1], o->input[6], o->output[0]}, &g);
  if (wrong || (wrong = rtc_device(&device))) return wrong;
  float *sums = gpu->alloc(gpu->self, (size_t)(2 * g.n * g.channels) * sizeof *sums);
  if (!sums) return "out of memory for sums";
  const unsigned threads = threads_of(g.vectors), channels = (unsigned)(g.channels / g.groups);
  const struct segments s = segments_of(g.pixels / g.lanes, channels, threads / power((g.pixels / g.lanes + 1) / 2, 1, 32));
  const struct group_norm_grad_args a = {
    .dy = o->input[0], .x = o->input[1], .addend = o->input[6], .scale = o->input[2], .bias = o->input[3], .mean = o->input[4], .r = o->input[5],
    .dx = o->output[0], .sums = sums, .groups = (unsigned)g.groups, .channels = channels, .vectors = (unsigned)g.vectors,
    .channel = rtc_divider((unsigned)(g.pixels / g.lanes)), .team = s.team, .segments = s.segments, .segment = s.segment,
  };
  const int64_t parts = 2 * (int64_t)sizeof(float) * channels * s.segments, bytes = 2 * g.vectors * g.lanes * (o->in_type[1] == FLOAT ? 4 : 2);
  const int keep = parts + bytes <= device.shared;
  if (parts > device.shared) wrong = "a group has too many channels";
  char defines[128];
  snprintf(defines, sizeof defines, "#define GROUP_NORM_GRAD\n#define TYPE %d\n#define LANES %d\n#define SILU %d\n#define KEEP %d", o->in_type[1], g.lanes, g.silu, keep);
  const struct program program = {.kernel = "group_norm_grad", .defines = defines};
  const struct grid grid = {(unsigned)(g.n * g.groups), 1, threads, (unsigned)(parts + (keep ? bytes : 0))};
  if (!wrong) wrong = rtc_launch(gpu, &program, &grid, &a);
  if (!wrong && (o->output[1] || o->output[2])) wrong = column_sums(gpu, FLOAT, sums, g.n, (unsigned)(2 * g.channels), (unsigned)g.channels, o->output[1], o->output[2]);
  gpu->release(gpu->self, sums);
  return wrong;
}

const char *cuda_layer_norm_grad(const struct gpu *gpu, const struct operands *o) {
  const struct shape *x = &o->in[1];
  const int type = o->in_type[1];
  struct rtc_device device;
  const char *wrong = check_type(type);
  if (wrong || (wrong = rtc_device(&device))) return wrong;
  const int64_t d = x->dims[x->rank - 1];
  int64_t rows = 1;
  for (int i = 0; i < x->rank - 1; i++) rows *= x->dims[i];
  if (rows < 1 || d < 1) return "LayerNormalizationGrad: x is empty";
  int lanes = greatest_lanes(type);
  const void *const pointers[] = {o->input[0], o->input[1], o->output[0]};
  for (int i = 0; i < 3; i++) lanes = rtc_lanes(lanes, d, type, pointers[i]);
  lanes = rtc_lanes(lanes, d, FLOAT, o->input[2]);

  // A thread keeps at most 40 elements of a row and as many pairs of sums, in
  // registers; a row that has more is a whole block's.
  const int64_t vectors = d / lanes;
  unsigned warps = 1, threads = 128;
  while (warps < 32 && (vectors + warps * 32 - 1) / (warps * 32) * lanes > 40) warps *= 2;
  const int64_t each = (vectors + warps * 32 - 1) / (warps * 32), shared = 2 * d * (int64_t)sizeof(float);
  if (warps > 1) threads = warps * 32;
  if (each * lanes > 64 || shared > device.shared || rows > INT32_MAX) return "LayerNormalizationGrad: a row is too long";
  const int64_t teams = threads / (warps * 32), most = 512 * device.processors / threads, few = (rows + 4 * teams - 1) / (4 * teams);
  // Four rows a team or more, so that the blocks' sums are few beside the rows.
  const unsigned blocks = (unsigned)(few < most ? few : most);
  const int sums_wanted = o->output[1] || o->output[2];
  float *sums = sums_wanted ? gpu->alloc(gpu->self, (size_t)(2 * d * blocks) * sizeof *sums) : NULL;
  if (sums_wanted && !sums) return "out of memory for sums";
  const struct layer_norm_grad_args a = {
    .dy = o->input[0], .x = o->input[1], .scale = o->input[2], .mean = o->input[3], .r = o->input[4], .dx = o->output[0], .sums = sums, .rows = (unsigned)rows, .vectors = (unsigned)vectors,
  };
  char defines[160];
  snprintf(defines, sizeof defines, "#define LAYER_NORM_GRAD\n#define TYPE %d\n#define LANES %d\n#define WARPS %u\n#define VECTORS %d\n#define THREADS %u", type, lanes, warps, (int)each, threads);
  const struct program program = {.kernel = "layer_norm_grad", .defines = defines};
  const struct grid grid = {blocks, 1, threads, (unsigned)shared};
  wrong = rtc_launch(gpu, &program, &grid, &a);
  if (sums && !wrong) wrong = column_sums(gpu, FLOAT, sums, blocks, (unsigned)(2 * d), (unsigned)d, o->output[1], o->output[2]);
  if (sums) gpu->release(gpu->self, sums);
  return wrong;
}

const char *cuda_bias_grad(const struct gpu *gpu, const struct operands *o) {
  const struct shape *x = &o->in[0];
  const int type = o->in_type[0];
  struct rtc_device device;
  const char *wrong = check_type(type);
  if (wrong || (wrong = rtc_device(&device))) return wrong;
  const int64_t n = x->dims[0], c = x->dims[1];
  int64_t pixels = 1;
  for (int i = 2; i < x->rank; i++) pixels *= x->dims[i];
  if (n < 1 || c < 1 || pixels < 1) return "ConvBiasGrad: dy is empty";
  if (n > INT32_MAX || c > INT32_MAX || pixels > INT32_MAX) return "ConvBiasGrad: a dimension is above 2^31";
  if (pixels == 1) return column_sums(gpu, type, o->input[0], n, (unsigned)c, (unsigned)c, o->output[0], NULL);
  const int lanes = rtc_lanes(greatest_lanes(type), pixels, type, o->input[0]);
  const int64_t vectors = pixels / lanes;
  // Enough teams for the device's 64 warps a multiprocessor.
  const struct segments s = segments_of(vectors, n * c, 64 * device.processors);
  if (n * s.segments * c > INT32_MAX) return "ConvBiasGrad: more than 2^31 sums";
  float *sums = gpu->alloc(gpu->self, (size_t)(n * s.segments * c) * sizeof *sums);
  if (!sums) return "out of memory for sums";
  const struct channel_sums_args a = {
    .x = o->input[0], .sums = sums, .units = (unsigned)(n * s.segments * c), .channels = (unsigned)c, .vectors = (unsigned)vectors, .team = s.team, .segments = s.segments, .segment = s.segment,
  };
  char defines[64];
  snprintf(defines, sizeof defines, "#define CHANNEL_SUMS\n#define TYPE %d\n#define LANES %d", type, lanes);
  const struct program program = {.kernel = "channel_sums", .defines = defines};
  const unsigned teams = 256 / s.team, blocks = (a.units + teams - 1) / teams, most = 32 * device.processors;
  const struct grid grid = {blocks < most ? blocks : most, 1, 256, 0};
  wrong = rtc_launch(gpu, &program, &grid, &a);
  if (!wrong) wrong = column_sums(gpu, FLOAT, sums, n * s.segments, (unsigned)c, (unsigned)c, o->output[0], NULL);
  gpu->release(gpu->self, sums);
  return wrong;
}
