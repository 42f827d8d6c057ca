// The part of libcuda that loads and launches kernels, for a machine without a GPU:
// a block's threads run in turns on the processor, as fibers that give way where
// they wait for each other, so that __syncthreads and shuffles do what they do on a
// GPU. Streams are in order because a launch has ended when it returns.
// https://docs.nvidia.com/cuda/cuda-driver-api
//
// What a GPU would do silently wrong ends the process here: threads that wait for
// others that have ended, a write behind dynamic shared memory. A warp runs ahead of
// the others as far as it can, odd blocks run in reverse, and shared memory begins as
// NaN, so that a missing __syncthreads shows.
//
// With $FAKEGPU_IDLE kernels are counted and not computed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "thread.h"

enum { OK = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500, NOT_IN_CAPTURE = 900 };
enum { STACK = 64 << 10, THREADS = 1024, WARP = 32, GUARD = 256, SHARED_LIMIT = 227 << 10 };

// The counts are libcudart's, which may be loaded later, or never.
static void count(const char *name) {
  void (*const f)(const char *, int64_t) = dlsym(RTLD_DEFAULT, "fakegpu_count");
  if (f) f(name, 1);
}

static int recording(void) {
  int (*const f)(void) = dlsym(RTLD_DEFAULT, "fakegpu_recording");
  return f && f();
}

// A loaded kernel.
struct function {
  void (*call)(void **args);
  void (*turn)(const struct fakegpu_thread *);
  unsigned most;  // threads of a block
  int shared;     // bytes of dynamic shared memory that it may have
  char name[64];
};

// A fiber is made once, and then runs a thread of one block after another.
struct fiber {
  ucontext_t context;
  jmp_buf here;
  struct fakegpu_thread as;
  int made, ended;
  float slot;
};

// A wait of some threads of a block for each other.
struct barrier {
  unsigned size, arrived, passed;
};

// The block that a thread of the processor runs. It is never freed.
struct block {
  struct fiber fibers[THREADS];
  struct barrier all, warps[THREADS / WARP];
  jmp_buf scheduler;
  const struct function *function;
  void **args;
  unsigned running;  // index of the fiber
  unsigned long progress;
  char *stacks;
};

static __thread struct block *block;

static void die(const char *what) {
  fprintf(stderr, "fakegpu: kernel %s: %s\n", block->function->name, what);
  abort();
}

// Jumps, which leave the signal mask alone, are many times faster than swapcontext.
static void give_way(void) {
  if (!_setjmp(block->fibers[block->running].here)) _longjmp(block->scheduler, 1);
}

static void wait_at(struct barrier *b) {
  const unsigned passed = b->passed;
  block->progress++;
  if (++b->arrived == b->size) {
    b->arrived = 0;
    b->passed++;
    return;
  }
  while (b->passed == passed) give_way();
}

static void sync_block(void) { wait_at(&block->all); }

static float shuffle(unsigned mask, float v, unsigned distance) {
  const unsigned i = block->running;
  if (mask != ~0u) die("a shuffle of a part of a warp");
  block->fibers[i].slot = v;
  wait_at(&block->warps[i / WARP]);
  const float other = block->fibers[i ^ distance].slot;
  wait_at(&block->warps[i / WARP]);
  return other;
}

static void run_fiber(void) {
  for (;;) {
    block->function->call(block->args);
    block->fibers[block->running].ended = 1;
    block->progress++;
    give_way();
  }
}

// enter lets a fiber run until it gives way.
static __attribute__((noinline)) void enter(unsigned i) {
  struct fiber *f = &block->fibers[i];
  block->running = i;
  block->function->turn(&f->as);
  if (_setjmp(block->scheduler)) return;
  if (f->made) _longjmp(f->here, 1);
  f->made = 1;
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = block->stacks + (size_t)i * STACK;
  f->context.uc_stack.ss_size = STACK;
  makecontext(&f->context, run_fiber, 0);
  setcontext(&f->context);
}

