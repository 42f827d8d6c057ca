#!/usr/bin/env bash
# plans.sh LIBCUDNN [CUDA_LIB]: the engines that a real cuDNN chooses on an H100 for every convolution gradient and attention of
# Stable Diffusion 1.5's U-Net (256 pixels, batch 32 and 128) and of cifar10-ddim (batch 256), on a machine without a GPU; one
# line a plan, exit 1 if one is missing. LIBCUDNN is the path of libcudnn.so.9 (pip download nvidia-cudnn-cu13, unzip it),
# CUDA_LIB a folder with libcudart.so.13 and libnvrtc.so.13 where the loader does not find them. Needs cc.
# plans.txt beside it sums up what two versions answered.
#
# cuDNN plans for a device that is described to it (CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, since 9.8); some engines load the
# kernels that they compile, for which a driver stands here that takes anything.
# https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html
set -euo pipefail
cudnn=$(realpath "${1:?usage: plans.sh LIBCUDNN [CUDA_LIB]}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd); native=$here/../../models/engine/native
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

cat > "$work/driver.c" <<'C'
static char something[4096];
int cuDriverGetVersion(int *v) { return *v = 13000, 0; }
int cuDeviceGetCount(int *n) { return *n = 1, 0; }
int cuKernelGetAttribute(int *v) { return *v = 0; }
int cuGetErrorString(int code, const char **text) { return *text = code ? "no such thing without a GPU" : "success", 0; }
int cuGetErrorName(int code, const char **text) { return cuGetErrorString(code, text); }
#define GIVES(name) int name(void **p) { return *p = something, 0; }
GIVES(cuLibraryLoadData) GIVES(cuLibraryGetKernel) GIVES(cuKernelGetFunction) GIVES(cuModuleLoadData) GIVES(cuModuleGetFunction)
#define DOES(name) int name(void) { return 0; }
DOES(cuInit) DOES(cuKernelSetAttribute) DOES(cuLibraryUnload) DOES(cuModuleUnload)
#define CANNOT(name) int name(void) { return 100; }
CANNOT(cuCtxGetCurrent) CANNOT(cuCtxGetLimit) CANNOT(cuCtxPopCurrent) CANNOT(cuCtxPushCurrent) CANNOT(cuDeviceGet) CANNOT(cuGetExportTable)
CANNOT(cuGetProcAddress_v2) CANNOT(cuLaunchCooperativeKernel) CANNOT(cuLaunchKernel) CANNOT(cuLaunchKernelEx) CANNOT(cuLibraryLoadFromFile)
CANNOT(cuLinkAddData) CANNOT(cuLinkComplete) CANNOT(cuLinkCreate) CANNOT(cuLinkDestroy) CANNOT(cuOccupancyMaxPotentialClusterSize)
CANNOT(cuStreamGetCtx) CANNOT(cuTensorMapEncodeIm2col) CANNOT(cuTensorMapEncodeTiled)
C
cc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$work/libcuda.so.1" "$work/driver.c"

# What cuDNN says of an H100 SXM, by its own names.
cat > "$work/h100.json" <<'JSON'
{"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":132,
"smCountOrigin":0,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":232448,
"reservedSharedMemoryPerBlock":1024,"oversizedSharedMemoryPerBlock":0,"maxRegistersPerSM":65536,"maxCtasPerSM":32,
"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,
"totalGlobalMem":85029158912,"smClockRateKHz":1980000,"memClockRateKHz":2619000,"memoryBusWidth":5120,"l2CacheSize":52428800,
"cudaDeviceId":0,"deviceVer":900,"driverVer":13000,"deviceName":"NVIDIA H100 80GB HBM3"}
JSON

# conv: channels in, size, channels out, kernel, stride, pads. The convolution after an upsampling is a transposed one with 4 × 4
# kernels and stride 2 (models/graph/op_conv.go), whose image is the doubled one.
unet() {
  sed "s/^conv /conv $1 /; s/^attention /attention $1 /" <<'SHAPES'
conv 4 32 32 320 3 1 1 1 1 1
conv 320 32 32 320 3 1 1 1 1 1
conv 320 32 32 320 1 1 0 0 0 0
conv 320 32 32 320 3 2 1 1 1 1
conv 320 16 16 640 3 1 1 1 1 1
conv 320 16 16 640 1 1 0 0 0 0
conv 640 16 16 640 3 1 1 1 1 1
conv 640 16 16 640 1 1 0 0 0 0
conv 640 16 16 640 3 2 1 1 1 1
conv 640 8 8 1280 3 1 1 1 1 1
conv 640 8 8 1280 1 1 0 0 0 0
conv 1280 8 8 1280 3 1 1 1 1 1
conv 1280 8 8 1280 1 1 0 0 0 0
conv 1280 8 8 1280 3 2 1 1 1 1
conv 1280 4 4 1280 3 1 1 1 1 1
conv 1280 4 4 1280 1 1 0 0 0 0
conv 2560 4 4 1280 3 1 1 1 1 1
conv 2560 4 4 1280 1 1 0 0 0 0
conv 1280 8 8 1280 4 2 1 1 1 1
conv 2560 8 8 1280 3 1 1 1 1 1
conv 2560 8 8 1280 1 1 0 0 0 0
conv 1920 8 8 1280 3 1 1 1 1 1
conv 1920 8 8 1280 1 1 0 0 0 0
conv 1280 16 16 1280 4 2 1 1 1 1
conv 1920 16 16 640 3 1 1 1 1 1
conv 1920 16 16 640 1 1 0 0 0 0
conv 1280 16 16 640 3 1 1 1 1 1
conv 1280 16 16 640 1 1 0 0 0 0
conv 960 16 16 640 3 1 1 1 1 1
conv 960 16 16 640 1 1 0 0 0 0
conv 640 32 32 640 4 2 1 1 1 1
conv 960 32 32 320 3 1 1 1 1 1
conv 960 32 32 320 1 1 0 0 0 0
conv 640 32 32 320 3 1 1 1 1 1
conv 640 32 32 320 1 1 0 0 0 0
conv 320 32 32 4 3 1 1 1 1 1
attention 8 1024 1024 40
attention 8 1024 77 40
attention 8 256 256 80
attention 8 256 77 80
attention 8 64 64 160
attention 8 64 77 160
attention 8 16 16 160
attention 8 16 77 160
attention 5 1024 77 64
attention 20 64 64 64
SHAPES
}
cifar() {
  sed "s/^conv /conv $1 /; s/^attention /attention $1 /" <<'SHAPES'
conv 3 32 32 128 3 1 1 1 1 1
conv 128 32 32 128 3 1 1 1 1 1
conv 128 32 32 128 3 2 0 0 1 1
conv 128 16 16 256 3 1 1 1 1 1
conv 128 16 16 256 1 1 0 0 0 0
conv 256 16 16 256 3 1 1 1 1 1
conv 256 16 16 256 3 2 0 0 1 1
conv 256 8 8 256 3 1 1 1 1 1
conv 256 8 8 256 3 2 0 0 1 1
conv 256 4 4 256 3 1 1 1 1 1
conv 512 4 4 256 3 1 1 1 1 1
conv 512 4 4 256 1 1 0 0 0 0
conv 256 8 8 256 4 2 1 1 1 1
conv 512 8 8 256 3 1 1 1 1 1
conv 512 8 8 256 1 1 0 0 0 0
conv 256 16 16 256 4 2 1 1 1 1
conv 512 16 16 256 3 1 1 1 1 1
conv 512 16 16 256 1 1 0 0 0 0
conv 384 16 16 256 3 1 1 1 1 1
conv 384 16 16 256 1 1 0 0 0 0
conv 256 32 32 256 4 2 1 1 1 1
conv 384 32 32 128 3 1 1 1 1 1
conv 384 32 32 128 1 1 0 0 0 0
conv 256 32 32 128 3 1 1 1 1 1
conv 256 32 32 128 1 1 0 0 0 0
conv 128 32 32 3 3 1 1 1 1 1
attention 1 256 256 256
attention 1 16 16 256
SHAPES
}

cc -std=gnu11 -D_GNU_SOURCE -O1 -Wall -I"$native" -o "$work/plans" "$here/plans.c" "$native"/cuda_{graph,conv,attention}.c -ldl -lpthread
export LD_LIBRARY_PATH=$work:$(dirname "$cudnn"):${2:-}:${LD_LIBRARY_PATH:-}
{ unet 32; unet 128; cifar 256; } | "$work/plans" "$cudnn" "$work/h100.json"
