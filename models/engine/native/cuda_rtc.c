// The functions are those of https://docs.nvidia.com/cuda/nvrtc and
// https://docs.nvidia.com/cuda/cuda-driver-api, which CUDA 12 and 13 share. All of
// them return 0 for success.
#include "cuda_rtc.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  int (*get_context)(void **context);
  int (*get_device)(int *device);
  int (*get_attribute)(int *value, int attribute, int device);
  int (*load)(void **module, const void *image);
  int (*get_function)(void **function, void *module, const char *name);
  int (*set_attribute)(void *function, int attribute, int value);
  int (*launch)(void *function, unsigned x, unsigned y, unsigned z, unsigned threads_x, unsigned threads_y, unsigned threads_z, unsigned shared, void *stream, void **args, void **extra);
  int (*error_string)(int code, const char **text);
} cu;

static struct {
  int (*create)(void **program, const char *source, const char *name, int headers, const char *const *texts, const char *const *names);
  int (*destroy)(void **program);
  int (*compile)(void *program, int count, const char *const *options);
  int (*log_size)(void *program, size_t *);
  int (*log)(void *program, char *);
  int (*cubin_size)(void *program, size_t *);
  int (*cubin)(void *program, char *);
  int (*ptx_size)(void *program, size_t *);
  int (*ptx)(void *program, char *);
  int (*arch_count)(int *);
  int (*archs)(int *);
  const char *(*error_string)(int code);
} rtc;

enum {
  // CUdevice_attribute and CUfunction_attribute
  MULTIPROCESSOR_COUNT = 16,
  COMPUTE_CAPABILITY_MAJOR = 75,
  COMPUTE_CAPABILITY_MINOR = 76,
  MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
  MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
  // Bytes of shared memory that kernels use beside the dynamic ones, at most.
  STATIC_SHARED = 4 << 10,
};

static const char *source = "";

void rtc_source(const char *text) { source = text; }

