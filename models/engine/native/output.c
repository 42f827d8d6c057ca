#include "output.h"

void output_write(const struct output *o, const float *sums, int block, int image, ptrdiff_t first, int n, float *scratch) {
  const int width = lanes_width(&o->lanes, block), used = lanes_channels(&o->lanes, block), channel = lanes_first(&o->lanes, block);
  float *dst = o->data + ((ptrdiff_t)image * o->lanes.channels + channel) * o->pixels + first;
  const struct addend *a = &o->addend;
  if (!a->data) {
    o->kernels->transpose(sums, width, n, used, dst, o->pixels);
    return;
  }
  for (int at = 0; at < n; at += OUTPUT_PIXELS) {
    const int count = n - at < OUTPUT_PIXELS ? n - at : OUTPUT_PIXELS;
    o->kernels->transpose(sums + (ptrdiff_t)at * width, width, count, used, scratch, OUTPUT_PIXELS);
    for (int c = 0; c < used; c++) {
      const float *from = scratch + c * OUTPUT_PIXELS, *added = a->data + image * a->image + (channel + c) * a->channel + (first + at) * a->pixel;
      float *to = dst + c * o->pixels + at;
      if (a->pixel) {
        // The addend may be the destination itself.
        for (int i = 0; i < count; i++) to[i] = from[i] + added[i];
      } else {
        const float every = *added;
        for (int i = 0; i < count; i++) to[i] = from[i] + every;
      }
    }
  }
}
