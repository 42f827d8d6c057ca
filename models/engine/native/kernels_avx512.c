#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"

#define LANES 16
#define REGISTERS 32
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define NAME kernels_avx512
#define TITLE "avx512"
#define ROOT(x) ((vec)_mm512_sqrt_ps((__m512)(x)))
// The lesser and the greater; b if either is NaN.
#define LEAST(a, b) ((vec)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define GREATEST(a, b) ((vec)_mm512_max_ps((__m512)(a), (__m512)(b)))
// 1/d from 14 bits and one step of Newton's method, for 1 ≤ d < 1e38.
#define RECIPROCAL(d) newton(d, (vec)_mm512_rcp14_ps((__m512)(d)))
// The product of the low half of each lane of 64 bits and a word.
#define PRODUCT(a, b) ((wide)_mm512_mul_epu32((__m512i)(a), _mm512_set1_epi32((int)(b))))
#include "kernels_body.h"
#include "kernels_winograd_body.h"
#include "kernels_update_body.h"
#include "kernels_dropout_body.h"
#include "kernels_norm_body.h"
#endif
