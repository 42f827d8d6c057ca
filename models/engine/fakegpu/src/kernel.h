// CUDA's words that kernels of models/engine/native use, in C: libnvrtc's stand-in
// puts thread.h and this before their source, and libcuda's runs a block's threads in turns.
#include <math.h>
#include <stdint.h>
#include <string.h>


// The thread that runs, set by libcuda's stand-in.
__thread const struct fakegpu_thread *fakegpu_now;
void fakegpu_turn(const struct fakegpu_thread *t) { fakegpu_now = t; }

#define threadIdx (fakegpu_now->thread)
#define blockIdx (fakegpu_now->block)
#define blockDim (fakegpu_now->threads)
#define gridDim (fakegpu_now->blocks)

// A block's threads are turns of one thread of the processor.
#define __shared__ static __thread
#define __align__(n) __attribute__((aligned(n)))
#define SHARED(name) unsigned char *const name = fakegpu_now->shared
#define __syncthreads() fakegpu_now->sync()
#define __shfl_xor_sync(mask, v, o) fakegpu_now->shuffle(mask, v, o)

#define KERNEL(name, most, type)                                          \
  static void name##_thread(const struct type a);                         \
  void name(void **args) { name##_thread(*(const struct type *)args[0]); } \
  const unsigned name##_most = most;                                      \
  static void name##_thread(const struct type a)

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline float __fdividef(float a, float b) { return a / b; }

static inline unsigned __float_as_uint(float v) {
  unsigned u;
  memcpy(&u, &v, 4);
  return u;
}

static inline float __uint_as_float(unsigned u) {
  float v;
  memcpy(&v, &u, 4);
  return v;
}

static inline float float_of_half(unsigned short h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const float v = exponent == 31 ? (fraction ? NAN : INFINITY) : exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24);
  return h >> 15 ? -v : v;
}

// nearbyintf rounds ties to even.
static inline unsigned short half_of_float(float v) {
  const unsigned sign = __float_as_uint(v) >> 16 & 0x8000;
  v = fabsf(v);
  if (v != v) return 0x7fff;
  if (v >= 65520) return sign | 0x7c00;
  if (v < 0x1p-14f) return sign | (unsigned)nearbyintf(v * 0x1p24f);
  int exponent;
  const float fraction = frexpf(v, &exponent);
  return sign | (((exponent + 14) << 10) + (unsigned)nearbyintf(fraction * 2048) - 1024);
}

static inline unsigned short bfloat_of_float(float v) {
  const unsigned u = __float_as_uint(v);
  return v != v ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
