// Convolution gradients and attention on an NVIDIA GPU, by cuDNN 9.
#ifndef IMMISCIBLE_NATIVE_CUDA_CUDNN_H
#define IMMISCIBLE_NATIVE_CUDA_CUDNN_H

#include "operators.h"

// cudnn_open opens the library by path or name. Returns NULL, or a message that
// the caller frees.
char *cudnn_open(const char *path);

// The operators of operators.c, each with its `cuda`.
const char *cuda_conv_input_grad(const struct gpu *, const struct operands *);
const char *cuda_conv_weight_grad(const struct gpu *, const struct operands *);
const char *cuda_attention(const struct gpu *, const struct operands *);
const char *cuda_attention_grad(const struct gpu *, const struct operands *);

// attention_fits says whether attention runs, forward and backward, on tensors of a
// type (ONNX's number) with heads of so many columns, whatever the number of
// queries and keys: float16 and bfloat16, multiples of 8 up to 256 columns. Those
// are the bounds of compute capability 9.x (H100); others have no engine for the
// gradient of more than 128 columns, which shows when it runs. tools/gpu/plans.sh
// asks cuDNN.
int attention_fits(int type, int64_t width);

#endif
