#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"

#define LANES 8
#define REGISTERS 16
#define TARGET __attribute__((target("avx2,fma")))
#define NAME kernels_avx2
#define TITLE "avx2"
#define ROOT(x) ((vec)_mm256_sqrt_ps((__m256)(x)))
// The lesser and the greater; b if either is NaN.
#define LEAST(a, b) ((vec)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define GREATEST(a, b) ((vec)_mm256_max_ps((__m256)(a), (__m256)(b)))
// 1/d from 11 bits and two steps of Newton's method, for 1 ≤ d < 1e38.
#define RECIPROCAL(d) newton(d, newton(d, (vec)_mm256_rcp_ps((__m256)(d))))
// The product of the low half of each lane of 64 bits and a word.
#define PRODUCT(a, b) ((wide)_mm256_mul_epu32((__m256i)(a), _mm256_set1_epi32((int)(b))))
#include "kernels_body.h"
#include "kernels_winograd_body.h"
#include "kernels_update_body.h"
#include "kernels_dropout_body.h"
#include "kernels_norm_body.h"
#endif
