#include <math.h>

#include "kernels.h"

// Four floats a vector: SSE2, which every amd64 has, NEON, or whatever the
// compiler makes of it.
#define LANES 4
#if defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#define TARGET
#define NAME kernels_generic
#define TITLE "generic"
#define ROOT(x) ((vec){sqrtf((x)[0]), sqrtf((x)[1]), sqrtf((x)[2]), sqrtf((x)[3])})
// The lesser and the greater; b if either is NaN.
#define PICK(m, a, b) ((vec)(((m) & (ivec)(a)) | (~(m) & (ivec)(b))))
#define LEAST(a, b) PICK((a) < (b), a, b)
#define GREATEST(a, b) PICK((a) > (b), a, b)
#define RECIPROCAL(d) (SPLAT(1.0f) / (d))
// The product of the low half of each lane of 64 bits and a word.
#define PRODUCT(a, b) (((a) & 0xffffffffu) * (b))
#include "kernels_body.h"
#include "kernels_winograd_body.h"
#include "kernels_update_body.h"
#include "kernels_dropout_body.h"
#include "kernels_norm_body.h"
