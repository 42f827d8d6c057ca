#include "kernels.h"

#include <string.h>

const struct kernels *kernels_find(const char *name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const int fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const int wide = fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  if (wide && (!name || !strcmp(name, kernels_avx512.name))) return &kernels_avx512;
  if (fma && (!name || !strcmp(name, kernels_avx2.name))) return &kernels_avx2;
#endif
  return !name || !strcmp(name, kernels_generic.name) ? &kernels_generic : NULL;
}
