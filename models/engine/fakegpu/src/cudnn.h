// The stand-in of cuDNN 9: what its files share.
#ifndef IMMISCIBLE_FAKEGPU_CUDNN_H
#define IMMISCIBLE_FAKEGPU_CUDNN_H

#include <stddef.h>
#include <stdint.h>

#include "counts.h"

#pragma weak fakegpu_count

// cudnnStatus_t
enum { OK = 0, NOT_INITIALIZED = 1001, BAD_PARAM = 2000, NULL_POINTER = 2002, NOT_FINALIZED = 2004, SHAPE_MISMATCH = 2008, ATTRIBUTE_TYPE = 2010, DESCRIPTOR_TYPE = 2012, NOT_SUPPORTED = 3000, NO_MEMORY = 4003 };

// cudnnBackendDescriptorType_t
enum {
  D_POINTWISE, D_CONVOLUTION, D_ENGINE, D_CONFIG, D_HEURISTICS, D_PLAN,
  D_CONVOLUTION_FORWARD = 10, D_WEIGHT_GRADIENT, D_INPUT_GRADIENT, D_OPERATION_POINTWISE,
  D_GRAPH = 15, D_PACK, D_TENSOR, D_MATMUL, D_OPERATION_MATMUL,
  D_REDUCTION = 21, D_OPERATION_REDUCTION, D_RESHAPE = 31, D_SDPA_FORWARD = 41, D_LAST = 50,
};

// cudnnDataType_t, as far as the interpreter reads and writes it.
enum { T_FLOAT = 0, T_DOUBLE = 1, T_HALF = 2, T_INT32 = 4, T_BFLOAT16 = 9 };

// cudnnBackendNumericalNote_t
enum { TENSOR_CORE = 0, DOWN_CONVERT_INPUTS = 1, NONDETERMINISTIC = 4 };

struct value {
  struct value *next;
  int name, type;
  int64_t count;
  void *data;
};

struct descriptor {
  int type, references, finished;
  struct value *values;
};

// find returns an attribute that has been set, or NULL.
const struct value *find(const struct descriptor *, int name);

// child is a descriptor that has been set, or NULL; number an integer or a
// floating-point attribute, or fallback.
const struct descriptor *child(const struct descriptor *, int name);
double number(const struct descriptor *, int name, double fallback);

// struct engine is one of the stand-in's ways to compute a graph.
struct engine {
  unsigned notes;  // a bit each
  int64_t workspace;
};
enum { ENGINES = 5 };
extern const struct engine engines[ENGINES];

// compute runs a graph's operations on the tensors of a variant pack. Returns the
// number of operations that it does not know.
int compute(const struct descriptor *graph, const struct engine *, const struct descriptor *pack);

// shape_error says what is wrong with the dimensions of an operation's tensors, or
// returns NULL.
const char *shape_error(const struct descriptor *operation);

#endif
