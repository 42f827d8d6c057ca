// Package native is a second lowering for the CPU provider: operators of the
// ONNX domain "immiscible" in plain C, offered to ONNX Runtime through its C
// API. The portable lowering (models/graph) is the reference, and what
// `export` writes; this one is for speed.
//
// The operators, version 1 of the domain, all float32, contiguous, NCHW
// unless said otherwise:
//
//	Conv(x, weight, bias?, addend?) → y            kernel_shape strides pads
//	ConvInputGrad(dy, weight, addend?) → dx        kernel_shape strides pads shape
//	ConvWeightGrad(x, dy) → dweight                kernel_shape strides pads
//	GroupNormalization(x, scale, bias) → y, mean?, inv_std_dev?
//	                                               num_groups epsilon activation
//	GroupNormalizationGrad(dy, x, scale, bias, mean, inv_std_dev, addend?)
//	    → dx, dscale?, dbias?                      num_groups activation
//	QuickGeluGrad(dy, x) → dx                      alpha
//	Dropout(x, positions int64) → y                key keep scale; see dropout.c
//	Attention(q, k, v) → y, stats?                 batch num_heads scale; rows are tokens
//	AttentionGrad(dy, q, k, v, y, stats) → dq, dk, dv
//	                                               batch num_heads scale
//	AdamW(params, grads, exp_avg, exp_avg_sq, ema_params, lr, beta1, beta2, eps, weight_decay,
//	    bias_correction1, bias_correction2, clip_coef, ema_decay)
//	    → params, exp_avg, exp_avg_sq, ema_params  flat; the outputs may be the inputs' memory
//
// and on an NVIDIA GPU alone
//
//	LayerNormalizationGrad(dy, x, scale, mean, inv_std_dev) → dx, dscale?, dbias?
//	                                               over the last dimension
//	ConvBiasGrad(dy) → dbias                       [N, C, …], summed over all but C
//	Elementwise(x0, x1, …) → y0, y1, …             expression; see below
//
// An addend is added to the first result. It has the result's shape; a
// convolution's may have N, C, or H and W together of 1.
//
// Elementwise is any chain of operators that work element by element. expression
// is C: statements that assign the floats y0, y1, … from x0, x1, … through
// temporaries t0, t1, … that they declare. Inputs are of any float type or bool, 0
// or 1, and broadcast together as NumPy has it.
//
// On a GPU convolution and attention are cuDNN's (cuda_graph.c), and the rest are
// kernels of our own (cuda_*.cu), compiled for the device at their first use
// (cuda_rtc.c). Images are float32, float16 or bfloat16 there; arithmetic, sums,
// statistics, and parameters of norms with their gradients are float32. All but
// cuDNN's add in an order that the shapes and the number of multiprocessors decide.
//
// Read operators.c for shape rules, winograd.c and winograd_weight.c for 3 × 3
// convolutions of stride 1, conv.c and conv_weight.c for the others,
// kernels_body.h for the inner loops, native.c for the door to ORT.
//
// Results do not depend on the number of threads: each output element is
// computed by one thread in an order that the shapes alone decide. They differ
// in the last bits between instruction sets (AVX-512, AVX2 with FMA, and four
// lanes of whatever else there is), of which the best is chosen at run time.
package native

/*
#cgo CFLAGS: -O3 -std=gnu11 -D_GNU_SOURCE
#cgo LDFLAGS: -lm
#include <stdlib.h>
#include "cuda.h"
#include "native.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// CUDA says how the operators compute on an NVIDIA GPU.
type CUDA struct {
	TF32          bool // float32 products may round their factors to TF32
	Deterministic bool // results do not depend on timing
	// OnHost gives the operators to the CPU provider, for tests: it needs libraries
	// whose device memory is the host's.
	OnHost bool
}

// Register offers the operators to the sessions that are made with options, an
// OrtSessionOptions of the library whose OrtApi is at api (version 24): those of
// the processor, or with cuda those of an NVIDIA GPU, after OpenCUDA.
func Register(api, options unsafe.Pointer, cuda *CUDA) error {
	flags := 0
	if cuda != nil {
		flags = C.NATIVE_CUDA
		for flag, set := range map[int]bool{C.NATIVE_TF32: cuda.TF32, C.NATIVE_DETERMINISTIC: cuda.Deterministic, C.NATIVE_ON_HOST: cuda.OnHost} {
			if set {
				flags |= flag
			}
		}
	}
	return failure(C.native_register((*unsafe.Pointer)(api), options, C.int(flags)))
}

// OpenCUDA opens NVIDIA's driver, its run-time compiler and cuDNN, each by a name
// for the loader or a path. The first that opens stays for the whole process.
func OpenCUDA(driver, nvrtc, cudnn string) error {
	paths := [3]*C.char{C.CString(driver), C.CString(nvrtc), C.CString(cudnn)}
	for _, p := range paths {
		defer C.free(unsafe.Pointer(p))
	}
	giveSource()
	return failure(C.cuda_open(paths[0], paths[1], paths[2]))
}

// failure takes over a message of C's; nil is success.
func failure(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New("native operators: " + strings.Join(strings.Fields(C.GoString(message)), " "))
}

// use fixes the instruction set ("avx512", "avx2", "generic"; "" is the best)
// and the number of parts that an operator's work is cut for (0: one a
// processor) of all sessions in the process.
func use(instructions string, workers int) error {
	var name *C.char
	if instructions != "" {
		name = C.CString(instructions)
		defer C.free(unsafe.Pointer(name))
	}
	if C.native_use(name, C.int(workers)) != 0 {
		return fmt.Errorf("native operators: this machine has no %s", instructions)
	}
	return nil
}
