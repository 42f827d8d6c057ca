// The part of libcuda that tells of devices, for a machine without a GPU: one, with
// what an H100 has. launch.c is the rest. https://docs.nvidia.com/cuda/cuda-driver-api
//
// $FAKEGPU_CAPABILITY is its compute capability: 90 for 9.0, the default.
#include <stddef.h>
#include <stdlib.h>

enum { OK = 0, INVALID_VALUE = 1, INVALID_DEVICE = 101 };

static int context;  // the device's primary one, current in every thread

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : OK; }
int cuDriverGetVersion(int *version) { return *version = 13000, OK; }
int cuDeviceGetCount(int *count) { return *count = 1, OK; }
int cuCtxGetCurrent(void **current) { return *current = &context, OK; }
int cuCtxGetDevice(int *device) { return *device = 0, OK; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  enum { MULTIPROCESSOR_COUNT = 16, COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97 };
  const char *text = getenv("FAKEGPU_CAPABILITY");
  const int capability = text ? atoi(text) : 90;
  if (device != 0) return INVALID_DEVICE;
  switch (attribute) {
    case MULTIPROCESSOR_COUNT: return *value = 132, OK;
    case COMPUTE_CAPABILITY_MAJOR: return *value = capability / 10, OK;
    case COMPUTE_CAPABILITY_MINOR: return *value = capability % 10, OK;
    case MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return *value = 227 << 10, OK;
    default: return INVALID_VALUE;
  }
}

int cuGetErrorString(int code, const char **text) {
  *text = code == OK ? "no error" : code == INVALID_VALUE ? "invalid argument" : code == 200 ? "device kernel image is invalid" : "named symbol not found";
  return OK;
}

// ONNX Runtime's CUDA provider names it, and does not call it in what we run.
int cuTensorMapEncodeTiled(void) { return INVALID_VALUE; }
