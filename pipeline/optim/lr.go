package optim

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// LR is a learning rate schedule of diffusers' get_scheduler, as a function of
// the step and of nothing else.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/optimization.py
type LR struct {
	Name        string  // one of LRNames
	Base        float64 // the learning rate that the schedule scales
	WarmupSteps int     // steps of linear rise from 0; constant has none and ignores it
	TotalSteps  int     // where the decay ends: max_steps
	NumCycles   float64 // cosine: periods; cosine_with_restarts: descents
	Power       float64 // polynomial: exponent of the decay
	End         float64 // polynomial: learning rate at and after TotalSteps (lr_end)
}

// lrNames are diffusers' strings.
var lrNames = []string{"linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"}

// LRNames lists the schedules.
func LRNames() []string { return slices.Clone(lrNames) }

// DefaultLR is the schedule called name with what get_scheduler assumes of the
// rest: half a period of cosine, one restart descent, power 1, end 1e-7.
func DefaultLR(name string, base float64, warmupSteps, totalSteps int) LR {
	l := LR{Name: name, Base: base, WarmupSteps: warmupSteps, TotalSteps: totalSteps, NumCycles: 1, Power: 1, End: 1e-7}
	if name == "cosine" {
		l.NumCycles = 0.5
	}
	return l
}

// Validate names the first setting that no schedule can have.
func (l LR) Validate() error {
	switch {
	case !slices.Contains(lrNames, l.Name):
		return fmt.Errorf("learning rate schedule %q does not exist; use one of %s", l.Name, strings.Join(lrNames, ", "))
	case !(l.Base >= 0) || math.IsInf(l.Base, 0):
		return fmt.Errorf("learning rate is %v, want a finite number that is not negative", l.Base)
	case l.WarmupSteps < 0:
		return fmt.Errorf("warm-up takes %d steps, want 0 or more", l.WarmupSteps)
	case l.TotalSteps < 1 && !strings.HasPrefix(l.Name, "constant"):
		return fmt.Errorf("learning rate schedule %s decays over %d steps, want 1 or more", l.Name, l.TotalSteps)
	case strings.HasPrefix(l.Name, "cosine") && !(l.NumCycles > 0):
		return fmt.Errorf("num_cycles is %v, want more than 0; the default is 0.5 for cosine, 1 for cosine_with_restarts", l.NumCycles)
	case l.Name == "polynomial" && !(l.Power > 0):
		return fmt.Errorf("power is %v, want more than 0; the default is 1", l.Power)
	case l.Name == "polynomial" && !(l.End >= 0 && l.End < l.Base):
		return fmt.Errorf("lr_end is %v, want at least 0 and less than the learning rate %v", l.End, l.Base)
	}
	return nil
}

// At is the learning rate of a step, counted from 1. PyTorch's LambdaLR counts
// from 0, so the first step of a warm-up has learning rate 0, as there.
// l must be valid.
func (l LR) At(step int) float64 { return l.Base * l.factor(step-1) }

// factor is diffusers' lr_lambda(done), where done steps are finished.
func (l LR) factor(done int) float64 {
	if done < l.WarmupSteps && l.Name != "constant" {
		return float64(done) / float64(l.WarmupSteps)
	}
	// Share of the decay that is finished.
	progress := float64(done-l.WarmupSteps) / float64(max(1, l.TotalSteps-l.WarmupSteps))
	switch l.Name {
	case "linear":
		return max(0, float64(l.TotalSteps-done)/float64(max(1, l.TotalSteps-l.WarmupSteps)))
	case "cosine":
		return max(0, 0.5*(1+math.Cos(math.Pi*l.NumCycles*2*progress)))
	case "cosine_with_restarts":
		if progress >= 1 {
			return 0
		}
		return max(0, 0.5*(1+math.Cos(math.Pi*math.Mod(l.NumCycles*progress, 1))))
	case "polynomial":
		if done > l.TotalSteps {
			return l.End / l.Base
		}
		return ((l.Base-l.End)*math.Pow(1-progress, l.Power) + l.End) / l.Base
	default: // constant, constant_with_warmup
		return 1
	}
}
