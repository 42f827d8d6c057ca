#include "bridge.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// OrtApi is a struct of function pointers that only ever grows at its end, so
// a function's place in it is part of ORT's binary interface. The numbers are
// those of API version 24, the one yalue/onnxruntime_go v1.27.0 asks for:
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/include/onnxruntime/core/session/onnxruntime_c_api.h
enum {
  API_VERSION = 24,
  GET_ERROR_MESSAGE = 2,
  SESSION_GET_INPUT_COUNT = 30,
  SESSION_GET_OUTPUT_COUNT = 31,
  SESSION_GET_INPUT_TYPE_INFO = 33,
  SESSION_GET_OUTPUT_TYPE_INFO = 34,
  SESSION_GET_INPUT_NAME = 36,
  SESSION_GET_OUTPUT_NAME = 37,
  CREATE_RUN_OPTIONS = 39,
  CREATE_TENSOR_WITH_DATA = 49,
  CAST_TYPE_INFO_TO_TENSOR_INFO = 55,
  GET_TENSOR_ELEMENT_TYPE = 60,
  GET_DIMENSIONS_COUNT = 61,
  GET_DIMENSIONS = 62,
  CREATE_MEMORY_INFO = 68,
  CREATE_CPU_MEMORY_INFO = 69,
  MEMORY_INFO_GET_NAME = 71,
  MEMORY_INFO_GET_ID = 72,
  ALLOCATOR_FREE = 76,
  GET_DEFAULT_ALLOCATOR = 78,
  RELEASE_STATUS = 93,
  RELEASE_MEMORY_INFO = 94,
  RELEASE_VALUE = 96,
  RELEASE_RUN_OPTIONS = 97,
  RELEASE_TYPE_INFO = 98,
  SESSION_END_PROFILING = 110,
  GET_AVAILABLE_PROVIDERS = 125,
  RELEASE_AVAILABLE_PROVIDERS = 126,
  CREATE_ALLOCATOR = 131,
  RELEASE_ALLOCATOR = 132,
  RUN_WITH_BINDING = 133,
  ADD_RUN_CONFIG_ENTRY = 165,
  GET_TENSOR_MEMORY_INFO = 194,
  GET_KEY_VALUE = 297,
  RELEASE_KEY_VALUE_PAIRS = 300,
  ALLOCATOR_GET_STATS = 319,
};

typedef struct {
  void *const *(*get_api)(uint32_t version);
  const char *(*get_version_string)(void);
} ApiBase;

static void *const *api;

// CALL(slot, (types), args…) calls a function that returns a status.
#define CALL(slot, types, ...) (((void *(*)types)api[slot])(__VA_ARGS__))
#define RELEASE(slot, p) (((void (*)(void *))api[slot])(p))

// message turns a status into an owned string and releases it; NULL is success.
static char *message(void *status) {
  if (!status) return NULL;
  char *text = strdup(((const char *(*)(void *))api[GET_ERROR_MESSAGE])(status));
  RELEASE(RELEASE_STATUS, status);
  return text;
}

static ApiBase *base(void *handle) {
  ApiBase *(*get)(void) = (ApiBase * (*)(void)) dlsym(handle, "OrtGetApiBase");
  return get ? get() : NULL;
}

char *bridge_load(const char *path, void **handle, char *version) {
  *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!*handle) return strdup(dlerror());
  ApiBase *b = base(*handle);
  if (!b) {
    dlclose(*handle);
    return strdup("it has no OrtGetApiBase, so it is not an ONNX Runtime library");
  }
  snprintf(version, 32, "%s", b->get_version_string());
  return NULL;
}

void bridge_unload(void *handle) { dlclose(handle); }

char *bridge_use(void *handle) {
  void *const *found = base(handle)->get_api(API_VERSION);
  if (!found) return strdup("it does not offer C API version 24");
  api = found;
  return NULL;
}

void *const *bridge_api(void) { return api; }

char *bridge_value(void *data, size_t bytes, const int64_t *shape, size_t rank, int dtype, void **value) {
  enum { ARENA_ALLOCATOR = 1, MEMORY_DEFAULT = 0 };
  void *info = NULL;
  char *err = message(CALL(CREATE_CPU_MEMORY_INFO, (int, int, void **), ARENA_ALLOCATOR, MEMORY_DEFAULT, &info));
  if (err) return err;
  err = message(CALL(CREATE_TENSOR_WITH_DATA, (void *, void *, size_t, const int64_t *, size_t, int, void **),
                     info, data, bytes, shape, rank, dtype, value));
  RELEASE(RELEASE_MEMORY_INFO, info);
  return err;
}

char *bridge_device_value(const char *name, int id, void *data, size_t bytes, const int64_t *shape, size_t rank, int dtype, void **value) {
  enum { DEVICE_ALLOCATOR = 0, MEMORY_DEFAULT = 0 };
  void *info = NULL;
  char *err = message(CALL(CREATE_MEMORY_INFO, (const char *, int, int, int, void **), name, DEVICE_ALLOCATOR, id, MEMORY_DEFAULT, &info));
  if (err) return err;
  err = message(CALL(CREATE_TENSOR_WITH_DATA, (void *, void *, size_t, const int64_t *, size_t, int, void **),
                     info, data, bytes, shape, rank, dtype, value));
  RELEASE(RELEASE_MEMORY_INFO, info);
  return err;
}

