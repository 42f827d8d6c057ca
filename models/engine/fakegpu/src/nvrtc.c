// libnvrtc for a machine without a GPU: the source is compiled by cc for the
// processor, behind kernel.h. https://docs.nvidia.com/cuda/nvrtc
//
// With $FAKEGPU_KERNELS each program's source is written into that folder, where
// tools/gpu/nvrtc.py gives it to the real library.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "thread.h"

enum { OK = 0, INVALID_INPUT = 3, INVALID_OPTION = 5, COMPILATION = 6, INTERNAL = 11 };

struct program {
  char *source, name[64], *log;
  char *image;
  size_t size;
};

static const int archs[] = {75, 80, 86, 89, 90, 100, 120};

const char *nvrtcGetErrorString(int code) {
  return code == OK ? "NVRTC_SUCCESS" : code == INVALID_OPTION ? "NVRTC_ERROR_INVALID_OPTION" : code == COMPILATION ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INTERNAL_ERROR";
}

int nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, OK; }
int nvrtcGetNumSupportedArchs(int *n) { return *n = sizeof archs / sizeof *archs, OK; }
int nvrtcGetSupportedArchs(int *list) { return memcpy(list, archs, sizeof archs), OK; }

static void keep_source(const struct program *p) {
  const char *folder = getenv("FAKEGPU_KERNELS");
  if (!folder) return;
  unsigned long hash = 14695981039346656037u;
  for (const char *s = p->source; *s; s++) hash = (hash ^ (unsigned char)*s) * 1099511628211u;
  char path[4096];
  snprintf(path, sizeof path, "%s/%s-%016lx.cu", folder, p->name, hash);
  FILE *f = fopen(path, "w");
  if (!f) return;
  fputs(p->source, f);
  fclose(f);
}

int nvrtcCreateProgram(struct program **out, const char *source, const char *name, int headers, const char *const *texts, const char *const *names) {
  (void)texts, (void)names;
  if (!source || headers) return INVALID_INPUT;
  struct program *p = calloc(1, sizeof *p);
  p->source = strdup(source);
  p->log = strdup("");
  snprintf(p->name, sizeof p->name, "%s", name);
  keep_source(p);
  return *out = p, OK;
}

int nvrtcDestroyProgram(struct program **p) {
  free((*p)->source), free((*p)->log), free((*p)->image), free(*p);
  return *p = NULL, OK;
}

// read_all reads what is left of a stream, with `before` bytes free in front of it.
static char *read_all(FILE *f, size_t before, size_t *size) {
  size_t room = 1 << 16, used = before;
  char *data = malloc(room);
  for (size_t n; (n = fread(data + used, 1, room - used - 1, f)) > 0;)
    if ((used += n) + 1 == room) data = realloc(data, room *= 2);
  data[used] = 0;
  return *size = used, data;
}

static int check_options(int count, const char *const *options) {
  int known_arch = 0;
  for (int i = 0; i < count; i++) {
    const char *arch = strncmp(options[i], "--gpu-architecture=", 19) ? NULL : options[i] + 19;
    if (arch) {
      const int n = atoi(arch + (strncmp(arch, "sm_", 3) ? 8 : 3));
      for (size_t j = 0; j < sizeof archs / sizeof *archs; j++) known_arch |= archs[j] == n;
    } else if (strcmp(options[i], "--std=c++17") && strcmp(options[i], "--device-as-default-execution-space") && strcmp(options[i], "--fmad=true")) {
      return INVALID_OPTION;
    }
  }
  return known_arch ? OK : INVALID_OPTION;
}

// The header that stands before each program is read when the library is loaded,
// whose source may be gone later.
static char *header;

__attribute__((constructor)) static void read_header(void) {
  const char *file = __FILE__, *slash = strrchr(file, '/');
  size_t size = 0;
  const char *const parts[] = {"thread.h", "kernel.h"};
  header = calloc(1, 1);
  for (int i = 0; i < 2; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%.*s/%s", slash ? (int)(slash - file) : 1, slash ? file : ".", parts[i]);
    FILE *f = fopen(path, "rb");
    if (!f) continue;
    size_t n;
    char *text = read_all(f, 0, &n);
    fclose(f);
    header = realloc(header, size + n + 1);
    memcpy(header + size, text, n + 1);
    size += n;
    free(text);
  }
}

int nvrtcCompileProgram(struct program *p, int count, const char *const *options) {
  if (check_options(count, options)) return INVALID_OPTION;
  char folder[4096], code[4200], library[4200], command[16384];
  snprintf(folder, sizeof folder, "%s/fakegpu-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  if (!mkdtemp(folder)) return INTERNAL;
  snprintf(code, sizeof code, "%s/%s.c", folder, p->name);
  snprintf(library, sizeof library, "%s/%s.so", folder, p->name);
  FILE *f = fopen(code, "w");
  fprintf(f, "%s#line 1 \"%s\"\n%s", header, p->name, p->source);
  fclose(f);
  snprintf(command, sizeof command, "cc -shared -fPIC -O1 -w -std=gnu11 -o '%s' '%s' -lm 2>&1", library, code);
  f = popen(command, "r");
  free(p->log);
  size_t size;
  p->log = read_all(f, 0, &size);
  const int failed = pclose(f);
  f = failed ? NULL : fopen(library, "rb");
  if (f) {
    p->image = read_all(f, sizeof(struct fakegpu_image), &p->size);
    *(struct fakegpu_image *)p->image = (struct fakegpu_image){"fakegpu", p->size - sizeof(struct fakegpu_image)};
    fclose(f);
  }
  unlink(code), unlink(library), rmdir(folder);
  return f ? OK : COMPILATION;
}

int nvrtcGetProgramLogSize(struct program *p, size_t *size) { return *size = strlen(p->log) + 1, OK; }
int nvrtcGetProgramLog(struct program *p, char *log) { return strcpy(log, p->log), OK; }
int nvrtcGetCUBINSize(struct program *p, size_t *size) { return *size = p->size, OK; }
int nvrtcGetCUBIN(struct program *p, char *image) { return memcpy(image, p->image, p->size), OK; }
int nvrtcGetPTXSize(struct program *p, size_t *size) { return nvrtcGetCUBINSize(p, size); }
int nvrtcGetPTX(struct program *p, char *image) { return nvrtcGetCUBIN(p, image); }
