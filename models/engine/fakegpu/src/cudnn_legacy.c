// The stand-in of cuDNN: handles, and the functions from before the graph API that
// ONNX Runtime's CUDA provider asks for. Those succeed, compute nothing, and are
// counted where they would compute.
#include <stdlib.h>
#include <string.h>

#include "cudnn.h"

size_t cudnnGetVersion(void) { return 91900; }
size_t cudnnGetCudartVersion(void) { return 13000; }
size_t cudnnGetMaxDeviceVersion(void) { return 1210; }

struct handle { void *stream; };

int cudnnCreate(void **h) { return *h = calloc(1, sizeof(struct handle)), OK; }
int cudnnDestroy(void *h) { return free(h), OK; }
int cudnnSetStream(void *h, void *stream) { return ((struct handle *)h)->stream = stream, OK; }
int cudnnGetStream(void *h, void **stream) { return *stream = ((struct handle *)h)->stream, OK; }

// A descriptor of one of the old kinds. That of a tensor remembers its shape.
struct old { int type, rank, dims[8], strides[8]; };

static int make(void **d) { return *d = calloc(1, sizeof(struct old)), OK; }
static int drop(void *d) { return free(d), OK; }

#define KIND(name) \
  int cudnnCreate##name##Descriptor(void **d) { return make(d); } \
  int cudnnDestroy##name##Descriptor(void *d) { return drop(d); }
KIND(Activation) KIND(Convolution) KIND(Dropout) KIND(Filter) KIND(LRN) KIND(Pooling) KIND(RNNData) KIND(RNN) KIND(ReduceTensor) KIND(Tensor)

#define NOTHING(name) int cudnn##name(void) { return OK; }
NOTHING(SetActivationDescriptor) NOTHING(SetConvolutionGroupCount) NOTHING(SetConvolutionMathType) NOTHING(SetConvolutionNdDescriptor) NOTHING(SetDropoutDescriptor)
NOTHING(SetFilterNdDescriptor) NOTHING(SetLRNDescriptor) NOTHING(SetPoolingNdDescriptor) NOTHING(SetRNNDataDescriptor) NOTHING(SetRNNDescriptor_v8) NOTHING(SetReduceTensorDescriptor)
NOTHING(DeriveBNTensorDescriptor)

int cudnnSetTensorNdDescriptor(void *descriptor, int type, int rank, const int *dims, const int *strides) {
  struct old *d = descriptor;
  if (rank < 1 || rank > 8) return BAD_PARAM;
  d->type = type, d->rank = rank;
  memcpy(d->dims, dims, rank * sizeof *dims);
  memcpy(d->strides, strides, rank * sizeof *strides);
  return OK;
}

int cudnnGetTensorNdDescriptor(void *descriptor, int wanted, int *type, int *rank, int *dims, int *strides) {
  const struct old *d = descriptor;
  const int n = wanted < d->rank ? wanted : d->rank;
  *type = d->type, *rank = d->rank;
  memcpy(dims, d->dims, n * sizeof *dims);
  memcpy(strides, d->strides, n * sizeof *strides);
  return OK;
}

#define COMPUTE(name) \
  int cudnn##name(void) { \
    if (fakegpu_count) fakegpu_count("calls of cuDNN that are not computed: cudnn" #name, 1); \
    return OK; \
  }
COMPUTE(ActivationForward) COMPUTE(AddTensor) COMPUTE(BatchNormalizationForwardInference) COMPUTE(BatchNormalizationForwardTraining) COMPUTE(ConvolutionBiasActivationForward)
COMPUTE(ConvolutionForward) COMPUTE(LRNCrossChannelForward) COMPUTE(PoolingForward) COMPUTE(RNNForward) COMPUTE(ReduceTensor) COMPUTE(SoftmaxForward) COMPUTE(GetRNNWeightParams)

int cudnnDropoutGetStatesSize(void *h, size_t *size) { return (void)h, *size = 256, OK; }
int cudnnGetConvolutionForwardWorkspaceSize(void *h, void *x, void *w, void *c, void *y, int algorithm, size_t *size) {
  return (void)h, (void)x, (void)w, (void)c, (void)y, (void)algorithm, *size = 256, OK;
}
int cudnnGetReductionIndicesSize(void *h, void *r, void *a, void *c, size_t *size) { return (void)h, (void)r, (void)a, (void)c, *size = 256, OK; }
int cudnnGetReductionWorkspaceSize(void *h, void *r, void *a, void *c, size_t *size) { return cudnnGetReductionIndicesSize(h, r, a, c, size); }
int cudnnGetRNNTempSpaceSizes(void *h, void *d, int mode, void *x, size_t *workspace, size_t *reserve) {
  return (void)h, (void)d, (void)mode, (void)x, *workspace = *reserve = 256, OK;
}

// One algorithm, the first. cudnnConvolutionFwdAlgoPerf_t has 48 bytes.
int cudnnGetConvolutionForwardAlgorithm_v7(void *h, void *x, void *w, void *c, void *y, int wanted, int *found, void *results) {
  (void)h, (void)x, (void)w, (void)c, (void)y;
  *found = wanted > 0;
  if (*found) memset(results, 0, 48);
  return OK;
}
int cudnnFindConvolutionForwardAlgorithmEx(void *h, void *x, const void *xp, void *w, const void *wp, void *c, void *y, void *yp, int wanted, int *found, void *results, void *workspace, size_t size) {
  (void)xp, (void)wp, (void)yp, (void)workspace, (void)size;
  return cudnnGetConvolutionForwardAlgorithm_v7(h, x, w, c, y, wanted, found, results);
}
