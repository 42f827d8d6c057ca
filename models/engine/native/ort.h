// The part of ONNX Runtime's C API that custom operators use.
//
// OrtApi is a struct of function pointers that only ever grows at its end, so
// a function's place in it is part of ORT's binary interface; so is the layout
// of OrtCustomOp up to the version that it names. Both are those of API version
// 24, the one models/engine/bridge.c asks for:
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/include/onnxruntime/core/session/onnxruntime_c_api.h
#ifndef IMMISCIBLE_NATIVE_ORT_H
#define IMMISCIBLE_NATIVE_ORT_H

#include <stddef.h>
#include <stdint.h>

enum {
  ORT_VERSION = 24,
  CREATE_STATUS = 0,
  GET_ERROR_MESSAGE = 2,
  CREATE_CUSTOM_OP_DOMAIN = 26,
  CUSTOM_OP_DOMAIN_ADD = 27,
  ADD_CUSTOM_OP_DOMAIN = 28,
  GET_TENSOR_MUTABLE_DATA = 51,
  CREATE_TENSOR_TYPE_AND_SHAPE_INFO = 57,
  SET_TENSOR_ELEMENT_TYPE = 58,
  SET_DIMENSIONS = 59,
  GET_TENSOR_ELEMENT_TYPE = 60,
  GET_DIMENSIONS_COUNT = 61,
  GET_DIMENSIONS = 62,
  GET_TENSOR_TYPE_AND_SHAPE = 65,
  ALLOCATOR_ALLOC = 75,
  ALLOCATOR_FREE = 76,
  KERNEL_INFO_GET_ATTRIBUTE_FLOAT = 85,
  KERNEL_INFO_GET_ATTRIBUTE_INT64 = 86,
  KERNEL_INFO_GET_ATTRIBUTE_STRING = 87,
  KERNEL_CONTEXT_GET_INPUT_COUNT = 88,
  KERNEL_CONTEXT_GET_INPUT = 90,
  KERNEL_CONTEXT_GET_OUTPUT = 91,
  RELEASE_STATUS = 93,
  RELEASE_TENSOR_TYPE_AND_SHAPE_INFO = 99,
  RELEASE_ALLOCATOR = 132,
  KERNEL_INFO_GET_ATTRIBUTE_ARRAY_INT64 = 163,
  KERNEL_CONTEXT_GET_GPU_COMPUTE_STREAM = 193,
  SHAPE_INFER_CONTEXT_GET_INPUT_COUNT = 267,
  SHAPE_INFER_CONTEXT_GET_INPUT_TYPE_SHAPE = 268,
  SHAPE_INFER_CONTEXT_GET_ATTRIBUTE = 269,
  SHAPE_INFER_CONTEXT_SET_OUTPUT_TYPE_SHAPE = 270,
  READ_OP_ATTR = 272,
  KERNEL_CONTEXT_PARALLEL_FOR = 274,
  KERNEL_INFO_GET_ALLOCATOR = 278,

  STATUS_FAIL = 1,
  STATUS_INVALID_ARGUMENT = 2,
  ELEMENT_ANY = 0,
  ATTRIBUTE_INT = 1,
  ATTRIBUTE_INTS = 2,
  REQUIRED = 0,
  OPTIONAL = 1,
};

typedef void *const *Api;

// CALL(api, slot, (types), args…) calls a function that returns a status.
#define CALL(api, slot, types, ...) (((void *(*)types)(api)[slot])(__VA_ARGS__))
#define RELEASE(api, slot, p) (((void (*)(void *))(api)[slot])(p))

// OrtCustomOp. The comments say what a field is where its name does not.
struct custom_op {
  uint32_t version;
  void *create_kernel;  // superseded by create
  const char *(*name)(const struct custom_op *);
  const char *(*provider)(const struct custom_op *);  // NULL: the CPU's
  int (*input_type)(const struct custom_op *, size_t);
  size_t (*inputs)(const struct custom_op *);
  int (*output_type)(const struct custom_op *, size_t);
  size_t (*outputs)(const struct custom_op *);
  void *compute_kernel;  // superseded by compute
  void (*destroy)(void *kernel);
  int (*input_characteristic)(const struct custom_op *, size_t);
  int (*output_characteristic)(const struct custom_op *, size_t);
  int (*input_memory)(const struct custom_op *, size_t);
  int (*variadic_input_minimum)(const struct custom_op *);
  int (*variadic_input_homogeneous)(const struct custom_op *);
  int (*variadic_output_minimum)(const struct custom_op *);
  int (*variadic_output_homogeneous)(const struct custom_op *);
  void *(*create)(const struct custom_op *, Api, const void *info, void **kernel);
  void *(*compute)(void *kernel, void *context);
  void *(*infer)(const struct custom_op *, void *context);
  int (*start_version)(const struct custom_op *);
  int (*end_version)(const struct custom_op *);
  size_t (*may_inplace)(int **inputs, int **outputs);
  void (*release_may_inplace)(int *inputs, int *outputs);
  size_t (*alias)(int **inputs, int **outputs);
  void (*release_alias)(int *inputs, int *outputs);
};

#endif
