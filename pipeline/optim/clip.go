package optim

import "math"

// ClipCoef is the factor that brings gradients of global L2 norm `norm` down
// to maxNorm: min(1, maxNorm/(norm + 1e-6)), as torch.nn.utils.clip_grad_norm_
// has it. maxNorm 0 turns clipping off and gives 1. The norm must be finite;
// the caller skips the step where it is not.
func ClipCoef(norm, maxNorm float64) float64 {
	if maxNorm == 0 {
		return 1
	}
	return min(1, maxNorm/(norm+1e-6))
}

// BiasCorrection is 1 − beta^step, step counted from 1: what AdamW divides a
// moment by that began at 0. Kingma & Ba 2015, arXiv 1412.6980, Algorithm 1.
func BiasCorrection(beta float64, step int) float64 {
	return 1 - math.Pow(beta, float64(step))
}
