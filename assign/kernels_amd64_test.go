package assign

// argmin2Kernels lists those that this machine can run.
func argmin2Kernels() map[string]func(c, v []float32) (int, int, float32, float32) {
	return map[string]func(c, v []float32) (int, int, float32, float32){"chosen": argmin2, "AVX2": argmin2Vector}
}

// relaxKernels lists those that this machine can run.
func relaxKernels() map[string]func([]float32, []int32, []float32, []float32, float32, int32) float32 {
	return map[string]func([]float32, []int32, []float32, []float32, float32, int32) float32{"chosen": relax, "AVX2": relaxVector}
}

// accumulateKernels lists those that this machine can run.
func accumulateKernels() map[string]func(a, c []float32, r, w float32) {
	return map[string]func(a, c []float32, r, w float32){"chosen": accumulate, "AVX2": accumulateVector}
}

// lowerRowKernels lists those that this machine can run.
func lowerRowKernels() map[string]func(v, c, offset []float32) uint32 {
	return map[string]func(v, c, offset []float32) uint32{"chosen": lowerRow, "AVX2": lowerRowVector}
}
