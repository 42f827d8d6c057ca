#include "cuda.h"

#include <pthread.h>

#include "cuda_cudnn.h"
#include "cuda_rtc.h"

char *cuda_open(const char *driver, const char *nvrtc, const char *cudnn) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static int opened;
  pthread_mutex_lock(&lock);
  char *error = opened ? 0 : rtc_open(driver, nvrtc);
  if (!opened && !error) error = cudnn_open(cudnn);
  opened = !error;
  pthread_mutex_unlock(&lock);
  return error;
}
