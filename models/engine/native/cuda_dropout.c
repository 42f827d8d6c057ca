// Dropout on an NVIDIA GPU: what the kernel of cuda_dropout.cu is called with.
#include <stdint.h>
#include <stdio.h>

#include "cuda_kernels.h"
#include "cuda_rtc.h"

const char *cuda_dropout(const struct gpu *gpu, const struct operands *o) {
  const struct attributes *attributes = o->attributes;
  const struct shape *x = &o->in[0];
  const int type = o->in_type[0];
  if (type != FLOAT && type != FLOAT16 && type != BFLOAT16) return "Dropout: x is not float32, float16 or bfloat16";
  int64_t elements = 1;
  for (int i = 1; i < x->rank; i++) elements *= x->dims[i];
  const int64_t each = (elements + 3) / 4, blocks = x->dims[0] * each;
  if (!blocks) return NULL;
  if (elements > INT32_MAX || blocks > INT32_MAX) return "Dropout: an example has more than 2^31 elements, or all have more than 2^33";
  const int lanes = rtc_lanes(rtc_lanes(4, elements, type, o->input[0]), elements, type, o->output[0]);
  const struct dropout_args a = {
    .x = o->input[0], .y = o->output[0], .positions = o->input[1], .key = {(unsigned)attributes->key, (unsigned)(attributes->key >> 32)},
    .most = (unsigned)(attributes->keep - 1), .scale = attributes->scale, .blocks = (unsigned)blocks, .vectors = (unsigned)(elements / lanes),
    .example = rtc_divider((unsigned)each),
  };
  struct rtc_device device;
  const char *wrong = rtc_device(&device);
  if (wrong) return wrong;
  char defines[64];
  snprintf(defines, sizeof defines, "#define DROPOUT\n#define TYPE %d\n#define LANES %d", type, lanes);
  const struct program program = {.kernel = "dropout", .defines = defines};
  // Eight blocks of threads fill a multiprocessor; four rounds of them even out its end.
  const unsigned count = (a.blocks + 255) / 256, most = 32 * device.processors;
  const struct grid grid = {count < most ? count : most, 1, 256, 0};
  return rtc_launch(gpu, &program, &grid, &a);
}
