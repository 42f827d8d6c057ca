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
#include "kernels_body.h"
