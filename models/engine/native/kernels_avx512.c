#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"

#define LANES 16
#define REGISTERS 32
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define NAME kernels_avx512
#define TITLE "avx512"
#include "kernels_body.h"
#endif
