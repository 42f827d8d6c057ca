#include "output.h"

void output_write(const struct output *o, const float *sums, int block, int image, ptrdiff_t first, int n, float *scratch) {
  const int width = lanes_width(&o->lanes, block), used = lanes_channels(&o->lanes, block), channel = lanes_first(&o->lanes, block);
  const ptrdiff_t plane = (ptrdiff_t)image * o->lanes.channels + channel;
  float *dst = o->data + plane * o->pixels + first;
  if (!o->addend.data) {
    o->kernels->transpose(sums, width, n, used, dst, o->pixels);
    return;
  }
  for (int at = 0; at < n; at += OUTPUT_PIXELS) {
    const int count = n - at < OUTPUT_PIXELS ? n - at : OUTPUT_PIXELS;
    o->kernels->transpose(sums + (ptrdiff_t)at * width, width, count, used, scratch, OUTPUT_PIXELS);
    for (int c = 0; c < used; c++) {
      const float *from = scratch + c * OUTPUT_PIXELS;
      float *to = dst + c * o->pixels + at;
      if (o->addend.pixels == 1) {
        const float every = o->addend.data[plane + c];
        for (int i = 0; i < count; i++) to[i] = from[i] + every;
      } else {
        // The addend may be the destination itself.
        const float *each = o->addend.data + (plane + c) * o->pixels + first + at;
        for (int i = 0; i < count; i++) to[i] = from[i] + each[i];
      }
    }
  }
}
