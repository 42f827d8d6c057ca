package diffusion

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
)

// Solver is what scheduler_config.json says to some samplers only. A sampler
// refuses what it cannot do and the sampler of that name in diffusers can.
type Solver struct {
	// PNDMScheduler
	SkipPRKSteps bool `json:"skip_prk_steps"` // begin with lower orders instead of Runge-Kutta steps

	// EulerDiscreteScheduler and DPMSolverMultistepScheduler
	UseKarrasSigmas      bool     `json:"use_karras_sigmas"`      // σ spaced as Karras et al. 2022, Eq. (5), ρ = 7
	UseExponentialSigmas bool     `json:"use_exponential_sigmas"` // refused
	UseBetaSigmas        bool     `json:"use_beta_sigmas"`        // refused
	SigmaMin             *float64 `json:"sigma_min"`              // ends of Karras' spacing in Euler; nil: the schedule's
	SigmaMax             *float64 `json:"sigma_max"`
	FinalSigmasType      string   `json:"final_sigmas_type"`  // where the last step goes: zero or sigma_min
	InterpolationType    string   `json:"interpolation_type"` // of σ between timesteps: linear; log_linear is refused
	TimestepType         string   `json:"timestep_type"`      // discrete; continuous is refused

	// DPMSolverMultistepScheduler
	SolverOrder      int    `json:"solver_order"`       // 1 or 2; 3 is refused
	AlgorithmType    string `json:"algorithm_type"`     // dpmsolver++; others are refused
	SolverType       string `json:"solver_type"`        // midpoint or heun
	LowerOrderFinal  bool   `json:"lower_order_final"`  // order 1 at the end of runs of less than 15 steps
	EulerAtFinal     bool   `json:"euler_at_final"`     // order 1 at the end of any run
	LambdaMinClipped limit  `json:"lambda_min_clipped"` // timesteps of smaller log-SNR/2 are left out
	UseLuLambdas     bool   `json:"use_lu_lambdas"`     // refused
	UseFlowSigmas    bool   `json:"use_flow_sigmas"`    // refused
}

// DefaultSolver is what the classes take where a file says nothing.
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/schedulers/scheduling_dpmsolver_multistep.py
func DefaultSolver() Solver {
	return Solver{
		FinalSigmasType: "zero", InterpolationType: "linear", TimestepType: "discrete",
		SolverOrder: 2, AlgorithmType: "dpmsolver++", SolverType: "midpoint", LowerOrderFinal: true,
		LambdaMinClipped: limit(math.Inf(-1)),
	}
}

// For is the configuration that a scheduler of another class takes from c, as
// diffusers' from_config does: keys that the file lacks have that class's
// default. Among the keys read here only timestep_spacing (leading; linspace for
// Euler's and DPM-Solver's) and set_alpha_to_one (true; false for PNDM's) differ.
func (c Config) For(class string) Config {
	if c.Absent.TimestepSpacing {
		c.TimestepSpacing = "leading"
		if slices.Contains([]string{"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"}, class) {
			c.TimestepSpacing = "linspace"
		}
	}
	if c.Absent.SetAlphaToOne {
		c.SetAlphaToOne = class != "PNDMScheduler"
	}
	return c
}

// limit is a number that may be infinite.
type limit float64

// UnmarshalJSON reads a number, or one of Python's that quoteNumbers quoted.
func (l *limit) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"-Infinity"`:
		*l = limit(math.Inf(-1))
	case `"Infinity"`:
		*l = limit(math.Inf(1))
	case "null":
	default:
		var x float64
		if err := json.Unmarshal(data, &x); err != nil {
			return fmt.Errorf("%s is not a number", data)
		}
		*l = limit(x)
	}
	return nil
}

// Python writes infinities into its JSON, which no other reader takes:
// "lambda_min_clipped": -Infinity. They are strings while they are here.
var (
	stringOrNumber = regexp.MustCompile(`"(?:\\.|[^"\\])*"|-?Infinity|NaN`)
	quotedNumber   = regexp.MustCompile(`(: )"(-?Infinity|NaN)"`)
)

func quoteNumbers(data []byte) []byte {
	return stringOrNumber.ReplaceAllFunc(data, func(token []byte) []byte {
		if token[0] == '"' {
			return token
		}
		return fmt.Appendf(nil, "%q", token)
	})
}

func unquoteNumbers(data []byte) []byte { return quotedNumber.ReplaceAll(data, []byte("$1$2")) }