char *bridge_value_place(void *value, const char **name, int *id) {
  const void *info = NULL;
  char *err = message(CALL(GET_TENSOR_MEMORY_INFO, (void *, const void **), value, &info));
  if (!err) err = message(CALL(MEMORY_INFO_GET_NAME, (const void *, const char **), info, name));
  if (!err) err = message(CALL(MEMORY_INFO_GET_ID, (const void *, int *), info, id));
  return err;
}

char *bridge_queue(void *session, void *binding) {
  void *options = NULL;
  char *err = message(CALL(CREATE_RUN_OPTIONS, (void **), &options));
  if (err) return err;
  err = message(CALL(ADD_RUN_CONFIG_ENTRY, (void *, const char *, const char *), options, "disable_synchronize_execution_providers", "1"));
  if (!err) err = message(CALL(RUN_WITH_BINDING, (void *, const void *, const void *), session, options, binding));
  RELEASE(RELEASE_RUN_OPTIONS, options);
  return err;
}

char *bridge_end_profile(void *session, char **path) {
  void *allocator = NULL;
  char *owned = NULL;
  char *err = message(CALL(GET_DEFAULT_ALLOCATOR, (void **), &allocator));
  if (!err) err = message(CALL(SESSION_END_PROFILING, (void *, void *, char **), session, allocator, &owned));
  if (err) return err;
  *path = strdup(owned);
  return message(CALL(ALLOCATOR_FREE, (void *, void *), allocator, owned));
}

char *bridge_session_memory(void *session, const char *name, int id, const char *key, char *text) {
  enum { ARENA_ALLOCATOR = 1, MEMORY_DEFAULT = 0 };
  void *info = NULL, *allocator = NULL, *counts = NULL;
  text[0] = 0;
  char *err = message(CALL(CREATE_MEMORY_INFO, (const char *, int, int, int, void **), name, ARENA_ALLOCATOR, id, MEMORY_DEFAULT, &info));
  if (err) return err;
  err = message(CALL(CREATE_ALLOCATOR, (void *, void *, void **), session, info, &allocator));
  RELEASE(RELEASE_MEMORY_INFO, info);
  if (err) return err;
  err = message(CALL(ALLOCATOR_GET_STATS, (void *, void **), allocator, &counts));
  if (!err && counts) {
    const char *value = ((const char *(*)(void *, const char *))api[GET_KEY_VALUE])(counts, key);
    if (value) snprintf(text, 32, "%s", value);
    RELEASE(RELEASE_KEY_VALUE_PAIRS, counts);
  }
  RELEASE(RELEASE_ALLOCATOR, allocator);
  return err;
}

void bridge_release_value(void *value) { RELEASE(RELEASE_VALUE, value); }

char *bridge_counts(void *session, size_t *inputs, size_t *outputs) {
  char *err = message(CALL(SESSION_GET_INPUT_COUNT, (void *, size_t *), session, inputs));
  if (err) return err;
  return message(CALL(SESSION_GET_OUTPUT_COUNT, (void *, size_t *), session, outputs));
}

char *bridge_info(void *session, int output, size_t index, char **name, int *dtype, int64_t *shape, size_t room, size_t *rank) {
  void *allocator = NULL, *type = NULL, *tensor = NULL;
  char *owned = NULL;
  *dtype = 0;
  *rank = 0;
  char *err = message(CALL(GET_DEFAULT_ALLOCATOR, (void **), &allocator));
  if (err) return err;
  err = message(CALL(output ? SESSION_GET_OUTPUT_NAME : SESSION_GET_INPUT_NAME, (void *, size_t, void *, char **),
                     session, index, allocator, &owned));
  if (err) return err;
  *name = strdup(owned);
  message(CALL(ALLOCATOR_FREE, (void *, void *), allocator, owned));

  err = message(CALL(output ? SESSION_GET_OUTPUT_TYPE_INFO : SESSION_GET_INPUT_TYPE_INFO, (void *, size_t, void **),
                     session, index, &type));
  if (!err) err = message(CALL(CAST_TYPE_INFO_TO_TENSOR_INFO, (void *, void **), type, &tensor));
  if (!err && tensor) err = message(CALL(GET_TENSOR_ELEMENT_TYPE, (void *, int *), tensor, dtype));
  if (!err && tensor) err = message(CALL(GET_DIMENSIONS_COUNT, (void *, size_t *), tensor, rank));
  if (!err && tensor && *rank <= room) err = message(CALL(GET_DIMENSIONS, (void *, int64_t *, size_t), tensor, shape, *rank));
  if (type) RELEASE(RELEASE_TYPE_INFO, type);
  if (err) {
    free(*name);
    *name = NULL;
  }
  return err;
}

char *bridge_providers(char **names) {
  char **list = NULL;
  int n = 0;
  char *err = message(CALL(GET_AVAILABLE_PROVIDERS, (char ***, int *), &list, &n));
  if (err) return err;
  size_t bytes = 1;
  for (int i = 0; i < n; i++) bytes += strlen(list[i]) + 1;
  char *text = calloc(1, bytes);
  for (int i = 0; i < n; i++) {
    strcat(text, list[i]);
    strcat(text, "\n");
  }
  message(CALL(RELEASE_AVAILABLE_PROVIDERS, (char **, int), list, n));
  *names = text;
  return NULL;
}
