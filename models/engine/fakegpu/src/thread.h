// What a kernel knows of the thread that it runs as, between kernel.h and launch.c.
#ifndef IMMISCIBLE_FAKEGPU_THREAD_H
#define IMMISCIBLE_FAKEGPU_THREAD_H

struct fakegpu_dim {
  unsigned x, y, z;
};

struct fakegpu_thread {
  struct fakegpu_dim thread, block, threads, blocks;
  unsigned char *shared;  // dynamic
  void (*sync)(void);
  float (*shuffle)(unsigned mask, float v, unsigned distance);
};

// The image that libnvrtc's stand-in makes and libcuda's loads: a shared library
// behind this.
struct fakegpu_image {
  char magic[8];  // "fakegpu"
  unsigned long size;
};

#endif
