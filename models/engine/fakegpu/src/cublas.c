// libcublas.so.13 and libcublasLt.so.13 for a machine without a GPU: every call
// succeeds; products are counted and not computed.
// https://docs.nvidia.com/cuda/cublas
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "counts.h"

#pragma weak fakegpu_count

static int product(void) {
  if (fakegpu_count) fakegpu_count("products of cuBLAS", 1);
  return 0;
}

static int handle(void **h) { return *h = calloc(1, 64), 0; }
static int release(void *h) { return free(h), 0; }

#define PRODUCT(name) int name(void) { return product(); }
#define NOTHING(name) int name(void) { return 0; }
#define MAKE(name) int name(void **h) { return handle(h); }
#define FREE(name) int name(void *h) { return release(h); }

#ifdef LT
MAKE(cublasLtCreate) FREE(cublasLtDestroy)
MAKE(cublasLtMatmulDescCreate) FREE(cublasLtMatmulDescDestroy) NOTHING(cublasLtMatmulDescSetAttribute)
MAKE(cublasLtMatmulPreferenceCreate) FREE(cublasLtMatmulPreferenceDestroy) NOTHING(cublasLtMatmulPreferenceSetAttribute)
MAKE(cublasLtMatrixLayoutCreate) FREE(cublasLtMatrixLayoutDestroy) NOTHING(cublasLtMatrixLayoutSetAttribute)
MAKE(cublasLtMatrixTransformDescCreate) FREE(cublasLtMatrixTransformDescDestroy)
NOTHING(cublasLtMatmulAlgoInit) NOTHING(cublasLtMatmulAlgoConfigSetAttribute)
PRODUCT(cublasLtMatmul) PRODUCT(cublasLtMatrixTransform)

// One algorithm that needs no workspace: cublasLtMatmulHeuristicResult_t is
// uint64_t algo[8], size_t workspace, int state, float waves, int reserved[4].
int cublasLtMatmulAlgoGetHeuristic(void *h, void *d, void *a, void *b, void *c, void *e, void *preference, int wanted, void *results, int *found) {
  (void)h, (void)d, (void)a, (void)b, (void)c, (void)e, (void)preference;
  memset(results, 0, 96);
  *found = wanted > 0;
  return 0;
}
#else
MAKE(cublasCreate_v2) FREE(cublasDestroy_v2) NOTHING(cublasSetMathMode) NOTHING(cublasSetStream_v2)
int cublasGetMathMode(void *h, int *mode) { return (void)h, *mode = 0, 0; }
const char *cublasGetStatusName(int code) { return (void)code, "CUBLAS_STATUS_SUCCESS"; }
const char *cublasGetStatusString(int code) { return (void)code, "success"; }
PRODUCT(cublasSgemm_v2) PRODUCT(cublasDgemm_v2) PRODUCT(cublasSgemmBatched) PRODUCT(cublasDgemmBatched)
PRODUCT(cublasSgemmStridedBatched) PRODUCT(cublasDgemmStridedBatched) PRODUCT(cublasGemmEx) PRODUCT(cublasGemmBatchedEx) PRODUCT(cublasGemmStridedBatchedEx)
NOTHING(cublasSgeam) NOTHING(cublasDgeam) NOTHING(cublasScopy_v2) NOTHING(cublasDcopy_v2) NOTHING(cublasSscal_v2)
NOTHING(cublasSgetrfBatched) NOTHING(cublasDgetrfBatched) NOTHING(cublasSgetriBatched) NOTHING(cublasDgetriBatched)
#endif
