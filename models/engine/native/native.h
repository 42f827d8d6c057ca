// The door to ONNX Runtime: native_register offers the operators to a session.
#ifndef IMMISCIBLE_NATIVE_H
#define IMMISCIBLE_NATIVE_H

// Where a session's operators compute: 0, the processor, or NATIVE_CUDA and
// further flags.
enum {
  NATIVE_CUDA = 1,
  NATIVE_TF32 = 2,           // see struct gpu
  NATIVE_DETERMINISTIC = 4,
  NATIVE_ON_HOST = 8,        // of the CPU provider, on libraries whose device memory is the host's: for tests
  NATIVE_FLAGS = 16,
};

// native_register adds the domain "immiscible" to a session's options
// (OrtSessionOptions). api is the table of OrtApi, the same one in every call.
// Returns NULL, or a message that the caller frees.
char *native_register(void *const *api, void *session_options, int flags);

// native_use chooses the instruction set by name (NULL: the best one) and how
// many parts the work of an operator is cut for (0: one a processor). Returns 0,
// or −1 if this machine lacks the set. For tests: not while a session runs.
int native_use(const char *instructions, int workers);

#endif
