// libcurand.so.10: ONNX Runtime's CUDA provider names it, and calls nothing of it.
int fakegpu_curand;