// say keeps a message for the thread.
static const char *say(const char *format, ...) {
  static __thread char message[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return message;
}

static const char *driver_says(const char *call, int code) {
  const char *text = NULL;
  if (cu.error_string(code, &text) || !text) text = "unknown error";
  return say("%s: %s (error %d)", call, text, code);
}

// find looks a function up; the first that is missing ends in *missing.
static void *find(void *library, const char *name, const char **missing) {
  void *f = dlsym(library, name);
  if (!f && !*missing) *missing = name;
  return f;
}

char *rtc_open(const char *driver, const char *nvrtc) {
  void *const d = dlopen(driver, RTLD_NOW | RTLD_GLOBAL);
  if (!d) return strdup(dlerror());
  void *const r = dlopen(nvrtc, RTLD_NOW | RTLD_GLOBAL);
  if (!r) return strdup(dlerror());
  const char *missing = NULL;
  cu.get_context = find(d, "cuCtxGetCurrent", &missing);
  cu.get_device = find(d, "cuCtxGetDevice", &missing);
  cu.get_attribute = find(d, "cuDeviceGetAttribute", &missing);
  cu.load = find(d, "cuModuleLoadData", &missing);
  cu.get_function = find(d, "cuModuleGetFunction", &missing);
  cu.set_attribute = find(d, "cuFuncSetAttribute", &missing);
  cu.launch = find(d, "cuLaunchKernel", &missing);
  cu.error_string = find(d, "cuGetErrorString", &missing);
  rtc.create = find(r, "nvrtcCreateProgram", &missing);
  rtc.destroy = find(r, "nvrtcDestroyProgram", &missing);
  rtc.compile = find(r, "nvrtcCompileProgram", &missing);
  rtc.log_size = find(r, "nvrtcGetProgramLogSize", &missing);
  rtc.log = find(r, "nvrtcGetProgramLog", &missing);
  rtc.cubin_size = find(r, "nvrtcGetCUBINSize", &missing);
  rtc.cubin = find(r, "nvrtcGetCUBIN", &missing);
  rtc.ptx_size = find(r, "nvrtcGetPTXSize", &missing);
  rtc.ptx = find(r, "nvrtcGetPTX", &missing);
  rtc.arch_count = find(r, "nvrtcGetNumSupportedArchs", &missing);
  rtc.archs = find(r, "nvrtcGetSupportedArchs", &missing);
  rtc.error_string = find(r, "nvrtcGetErrorString", &missing);
  char *error = NULL;
  if (missing && asprintf(&error, "%s or %s has no function %s", driver, nvrtc, missing) < 0) error = strdup("out of memory");
  return error;
}

const char *rtc_device(struct rtc_device *d) {
  int device, major = 0, minor = 0, code = cu.get_device(&device);
  if (code) return driver_says("cuCtxGetDevice", code);
  code = cu.get_attribute(&major, COMPUTE_CAPABILITY_MAJOR, device);
  if (!code) code = cu.get_attribute(&minor, COMPUTE_CAPABILITY_MINOR, device);
  if (!code) code = cu.get_attribute(&d->processors, MULTIPROCESSOR_COUNT, device);
  if (!code) code = cu.get_attribute(&d->shared, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device);
  d->architecture = 10 * major + minor;
  d->shared -= STATIC_SHARED;
  return code ? driver_says("cuDeviceGetAttribute", code) : NULL;
}

// known says whether NVRTC makes machine code for an architecture; else *below is
// the greatest one below it that it knows, whose PTX the driver translates.
static int known(int architecture, int *below) {
  int count = 0, list[64], found = 0;
  *below = 0;
  if (rtc.arch_count(&count) || count > 64 || rtc.archs(list)) return 1;  // compile says what is wrong
  for (int i = 0; i < count; i++) {
    found |= list[i] == architecture;
    if (list[i] < architecture && list[i] > *below) *below = list[i];
  }
  return found || !*below;
}

// first_error is the first line of a log that tells of an error, or its first one.
static char *first_error(char *log) {
  char *line = strstr(log, "error");
  if (!line) line = log;
  while (line > log && line[-1] != '\n') line--;
  line[strcspn(line, "\n")] = 0;
  return line;
}

// compile makes a program's machine code, or PTX, which the caller frees.
static const char *compile(const struct program *p, int architecture, char **image) {
  *image = NULL;
  void *program = NULL;
  char *body = p->body ? p->body(p->arg, p->expression) : NULL, *text = NULL, target[40];
  if ((p->body && !body) || asprintf(&text, "%s\n%s\n%s", p->defines, source, body ? body : "") < 0) {
    free(body);
    return "out of memory for a kernel's source";
  }
  int code = rtc.create(&program, text, p->kernel, 0, NULL, NULL), below;
  free(body);
  free(text);
  if (code) return say("nvrtcCreateProgram: %s", rtc.error_string(code));
  const int binary = known(architecture, &below);
  snprintf(target, sizeof target, "--gpu-architecture=%s_%d", binary ? "sm" : "compute", binary ? architecture : below);
  const char *const options[] = {target, "--std=c++17", "--device-as-default-execution-space", "--fmad=true"};
  const char *wrong = NULL;
  size_t size = 0;
  if ((code = rtc.compile(program, 4, options))) {
    char *log = !rtc.log_size(program, &size) ? calloc(1, size + 1) : NULL;
    if (log && !rtc.log(program, log)) wrong = say("kernel %s, %s: %s: %s", p->kernel, target, rtc.error_string(code), first_error(log));
    free(log);
  } else {
    code = (binary ? rtc.cubin_size : rtc.ptx_size)(program, &size);
    if (!code && (*image = malloc(size))) code = (binary ? rtc.cubin : rtc.ptx)(program, *image);
  }
  rtc.destroy(&program);
  if (!wrong && (code || !*image)) wrong = say("kernel %s, %s: %s", p->kernel, target, code ? rtc.error_string(code) : "out of memory");
  if (wrong) free(*image);
  return wrong;
}

// A kernel that was compiled and loaded; they are kept for the whole process.
struct loaded {
  struct loaded *next;
  void *context, *function;
  unsigned hash;
  char *kernel, *defines, *expression;
};

static struct loaded *table[256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// mix is FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
static unsigned mix(unsigned hash, const char *s) {
  for (; *s; s++) hash = (hash ^ (unsigned char)*s) * 16777619u;
  return hash;
}

static int same_text(const char *a, const char *b) { return !strcmp(a ? a : "", b ? b : ""); }

static struct loaded *look_up(const struct program *p, void *context, unsigned hash) {
  struct loaded *l = table[hash % 256];
  while (l && !(l->hash == hash && l->context == context && same_text(l->kernel, p->kernel) && same_text(l->defines, p->defines) && same_text(l->expression, p->expression))) l = l->next;
  return l;
}

// load compiles a program and puts it into the table.
static const char *load(const struct program *p, void *context, unsigned hash, struct loaded **out) {
  struct rtc_device device;
  const char *wrong = rtc_device(&device);
  if (wrong) return wrong;
  char *image;
  if ((wrong = compile(p, device.architecture, &image))) return wrong;
  void *module, *function;
  int code = cu.load(&module, image);
  free(image);
  if (code) return driver_says("cuModuleLoadData", code);
  if ((code = cu.get_function(&function, module, p->kernel))) return driver_says("cuModuleGetFunction", code);
  // Without this a kernel gets 48 KiB at most:
  // https://docs.nvidia.com/cuda/cuda-c-programming-guide/#shared-memory-9-0
  if ((code = cu.set_attribute(function, MAX_DYNAMIC_SHARED_SIZE_BYTES, device.shared))) return driver_says("cuFuncSetAttribute", code);
  struct loaded *l = malloc(sizeof *l);
  if (!l) return "out of memory for a kernel";
  *l = (struct loaded){table[hash % 256], context, function, hash, strdup(p->kernel), strdup(p->defines), p->expression ? strdup(p->expression) : NULL};
  table[hash % 256] = *out = l;
  return NULL;
}

const char *rtc_launch(const struct gpu *gpu, const struct program *p, const struct grid *g, const void *args) {
  void *context = NULL;
  int code = cu.get_context(&context);
  if (code) return driver_says("cuCtxGetCurrent", code);
  const unsigned hash = mix(mix(mix(2166136261u, p->kernel), p->defines), p->expression ? p->expression : "");
  pthread_mutex_lock(&lock);
  struct loaded *l = look_up(p, context, hash);
  const char *wrong = l ? NULL : load(p, context, hash, &l);
  pthread_mutex_unlock(&lock);
  if (wrong) return wrong;
  void *parameters[] = {(void *)args};
  code = cu.launch(l->function, g->x, g->y, 1, g->threads, 1, 1, g->shared, gpu->stream, parameters, NULL);
  return code ? driver_says(p->kernel, code) : NULL;
}
