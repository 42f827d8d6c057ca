#include "cuda_graph.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cuda_cudnn.h"
#include "operators.h"

// Attributes of tensors.
enum {
  TENSOR_ALIGNMENT = 900,
  TENSOR_TYPE = 901,
  TENSOR_DIMENSIONS = 902,
  TENSOR_STRIDES = 903,
  TENSOR_ID = 906,
  TENSOR_VIRTUAL = 907,
  TENSOR_BY_VALUE = 908,
};

// Before 9.15.1 the gradient of attention asks for a mask wherever the number of
// keys is no multiple of 128.
// https://github.com/NVIDIA/cudnn-frontend/blob/3929da2ef4c1dba1bb8acb68727b9134f26f40c0/include/cudnn_frontend/node/scaled_dot_product_flash_attention.h#L1190
static const size_t oldest = 91501;

struct cudnn cudnn;

char *cudnn_open(const char *path) {
  static const struct {
    void *at;
    const char *name;
  } names[] = {
    {&cudnn.version, "cudnnGetVersion"},
    {&cudnn.status, "cudnnGetErrorString"},
    {&cudnn.last_error, "cudnnGetLastErrorString"},
    {&cudnn.create, "cudnnCreate"},
    {&cudnn.set_stream, "cudnnSetStream"},
    {&cudnn.create_descriptor, "cudnnBackendCreateDescriptor"},
    {&cudnn.destroy_descriptor, "cudnnBackendDestroyDescriptor"},
    {&cudnn.set_attribute, "cudnnBackendSetAttribute"},
    {&cudnn.get_attribute, "cudnnBackendGetAttribute"},
    {&cudnn.finalize, "cudnnBackendFinalize"},
    {&cudnn.execute, "cudnnBackendExecute"},
  };
  char text[512];
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    snprintf(text, sizeof text, "cudnn: %s: pip install nvidia-cudnn-cu13, and put its lib folder on LD_LIBRARY_PATH", dlerror());
    return strdup(text);
  }
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *function = dlsym(library, names[i].name);
    if (!function) {
      snprintf(text, sizeof text, "cudnn: %s has no %s: want cuDNN 9.15.1 or later", path, names[i].name);
      return strdup(text);
    }
    memcpy(names[i].at, &function, sizeof function);
  }
  if (cudnn.version() < oldest) {
    snprintf(text, sizeof text, "cudnn: %s is version %zu, want %zu (9.15.1) or later: pip install -U nvidia-cudnn-cu13", path, cudnn.version(), oldest);
    return strdup(text);
  }
  cudnn.open = 1;
  return NULL;
}

int failed(struct build *b, int status, const char *step) {
  if (!status) return 0;
  b->status = status;
  b->step = step;
  return 1;
}

Descriptor make(struct build *b, int descriptor_type) {
  Descriptor d = NULL;
  if (b->status || failed(b, cudnn.create_descriptor(descriptor_type, &d), "create a descriptor")) return NULL;
  return b->made[b->count++] = d;
}

void set(struct build *b, Descriptor d, int attribute, int attribute_type, int64_t count, const void *values) {
  if (!b->status) failed(b, cudnn.set_attribute(d, attribute, attribute_type, count, values), "set an attribute");
}

void set_descriptor(struct build *b, Descriptor d, int attribute, Descriptor value) {
  set(b, d, attribute, AS_DESCRIPTOR, 1, &value);
}

void finish(struct build *b, Descriptor d) {
  if (!b->status) failed(b, cudnn.finalize(d), "finalize a descriptor");
}

enum { STORED, VIRTUAL, BY_VALUE };

static Descriptor tensor_of(struct build *b, int64_t id, int type, const int64_t dims[4], const int64_t strides[4], int kind) {
  // ONNX Runtime's tensors start at multiples of 256 bytes; 16 is what vector
  // loads need, and what the frontend says.
  const int64_t alignment = kind == BY_VALUE ? sizeof(float) : 16;
  const char yes = 1;
  Descriptor d = make(b, TENSOR);
  set(b, d, TENSOR_ID, AS_INT64, 1, &id);
  set(b, d, TENSOR_TYPE, AS_DATA_TYPE, 1, &type);
  set(b, d, TENSOR_ALIGNMENT, AS_INT64, 1, &alignment);
  set(b, d, TENSOR_DIMENSIONS, AS_INT64, 4, dims);
  set(b, d, TENSOR_STRIDES, AS_INT64, 4, strides);
  if (kind == VIRTUAL) set(b, d, TENSOR_VIRTUAL, AS_BOOLEAN, 1, &yes);
  if (kind == BY_VALUE) set(b, d, TENSOR_BY_VALUE, AS_BOOLEAN, 1, &yes);
  finish(b, d);
  return d;
}

Descriptor tensor(struct build *b, int64_t id, int type, const int64_t dims[4], const int64_t strides[4]) {
  return tensor_of(b, id, type, dims, strides, STORED);
}

Descriptor virtual_tensor(struct build *b, int type, const int64_t dims[4], const int64_t strides[4]) {
  return tensor_of(b, FIRST_VIRTUAL + b->count, type, dims, strides, VIRTUAL);
}

Descriptor number(struct build *b, int64_t id) {
  static const int64_t one[4] = {1, 1, 1, 1};
  return tensor_of(b, id, CUDNN_FLOAT, one, one, BY_VALUE);
}

void discard(struct build *b) {
  while (b->count) cudnn.destroy_descriptor(b->made[--b->count]);
}

static _Thread_local char message[1024];

const char *complain(const char *step, int status) {
  char words[512] = "";
  if (status) cudnn.last_error(words, sizeof words);
  for (char *c = words; *c; c++)
    if (*c == '\n') *c = ' ';
  if (status) snprintf(message, sizeof message, "cuDNN %zu: %s: %s: %s", cudnn.version(), step, cudnn.status(status), words);
  else snprintf(message, sizeof message, "cuDNN %zu: %s: none suits: try another version of cuDNN 9", cudnn.version(), step);
  return message;
}

const char *about(const char *wrong, const char *format, ...) {
  if (!wrong) return NULL;
  char text[sizeof message];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length < 0 || length >= (int)sizeof text) length = 0;
  snprintf(text + length, sizeof text - length, ": %s", wrong);
  return memcpy(message, text, sizeof text);
}

int data_type(int onnx) {
  switch (onnx) {
    case FLOAT: return CUDNN_FLOAT;
    case FLOAT16: return CUDNN_HALF;
    case BFLOAT16: return CUDNN_BFLOAT16;
  }
  return -1;
}

const char *type_name(int onnx) {
  return onnx == FLOAT ? "float32" : onnx == FLOAT16 ? "float16" : onnx == BFLOAT16 ? "bfloat16" : "another type";
}
