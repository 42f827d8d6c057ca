package pipeline

// What depends on the provider, in one place.
//
// A training step can be written in several ways, and which is fastest is the
// device's to say (runtime.operators, engine.KernelsOf, graph.Native's table):
//
//	                       cpu, native                   cuda, native            standard
//	convolution forward    Winograd F(2×2, 3×3), direct  Conv                    Conv
//	  input gradient       Winograd, direct sums         cuDNN                   Conv, turned
//	  weight gradient      Winograd, direct sums         cuDNN                   nine slices, nine products
//	group norm, SiLU       one kernel both ways          one kernel both ways    LayerNormalization's statistics kept
//	attention              statistics kept, the rest     cuDNN, as on the CPU    probabilities kept
//	                       computed again                (half precision)
//	what is elementwise    ONNX's, but for derivatives   one kernel a cluster    ONNX's
//	AdamW and EMA          one pass                      one pass                ONNX's
//
// Measured for the CPU: the whole step, bench step against PyTorch in the same
// run (README); in standard operators it was 1.2 to 1.6 × PyTorch. For CUDA
// nothing is measured yet, so that "auto" is the standard operators there, which
// ONNX Runtime has tested. The rule by which it changes: tools/gpu/check.sh writes
// the steps of both, and tools/gpu/operator_times.py's times of each operator; a
// variant that takes less than 0.97 of the step of cifar10-ddim at batch 256 and of
// Stable Diffusion 1.5 at batch 32 becomes "auto", any other does not.

// Guesses, which a GPU has not seen yet. tools/gpu/check.sh's figures say what they
// should be: phase_ms's norm and update for the chunk, and the GPU's memory less
// the plan's other parts for the libraries.
const (
	// cudaChunk is 8 Mi elements of the optimizer's arenas a run. Each run costs the
	// host tens of microseconds, and a GPU takes about as long for a chunk of this
	// size; its intermediate values are a few times 32 MiB. [M] On the stand-in of
	// package fakegpu Stable Diffusion 1.5's update takes 0.9 GB more at 64 Mi in
	// standard operators, and 0.2 GB in our own.
	cudaChunk = 8 << 20
	// cudaLibraries is what a CUDA context, cuBLAS, cuDNN and their scratch take.
	cudaLibraries = 600 << 20
)
