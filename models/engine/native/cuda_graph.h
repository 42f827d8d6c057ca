// Plans of cuDNN's graph ("backend") API: an operation is described, the
// heuristics name engines for it, and the first one that suits is kept for every
// later call with the same problem.
//
// The numbers are part of cuDNN 9's binary interface:
// https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html
#ifndef IMMISCIBLE_NATIVE_CUDA_GRAPH_H
#define IMMISCIBLE_NATIVE_CUDA_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "cuda.h"

// A Go program exports its symbols; short names are for this package alone.
#pragma GCC visibility push(hidden)

enum {
  // cudnnBackendDescriptorType_t
  POINTWISE = 0,
  CONVOLUTION = 1,
  ENGINE = 2,
  ENGINE_CONFIG = 3,
  HEURISTICS = 4,
  EXECUTION_PLAN = 5,
  WEIGHT_GRADIENT = 11,
  INPUT_GRADIENT = 12,
  OPERATION_POINTWISE = 13,
  OPERATION_GRAPH = 15,
  VARIANT_PACK = 16,
  TENSOR = 17,
  MATMUL = 18,
  OPERATION_MATMUL = 19,
  REDUCTION = 21,
  OPERATION_REDUCTION = 22,
  OPERATION_RESHAPE = 31,
  DEVICE_PROPERTIES = 38,
  SDPA_FORWARD = 41,

  // cudnnBackendAttributeType_t
  AS_HANDLE = 0,
  AS_DATA_TYPE = 1,
  AS_BOOLEAN = 2,
  AS_INT64 = 3,
  AS_FLOAT = 4,
  AS_POINTER = 6,
  AS_CONVOLUTION_MODE = 7,
  AS_HEURISTIC_MODE = 8,
  AS_NUMERICAL_NOTE = 11,
  AS_POINTWISE_MODE = 14,
  AS_DESCRIPTOR = 15,
  AS_REDUCTION_OPERATOR = 18,
  AS_CHAR = 24,

  // cudnnDataType_t
  CUDNN_FLOAT = 0,
  CUDNN_HALF = 2,
  CUDNN_BFLOAT16 = 9,
};

typedef void *Descriptor;

// The functions of the library; open is 0 until they are there.
struct cudnn {
  int open;
  size_t (*version)(void);
  const char *(*status)(int);
  void (*last_error)(char *, size_t);
  int (*create)(void **handle);
  int (*set_stream)(void *handle, void *stream);
  int (*create_descriptor)(int type, Descriptor *);
  int (*destroy_descriptor)(Descriptor);
  int (*set_attribute)(Descriptor, int name, int type, int64_t count, const void *values);
  int (*get_attribute)(Descriptor, int name, int type, int64_t room, int64_t *count, void *values);
  int (*finalize)(Descriptor);
  int (*execute)(void *handle, Descriptor plan, Descriptor pack);
};
extern struct cudnn cudnn;

// struct problem is what a plan depends on, and all that an operation's
// description may read. Unused fields are 0, so that memory can be compared.
struct problem {
  int operation;  // what it is for: a descriptor type
  int type;       // of storage, a cudnnDataType_t; products are summed in float32
  int tf32, deterministic;
  int64_t size[16];  // each operation's own
};

// struct build is a description on its way. Its functions do nothing once one of
// them has failed, so that a caller asks once, at the end.
struct build {
  int status;         // cuDNN's, 0 while all went well
  const char *step;   // what failed
  int count;
  Descriptor made[96];
};

Descriptor make(struct build *, int descriptor_type);
void set(struct build *, Descriptor, int attribute, int attribute_type, int64_t count, const void *values);
void set_descriptor(struct build *, Descriptor, int attribute, Descriptor value);
void finish(struct build *, Descriptor);
void discard(struct build *);  // destroys what was made

// failed notes a status that is not 0, and returns whether it is one.
int failed(struct build *, int status, const char *step);

// complain makes a message of one line, which stands until the thread's next one,
// of a status and what cuDNN said last.
const char *complain(const char *step, int status);
// about puts what was being done before such a message, if there is one.
const char *about(const char *wrong, const char *format, ...) __attribute__((format(printf, 2, 3)));

// tensor describes four dimensions; id is its name in the call.
Descriptor tensor(struct build *, int64_t id, int data_type, const int64_t dims[4], const int64_t strides[4]);

// virtual_tensor describes one that lives within the plan only.
enum { FIRST_VIRTUAL = 1000 };
Descriptor virtual_tensor(struct build *, int data_type, const int64_t dims[4], const int64_t strides[4]);

// number describes a float32 that the caller passes by a pointer of the host.
Descriptor number(struct build *, int64_t id);

// describe makes the descriptors of a problem's operations, and returns how many.
enum { MAX_OPERATIONS = 24 };
typedef int (*describe)(struct build *, const struct problem *, Descriptor operations[MAX_OPERATIONS]);

// An operation's tensors are given to it as pairs of id and pointer.
enum { MAX_BINDINGS = 16 };
struct bindings {
  int count;
  int64_t ids[MAX_BINDINGS];
  const void *pointers[MAX_BINDINGS];  // of the device; of the host for numbers
};

// run_plan puts the problem's operation into the stream. Returns NULL, or a
// message that stands until the thread's next call.
const char *run_plan(const struct gpu *, const struct problem *, describe, const struct bindings *);

// data_type is the cudnnDataType_t of an element type of ONNX, or −1.
int data_type(int onnx);
const char *type_name(int onnx);

// struct found is what plan_on tells about its choice.
struct found {
  int configurations;  // that the heuristics gave
  int engine;          // global index
  int notes;           // a bit for each numerical note
  size_t workspace;    // bytes
};

// plan_on makes the plan that run_plan would use on a device that is not here,
// described by the JSON that cuDNN gives of its properties. For tools/gpu/plans.
const char *plan_on(const char *device, const struct problem *, describe, struct found *);

#pragma GCC visibility pop

#endif
