// What all kernels have in common. The source keeps to what C and CUDA C++ share,
// so that the tests can compile it for the processor; the few words that are
// CUDA's alone stand under __CUDACC_RTC__, and models/engine/enginetest has them in C.
#ifdef __CUDACC_RTC__
#define KERNEL(name, threads, type) extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ struct type a)
#define SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// https://docs.nvidia.com/cuda/parallel-thread-execution/#data-movement-and-conversion-instructions-cvt
static float float_of_half(unsigned short h) {
  float v;
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(h));
  return v;
}

static unsigned short half_of_float(float v) {
  unsigned short h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
  return h;
}

#if __CUDA_ARCH__ >= 800
static unsigned short bfloat_of_float(float v) {
  unsigned short h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(v));
  return h;
}
#else
static unsigned short bfloat_of_float(float v) {
  const unsigned u = __float_as_uint(v);
  return v != v ? 0x7fc0 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
#endif
#endif

// Elements by ONNX's numbers: 1 float, 9 bool, 10 float16, 16 bfloat16. Arithmetic
// is float's; widen and narrow go there and back, rounding to nearest, ties to even.
typedef float element1;
typedef unsigned char element9;
typedef unsigned short element10;
typedef unsigned short element16;

static float widen1(element1 v) { return v; }
static float widen9(element9 v) { return v != 0 ? 1.0f : 0.0f; }
static float widen10(element10 v) { return float_of_half(v); }
static float widen16(element16 v) { return __uint_as_float((unsigned)v << 16); }
static element1 narrow1(float v) { return v; }
static element10 narrow10(float v) { return half_of_float(v); }
static element16 narrow16(float v) { return bfloat_of_float(v); }

// A vector is LANES elements that are read by one instruction, or by two where
// they have more than 16 bytes.
typedef struct __align__(LANES) { element9 lane[LANES]; } vector9;
typedef struct __align__(4 * LANES) { element1 lane[LANES]; } vector1;
typedef struct __align__(2 * LANES) { element10 lane[LANES]; } vector10;
typedef struct __align__(2 * LANES) { element16 lane[LANES]; } vector16;

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define ELEMENT JOIN(element, TYPE)
#define VECTOR JOIN(vector, TYPE)
#define WIDEN JOIN(widen, TYPE)
#define NARROW JOIN(narrow, TYPE)

static unsigned divide(unsigned n, const struct divider *d) { return (__umulhi(n, d->factor) + n) >> d->shift; }

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

// team_sum adds over teams of a power of two of threads; all of a team get the
// same bits. Every thread of the block must come here together.
static float team_sum(float v, unsigned team) {
  for (unsigned o = team / 2; o; o /= 2) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}

// block_sum adds over the block, a multiple of 32 threads; all get the same bits.
static float block_sum(float v) {
  __shared__ float part[32];
  const unsigned lane = threadIdx.x % 32;
  v = team_sum(v, 32);
  if (lane == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = team_sum(lane < blockDim.x / 32 ? part[lane] : 0, 32);
  __syncthreads();  // part is written again by the next call
  return v;
}

// sigmoid's quotient is within 2 units in the last place; a plain one costs more
// than the memory that these kernels move.
static float sigmoid(float z) { return __fdividef(1.0f, 1.0f + expf(-z)); }

// through takes dy back through SiLU at z: dz = dy·σ·(1 + z·(1 − σ)).
static float through(float dy, float z) {
  const float s = sigmoid(z);
  return dy * s * (1.0f + z * (1.0f - s));
}
