package optim

import "math"

// LossScaler is the dynamic loss scale of float16 training: gradients are those
// of scale·loss, so that small ones do not vanish in float16, and a scale that
// makes them overflow is halved. Micikevicius et al. 2018, arXiv 1710.03740,
// §3.2, with the constants and the order of torch.amp.GradScaler:
// https://github.com/pytorch/pytorch/blob/v2.5.1/aten/src/ATen/native/cuda/AmpKernels.cu
type LossScaler struct {
	Scale  float64 // a float32 value; what the loss is multiplied by
	Growth int     // finite steps since Scale last changed
}

// GradScaler's defaults.
const (
	scaleStart    = 65536
	scaleGrowth   = 2
	scaleBackoff  = 0.5
	scaleInterval = 2000
)

// NewLossScaler is the scale of a run's first step.
func NewLossScaler() LossScaler { return LossScaler{Scale: scaleStart} }

// Update is the scale after a step whose gradients were finite, or were not: it
// doubles after 2000 finite steps in a row, unless it would leave float32.
func (s LossScaler) Update(finite bool) LossScaler { return s.update(finite, scaleInterval) }

func (s LossScaler) update(finite bool, interval int) LossScaler {
	if !finite {
		return LossScaler{Scale: float64(float32(s.Scale * scaleBackoff))}
	}
	if s.Growth++; s.Growth == interval {
		s.Growth = 0
		if grown := float32(s.Scale * scaleGrowth); !math.IsInf(float64(grown), 0) {
			s.Scale = float64(grown)
		}
	}
	return s
}

// Overflow reports whether gradients that are not finite may be the scale's
// fault: below 1 it makes them smaller than they are.
func (s LossScaler) Overflow() bool { return s.Scale >= 1 }
