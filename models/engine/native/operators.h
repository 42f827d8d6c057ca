// The operators of domain "immiscible", version 1, as a table that knows
// nothing of ONNX Runtime: a shape rule, and a computation on the processor, on
// an NVIDIA GPU, or both.
#ifndef IMMISCIBLE_NATIVE_OPERATORS_H
#define IMMISCIBLE_NATIVE_OPERATORS_H

#include <stdint.h>

#include "crew.h"
#include "cuda.h"

enum { MAX_RANK = 8, MAX_INPUTS = 16, MAX_OUTPUTS = 8, MESSAGE = 256, NOWHERE = -1 };

// Element types, by ONNX's numbers.
enum { FLOAT = 1, INT64 = 7, BOOL = 9, FLOAT16 = 10, BFLOAT16 = 16 };

struct shape {
  int rank;
  int64_t dims[MAX_RANK];
};

// What a node may say; each operator reads its own. Absent ones are as here.
struct attributes {
  int64_t kernel_shape[2];  // 0, 0
  int64_t strides[2];       // 1, 1
  int64_t pads[4];          // 0: top, left, bottom, right
  int64_t shape[4];         // 0
  int64_t num_groups;       // 0
  int64_t num_heads, batch; // 0
  int64_t key, keep;        // 0: see Dropout
  float scale;              // 1
  float epsilon;            // 1e-5
  float alpha;              // 1
  char activation[16];      // ""
  char *expression;         // NULL: see Elementwise
};

struct operands {
  const struct attributes *attributes;
  int inputs, outputs;
  const void *input[MAX_INPUTS];  // NULL: absent
  void *output[MAX_OUTPUTS];      // NULL: nobody wants it
  struct shape in[MAX_INPUTS], out[MAX_OUTPUTS];
  // On the processor all are FLOAT, but for one that is INT64.
  int in_type[MAX_INPUTS], out_type[MAX_OUTPUTS];
};

struct operation {
  const char *name;
  int inputs, required_inputs, outputs, required_outputs;
  // shapes fills o->out from o->in, or says in message why it cannot: 0 or −1.
  int (*shapes)(struct operands *o, char *message);
  // compute returns NULL, or what went wrong. NULL: not on the processor.
  const char *(*compute)(const struct crew *, const struct operands *);
  // cuda puts the work into the GPU's stream, and returns as compute does. NULL:
  // not on a GPU.
  const char *(*cuda)(const struct gpu *, const struct operands *);
  // inplace: the input that output 0 may be written over, or NOWHERE.
  int inplace;
  // whole: the input that is int64; 0: none is.
  int whole;
  // On a GPU a node's operands have one type, float32, float16 or bfloat16, but for
  // whole and those whose bits are set here, which are float32 always. wide_inputs
  // ~0u is an operator of float32 alone.
  unsigned wide_inputs, wide;  // wide: outputs
  // any: inputs may have any type that cuda knows, each its own. ONNX Runtime gives
  // an operator's outputs a type by its inputs', or by its name: such an operator
  // has a name for each choice of its outputs' types, as Elementwise, where all are
  // float32, and ElementwiseFloat16x2, where the first two are float16.
  int any;
};

extern const struct operation operations[];
extern const int operation_count;

#endif