// run_warp runs a warp as far as it comes without the others. It returns how many
// of its threads have ended.
static unsigned run_warp(unsigned warp, int reverse) {
  unsigned ended = 0;
  for (unsigned long progress = block->progress - 1; block->progress != progress;) {
    progress = block->progress;
    for (unsigned k = 0; k < WARP; k++) {
      const unsigned i = warp * WARP + (reverse ? WARP - 1 - k : k);
      if (block->fibers[i].ended) continue;
      enter(i);
      ended += block->fibers[i].ended;
    }
  }
  return ended;
}

static void run_block(unsigned threads, int reverse) {
  block->all = (struct barrier){.size = threads};
  for (unsigned i = 0; i < threads; i++) {
    if (i % WARP == 0) block->warps[i / WARP] = (struct barrier){.size = WARP};
    block->fibers[i].ended = 0;
  }
  for (unsigned left = threads; left > 0;) {
    const unsigned long progress = block->progress;
    for (unsigned k = 0; k < threads / WARP; k++) left -= run_warp(reverse ? threads / WARP - 1 - k : k, reverse);
    if (block->progress == progress) die("threads wait for others that have ended");
  }
}

int cuModuleLoadData(void **module, const void *image) {
  const struct fakegpu_image *head = image;
  if (memcmp(head->magic, "fakegpu", 8)) return INVALID_IMAGE;
  if (recording()) return count("refused while recording: cuModuleLoadData"), NOT_IN_CAPTURE;
  // The descriptor stays open: a library is known by its path.
  char path[64];
  const int fd = memfd_create("kernel", 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (fd < 0 || write(fd, head + 1, head->size) != (ssize_t)head->size) return INVALID_IMAGE;
  *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  count("modules loaded");
  return *module ? OK : INVALID_IMAGE;
}

int cuModuleUnload(void *module) { return dlclose(module), OK; }

int cuModuleGetFunction(struct function **out, void *module, const char *name) {
  struct function *f = calloc(1, sizeof *f);
  char most[80];
  snprintf(f->name, sizeof f->name, "%s", name);
  snprintf(most, sizeof most, "%s_most", name);
  f->call = dlsym(module, name);
  f->turn = dlsym(module, "fakegpu_turn");
  const unsigned *limit = dlsym(module, most);
  if (!f->call || !f->turn || !limit) return free(f), NOT_FOUND;
  f->most = *limit;
  f->shared = 48 << 10;
  return *out = f, OK;
}

int cuFuncSetAttribute(struct function *f, int attribute, int value) {
  enum { MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 };
  if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > SHARED_LIMIT) return INVALID_VALUE;
  return f->shared = value, OK;
}

int cuLaunchKernel(struct function *f, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream, void **args, void **extra) {
  (void)stream;
  if (!x || !y || !z || x > INT32_MAX || y > 65535 || z > 65535 || !tx || ty != 1 || tz != 1 || tx % WARP || tx > THREADS || tx > f->most || extra) return INVALID_VALUE;
  if (shared > (unsigned)f->shared) return INVALID_VALUE;
  char line[96];
  snprintf(line, sizeof line, "launches of %s", f->name);
  count(line);
  if (getenv("FAKEGPU_IDLE")) return OK;
  if (!block) {
    block = calloc(1, sizeof *block);
    block->stacks = mmap(NULL, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block->stacks == MAP_FAILED) return INVALID_VALUE;
  }
  unsigned char *memory = aligned_alloc(256, (shared + 255) / 256 * 256 + GUARD);
  block->function = f;
  block->args = args;
  for (unsigned i = 0; i < tx; i++)
    block->fibers[i].as = (struct fakegpu_thread){.thread = {i, 0, 0}, .threads = {tx, 1, 1}, .blocks = {x, y, z}, .shared = memory, .sync = sync_block, .shuffle = shuffle};
  for (unsigned long b = 0; b < (unsigned long)x * y * z; b++) {
    memset(memory, 0xff, shared + GUARD);
    for (unsigned i = 0; i < tx; i++) block->fibers[i].as.block = (struct fakegpu_dim){b % x, b / x % y, b / x / y};
    run_block(tx, b % 2);
    for (unsigned i = 0; i < GUARD; i++)
      if (memory[shared + i] != 0xff) die("a write behind its shared memory");
  }
  free(memory);
  return OK;
}
