// plans: which engines cuDNN chooses for convolution gradients and attention on a
// GPU that is not here. It is built by plans.sh, of the operators themselves
// (models/engine/native), whose plans are finalized, with kernels compiled where
// an engine compiles them, for a device that a JSON describes; nothing runs.
//
//	plans LIBCUDNN DEVICE.json < shapes
//
// A line of the shapes is a geometry, with x [n, c, h, w] and weight [o, c, k, k],
// or n examples of t queries and s keys in heads of d columns:
//
//	conv n c h w o k stride top left bottom right
//	attention n heads t s d
//
// It prints a line a plan, fields between tabs, and ends with 1 if there is one
// that cuDNN does not make.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define run_plan run_plan_here
#include "cuda_plan.c"
#undef run_plan
#include "cuda_cudnn.h"
#include "operators.h"

static char device[1 << 12];
static struct found found;

// The operators put their work in through this: it makes the plan only.
const char *run_plan(const struct gpu *gpu, const struct problem *p, describe operation, const struct bindings *tensors) {
  (void)gpu, (void)tensors;
  return plan_on(device, p, operation, &found);
}

static void *alloc(void *self, size_t bytes) { return (void)bytes, self; }
static void release(void *self, void *p) { (void)self, (void)p; }

static const char *const note_names[] = {"tensor-core", "down-convert", "reduced-precision", "fft", "nondeterministic", "winograd", "winograd-4x4", "winograd-6x6", "winograd-13x13", "strict-nan"};
static int missing;

static void plan(const char *name, const char *geometry, struct operands *o, const char *(*operator)(const struct gpu *, const struct operands *)) {
  static const struct { const char *name; int type, tf32; } kinds[] = {{"float16", FLOAT16, 0}, {"bfloat16", BFLOAT16, 0}, {"float32", FLOAT, 0}, {"float32 with TF32", FLOAT, 1}};
  const int attention = operator== cuda_attention || operator== cuda_attention_grad;
  for (int kind = 0; kind < 4; kind++)
    for (int deterministic = 0; deterministic < 2; deterministic++) {
      if (attention && kinds[kind].type == FLOAT) continue;
      o->in_type[0] = kinds[kind].type;
      const struct gpu gpu = {.tf32 = kinds[kind].tf32, .deterministic = deterministic, .self = device, .alloc = alloc, .release = release};
      found = (struct found){0};
      const char *wrong = operator(&gpu, o);
      printf("%s\t%s\t%s\t%s\t", name, geometry, kinds[kind].name, deterministic ? "deterministic" : "any");
      if (wrong) {
        printf("NONE: %s\n", wrong);
        missing = 1;
        continue;
      }
      printf("%d configurations\tengine %d\t%.1f MiB\t", found.configurations, found.engine, found.workspace / 1048576.0);
      for (int i = 0; i < 10; i++)
        if (found.notes >> i & 1) printf("%s ", note_names[i]);
      printf("\n");
      fflush(stdout);
    }
}

static void plan_convolution(const char *line) {
  long n, c, h, w, o, k, stride, pads[4];
  if (sscanf(line, "conv %ld %ld %ld %ld %ld %ld %ld %ld %ld %ld %ld", &n, &c, &h, &w, &o, &k, &stride, &pads[0], &pads[1], &pads[2], &pads[3]) != 11) {
    fprintf(stderr, "plans: %s: want conv and 11 numbers\n", line);
    exit(2);
  }
  const struct attributes a = {.kernel_shape = {k, k}, .strides = {stride, stride}, .pads = {pads[0], pads[1], pads[2], pads[3]}, .shape = {n, c, h, w}};
  const struct shape x = {4, {n, c, h, w}}, weight = {4, {o, c, k, k}}, dy = {4, {n, o, (h + pads[0] + pads[2] - k) / stride + 1, (w + pads[1] + pads[3] - k) / stride + 1}};
  struct operands input = {.attributes = &a, .inputs = 2, .outputs = 1, .in = {dy, weight}, .out = {x}};
  plan("ConvInputGrad", line, &input, cuda_conv_input_grad);
  struct operands kernel = {.attributes = &a, .inputs = 2, .outputs = 1, .in = {x, dy}, .out = {weight}};
  plan("ConvWeightGrad", line, &kernel, cuda_conv_weight_grad);
}

static void plan_attention(const char *line) {
  long n, heads, t, s, d;
  if (sscanf(line, "attention %ld %ld %ld %ld %ld", &n, &heads, &t, &s, &d) != 5) {
    fprintf(stderr, "plans: %s: want attention and 5 numbers\n", line);
    exit(2);
  }
  const struct attributes a = {.batch = n, .num_heads = heads, .scale = 1};
  const struct shape q = {2, {n * t, heads * d}}, k = {2, {n * s, heads * d}};
  struct operands forward = {.attributes = &a, .inputs = 3, .outputs = 2, .in = {q, k, k}, .output = {device, device}};
  plan("Attention", line, &forward, cuda_attention);
  struct operands backward = {.attributes = &a, .inputs = 6, .outputs = 3, .in = {q, q, k, k, q}};
  plan("AttentionGrad", line, &backward, cuda_attention_grad);
}

int main(int argc, char **argv) {
  FILE *json = argc == 3 ? fopen(argv[2], "r") : NULL;
  if (!json) return fprintf(stderr, "usage: plans LIBCUDNN DEVICE.json < shapes\n"), 2;
  device[fread(device, 1, sizeof device - 1, json)] = 0;
  fclose(json);
  char *error = cudnn_open(argv[1]), line[256];
  if (error) return fprintf(stderr, "plans: %s\n", error), 1;
  printf("cuDNN %zu\n", cudnn.version());
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n#")] = 0;
    if (!strncmp(line, "conv ", 5)) plan_convolution(line);
    if (!strncmp(line, "attention ", 10)) plan_attention(line);
  }
  return missing;
}
