#include "kernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

// What the processor has and the system saves: Intel's manual, volume 1,
// §13.3 (XCR0) and volume 2, CPUID. __builtin_cpu_supports would do, but some
// compilers link it without its tables, and then it says no to everything.
static void features(int *fma, int *wide) {
  enum { FMA = 1 << 12, OSXSAVE = 1 << 27, AVX2 = 1 << 5, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512BW = 1 << 30 };
  const unsigned avx512 = AVX512F | AVX512DQ | AVX512BW | 1u << 31;  // and VL
  unsigned a, b, c, d, b7, low, high;
  *fma = *wide = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & FMA) || !(c & OSXSAVE)) return;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c, &d)) return;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  *fma = (b7 & AVX2) && (low & 0x06) == 0x06;
  *wide = *fma && (b7 & avx512) == avx512 && (low & 0xe6) == 0xe6;
}
#endif

const struct kernels *kernels_find(const char *name) {
#if defined(__x86_64__)
  int fma, wide;
  features(&fma, &wide);
  if (wide && (!name || !strcmp(name, kernels_avx512.name))) return &kernels_avx512;
  if (fma && (!name || !strcmp(name, kernels_avx2.name))) return &kernels_avx2;
#endif
  return !name || !strcmp(name, kernels_generic.name) ? &kernels_generic : NULL;
}
