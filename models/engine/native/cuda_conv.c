// A convolution's gradients as single operations of cuDNN's graph API.

#include <string.h>

#include "cuda_cudnn.h"
#include "cuda_graph.h"

// Attributes.
enum {
  COMPUTE_TYPE = 100,
  MODE = 101,
  DILATIONS = 102,
  STRIDES = 103,
  POST_PADDINGS = 104,
  PRE_PADDINGS = 105,
  SPATIAL_DIMENSIONS = 106,
  INPUT_GRADIENT_ALPHA = 706,  // and so on: beta, convolution, w, dx, dy
  WEIGHT_GRADIENT_ALPHA = 712, // beta, convolution, dw, x, dy
  CROSS_CORRELATION = 1,
};

// The tensors' names: image x or dx, kernel w or dw, and dy.
enum { IMAGE = 1, KERNEL, DY };

// What struct problem's sizes are. Pads and strides are given to cuDNN as pairs,
// height first.
enum { N, C, H, W, O, OH, OW, KH, KW, STRIDE_H, STRIDE_W, TOP, LEFT, BOTTOM, RIGHT };

static Descriptor packed(struct build *b, int64_t id, int type, int64_t n, int64_t c, int64_t h, int64_t w) {
  return tensor(b, id, type, (int64_t[]){n, c, h, w}, (int64_t[]){c * h * w, h * w, w, 1});
}

static int describe_gradient(struct build *b, const struct problem *p, Descriptor operations[MAX_OPERATIONS]) {
  const int64_t *s = p->size, two = 2, dilations[] = {1, 1};
  const int compute = CUDNN_FLOAT, mode = CROSS_CORRELATION;
  const float alpha = 1, beta = 0;
  Descriptor image = packed(b, IMAGE, p->type, s[N], s[C], s[H], s[W]);
  Descriptor kernel = packed(b, KERNEL, p->type, s[O], s[C], s[KH], s[KW]);
  Descriptor dy = packed(b, DY, p->type, s[N], s[O], s[OH], s[OW]);
  Descriptor convolution = make(b, CONVOLUTION);
  set(b, convolution, COMPUTE_TYPE, AS_DATA_TYPE, 1, &compute);
  set(b, convolution, MODE, AS_CONVOLUTION_MODE, 1, &mode);
  set(b, convolution, SPATIAL_DIMENSIONS, AS_INT64, 1, &two);
  set(b, convolution, DILATIONS, AS_INT64, 2, dilations);
  set(b, convolution, STRIDES, AS_INT64, 2, &s[STRIDE_H]);
  set(b, convolution, PRE_PADDINGS, AS_INT64, 2, &s[TOP]);
  set(b, convolution, POST_PADDINGS, AS_INT64, 2, &s[BOTTOM]);
  finish(b, convolution);
  const int input = p->operation == INPUT_GRADIENT, first = input ? INPUT_GRADIENT_ALPHA : WEIGHT_GRADIENT_ALPHA;
  Descriptor d = make(b, p->operation);
  set(b, d, first, AS_FLOAT, 1, &alpha);
  set(b, d, first + 1, AS_FLOAT, 1, &beta);
  set_descriptor(b, d, first + 2, convolution);
  set_descriptor(b, d, first + 3, kernel);
  set_descriptor(b, d, first + 4, image);
  set_descriptor(b, d, first + 5, dy);
  finish(b, d);
  operations[0] = d;
  return 1;
}

// gradient_of is the problem of a gradient of the convolution with the geometry
// of an image [N, C, H, W], dy and a node's attributes.
static struct problem gradient_of(int operation, const struct gpu *gpu, const struct operands *o, const int64_t *image, const int64_t *dy) {
  struct problem p;
  memset(&p, 0, sizeof p);
  p.operation = operation;
  p.type = data_type(o->in_type[0]);
  p.tf32 = p.type == CUDNN_FLOAT && gpu->tf32;
  p.deterministic = gpu->deterministic != 0;
  for (int i = 0; i < 4; i++) p.size[N + i] = image[i];
  for (int i = 0; i < 3; i++) p.size[O + i] = dy[1 + i];
  for (int i = 0; i < 2; i++) {
    p.size[KH + i] = o->attributes->kernel_shape[i];
    p.size[STRIDE_H + i] = o->attributes->strides[i];
  }
  for (int i = 0; i < 4; i++) p.size[TOP + i] = o->attributes->pads[i];
  return p;
}

static const char *run_gradient(const struct gpu *gpu, const struct operands *o, const struct problem *p, const void *image, const void *kernel, const void *dy) {
  const struct bindings tensors = {3, {IMAGE, KERNEL, DY}, {image, kernel, dy}};
  const int64_t *s = p->size;
  return about(run_plan(gpu, p, describe_gradient, &tensors), "%s of x [%ld, %ld, %ld, %ld], weight [%ld, %ld, %ld, %ld], strides %ld %ld, pads %ld %ld %ld %ld, %s",
               p->operation == INPUT_GRADIENT ? "ConvInputGrad" : "ConvWeightGrad", (long)s[N], (long)s[C], (long)s[H], (long)s[W], (long)s[O], (long)s[C], (long)s[KH],
               (long)s[KW], (long)s[STRIDE_H], (long)s[STRIDE_W], (long)s[TOP], (long)s[LEFT], (long)s[BOTTOM], (long)s[RIGHT], type_name(o->in_type[0]));
}

const char *cuda_conv_input_grad(const struct gpu *gpu, const struct operands *o) {
  // cuDNN adds to what dx holds: the addend would have to be copied there first,
  // which costs as much as adding it afterwards, in the operator that reads dx.
  if (o->inputs > 2 && o->input[2]) return "ConvInputGrad has no addend on a GPU; add it with another node";
  const struct problem p = gradient_of(INPUT_GRADIENT, gpu, o, o->out[0].dims, o->in[0].dims);
  return run_gradient(gpu, o, &p, o->output[0], o->input[1], o->input[0]);
}

const char *cuda_conv_weight_grad(const struct gpu *gpu, const struct operands *o) {
  const struct problem p = gradient_of(WEIGHT_GRADIENT, gpu, o, o->in[0].dims, o->in[1].dims);
  return run_gradient(gpu, o, &p, o->input[0], o->output[0], o->input[1]);
}
