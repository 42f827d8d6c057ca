package optim

import (
	"fmt"
	"math"
)

// EMA says how fast the averaged weights follow: ema ← d·ema + (1−d)·weights
// after every optimizer step, with d = EMADecay. Fields and defaults are those
// of diffusers' EMAModel.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/training_utils.py#L624-L755
type EMA struct {
	Decay           float64 // upper bound of d
	MinDecay        float64 // lower bound of d, from the second averaged step on
	UpdateAfterStep int     // steps for which the average is a copy
	UseEMAWarmup    bool    // 1 − (1 + s/InvGamma)^−Power instead of (1+s)/(10+s)
	InvGamma        float64
	Power           float64
}

// DefaultEMA is EMAModel's: decay 0.9999, reached by (1+s)/(10+s).
func DefaultEMA() EMA {
	return EMA{Decay: 0.9999, InvGamma: 1, Power: 2.0 / 3}
}

// Validate names the first setting that gives no average.
func (e EMA) Validate() error {
	switch {
	case !(e.Decay >= 0 && e.Decay < 1):
		return fmt.Errorf("ema decay is %v, want at least 0 and less than 1; the default is 0.9999", e.Decay)
	case !(e.MinDecay >= 0 && e.MinDecay < 1):
		return fmt.Errorf("ema min_decay is %v, want at least 0 and less than 1; the default is 0", e.MinDecay)
	case e.UpdateAfterStep < 0:
		return fmt.Errorf("ema update_after_step is %d, want 0 or more", e.UpdateAfterStep)
	case e.UseEMAWarmup && !(e.InvGamma > 0 && e.Power > 0):
		return fmt.Errorf("ema inv_gamma is %v and power %v, want both positive; the defaults are 1 and 2/3", e.InvGamma, e.Power)
	}
	return nil
}

// EMADecay is d of an optimizer step, counted from 1: 0 at the first step (the
// average starts as a copy), then a ramp up to e.Decay. With the defaults it
// is step/(step+9) from the second step on.
func EMADecay(e EMA, step int) float64 {
	s := float64(step - e.UpdateAfterStep - 1)
	if s <= 0 {
		return 0
	}
	ramp := (1 + s) / (10 + s)
	if e.UseEMAWarmup {
		ramp = 1 - math.Pow(1+s/e.InvGamma, -e.Power)
	}
	return max(e.MinDecay, min(e.Decay, ramp))
}
