package pipeline

import "immiscible/models/graph"

// What depends on the provider, in one place.
//
// A training step can be written in several ways, and which is fastest is the
// device's to say:
//
//	                       cpu                           cuda
//	convolution forward    Winograd F(2×2, 3×3), direct  Conv
//	  weight gradient      Winograd, direct sums         nine slices, nine products
//	  layout               NCHW                          NCHW (runtime.cuda.prefer_nhwc)
//	group norm, SiLU       one kernel both ways          LayerNormalization's statistics kept
//	attention              statistics kept, the rest     probabilities kept
//	                       computed again
//
// Measured for the CPU: the whole step, bench step against PyTorch in the same
// run (README); in standard operators it was 1.2 to 1.6 × PyTorch. For CUDA
// nothing is measured yet, so that its column is the standard operators, which
// every provider has. The rule by which it changes: tools/gpu/check.sh writes
// tools/gpu/operator_times.py's times of each operator (its part cifar-fp16-profile) and the
// steps of each variant; a variant that takes less than 0.97 of the step of cifar10-ddim at
// batch 256 and of Stable Diffusion 1.5 at batch 32 takes the column, any other
// does not.
type lowering struct {
	native   bool // in the operators of models/engine/native, which compute in float32
	hideSize bool // the size of the batch is kept from ONNX Runtime: see graph.TrainingModel
}

var lowerings = map[string]lowering{
	"cpu":  {native: true},
	"cuda": {hideSize: true},
}

// loweringOf is how a graph is written for a provider. Half precision has no
// kernels of our own. On the CPU, memory is near its estimate without hiding
// anything where values come from our kernels, whose sizes ONNX Runtime does not
// infer, but under gradient checkpointing.
func loweringOf(g *graph.Graph, provider string) lowering {
	l := lowerings[provider]
	if g.Has(graph.Float16) || g.Has(graph.BFloat16) {
		return lowering{hideSize: true}
	}
	l.hideSize = l.hideSize || g.Recomputes
	return l
}

// Guesses, which a GPU has not seen yet. tools/gpu/check.sh's figures say what they
// should be: phase_ms's norm and update for the chunk, and the GPU's memory less
// the plan's other parts for the libraries.
const (
	// cudaChunk is 8 Mi elements of the optimizer's arenas a run: each run of a flat
	// graph ends with a wait for the GPU, and 860 M parameters would take 820 of them
	// at maxChunk. Its intermediate values are then a few times 32 MiB.
	cudaChunk = 8 << 20
	// cudaLibraries is what a CUDA context, cuBLAS, cuDNN and their scratch take.
	cudaLibraries = 600 << 20
)
