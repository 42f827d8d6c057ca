#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"

#define LANES 8
#define REGISTERS 16
#define TARGET __attribute__((target("avx2,fma")))
#define NAME kernels_avx2
#define TITLE "avx2"
#include "kernels_body.h"
#endif
