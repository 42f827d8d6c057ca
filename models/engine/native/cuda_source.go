package native

/*
#include <stdlib.h>
#include "cuda_rtc.h"
*/
import "C"

import (
	_ "embed"
	"sync"
)

// The kernels of our own, in CUDA C++. They are compiled where they run.
var (
	//go:embed cuda_kernels.h
	kernelArguments string
	//go:embed cuda_common.cu
	kernelCommon string
	//go:embed cuda_group_norm.cu
	kernelGroupNorm string
	//go:embed cuda_layer_norm.cu
	kernelLayerNorm string
	//go:embed cuda_sums.cu
	kernelSums string
	//go:embed cuda_dropout.cu
	kernelDropout string
)

// giveSource hands the kernels to C for the whole process: what all of them use
// comes first.
var giveSource = sync.OnceFunc(func() {
	C.rtc_source(C.CString(kernelArguments + kernelCommon + kernelGroupNorm + kernelLayerNorm + kernelSums + kernelDropout))
})
