// The part of ONNX Runtime's C API that yalue/onnxruntime_go does not reach:
// values over memory of our own, of any rank, and what a session declares.
//
// Every function that can fail returns NULL, or a message that the caller frees.
#ifndef IMMISCIBLE_BRIDGE_H
#define IMMISCIBLE_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

// bridge_load opens the library at path for good and copies its version into
// version (room for 32 bytes). It does not select an API yet.
char *bridge_load(const char *path, void **handle, char *version);

// bridge_unload closes what bridge_load opened.
void bridge_unload(void *handle);

// bridge_use makes the API of the opened library the one that all others call.
char *bridge_use(void *handle);

// bridge_api gives the table of that API (OrtApi).
void *const *bridge_api(void);

// bridge_value makes a value over host memory that the caller owns. An empty
// shape (rank 0) is a scalar.
char *bridge_value(void *data, size_t bytes, const int64_t *shape, size_t rank, int dtype, void **value);

// bridge_device_value is bridge_value over memory of device id of an allocator
// that ORT knows by name: "Cuda", "Cpu".
char *bridge_device_value(const char *name, int id, void *data, size_t bytes, const int64_t *shape, size_t rank, int dtype, void **value);

// bridge_value_place says where a value's memory is; name needs no free.
char *bridge_value_place(void *value, const char **name, int *id);

// bridge_end_profile ends a session's profiling; the caller frees path.
char *bridge_end_profile(void *session, char **path);
void bridge_release_value(void *value);

// bridge_queue runs a session on what is bound, and does not wait for its device.
char *bridge_queue(void *session, void *binding);

// bridge_session_memory copies what the allocator that a session has for device id of a
// name counts of a key, such as "MaxInUse", into text (room for 32 bytes); "" if it
// does not count it.
char *bridge_session_memory(void *session, const char *name, int id, const char *key, char *text);

// bridge_counts says how many inputs and outputs a session has.
char *bridge_counts(void *session, size_t *inputs, size_t *outputs);

// bridge_info describes one input (output = 0) or output (1). A dtype of 0
// says that it is no tensor; rank may exceed room, and then shape is not
// filled. The caller frees name.
char *bridge_info(void *session, int output, size_t index, char **name, int *dtype, int64_t *shape, size_t room, size_t *rank);

// bridge_providers gives the names of the compiled-in execution providers,
// separated by newlines. The caller frees names.
char *bridge_providers(char **names);

#endif
