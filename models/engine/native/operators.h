// The operators of domain "immiscible", version 1, as a table that knows
// nothing of ONNX Runtime: a shape rule and a computation each.
#ifndef IMMISCIBLE_NATIVE_OPERATORS_H
#define IMMISCIBLE_NATIVE_OPERATORS_H

#include <stdint.h>

#include "crew.h"

enum { MAX_RANK = 8, MAX_INPUTS = 16, MAX_OUTPUTS = 4, MESSAGE = 256, NOWHERE = -1 };

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
  float scale;              // 1
  float epsilon;            // 1e-5
  float alpha;              // 1
  char activation[16];      // ""
};

struct operands {
  const struct attributes *attributes;
  int inputs, outputs;
  const float *input[MAX_INPUTS];  // NULL: absent
  float *output[MAX_OUTPUTS];      // NULL: nobody wants it
  struct shape in[MAX_INPUTS], out[MAX_OUTPUTS];
};

struct operation {
  const char *name;
  int inputs, required_inputs, outputs, required_outputs;
  // shapes fills o->out from o->in, or says in message why it cannot: 0 or −1.
  int (*shapes)(struct operands *o, char *message);
  // compute returns NULL, or what went wrong.
  const char *(*compute)(const struct crew *, const struct operands *);
  // inplace: the input that output 0 may be written over, or NOWHERE.
  int inplace;
  // truth: the input that is bool, a byte each; 0: all are float.
  int truth;
};

extern const struct operation operations[];
extern const int operation_count;

#endif
