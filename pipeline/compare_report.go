package pipeline

import (
	"cmp"
	"math"
	"slices"

	"immiscible/datasets/rng"
)

// comparisonSchema names the layout of report.json.
const comparisonSchema = "immiscible.compare/1"

// Comparison is report.json: what was compared, every judgement, and what they
// say together. It holds no time and no path, so that a comparison that was
// interrupted gives the same bytes.
type Comparison struct {
	Schema       string           `json:"schema"`
	Arms         []Arm            `json:"arms"` // the first is the baseline
	Steps        int              `json:"steps"`
	Seeds        []int64          `json:"seeds"`
	At           []int            `json:"at"`            // steps that were judged
	SamplerSteps []int            `json:"sampler_steps"` // num_inference_steps that samples were made with
	Sampler      string           `json:"sampler"`
	Samples      int              `json:"samples"` // images a judgement
	Conditioned  bool             `json:"conditioned"`
	Features     EvaluatedFeature `json:"features"`
	Reference    EvaluatedSet     `json:"reference"`
	Runs         []CompareRun     `json:"runs"`
	Curves       []CompareCurve   `json:"curves"`
	Speedups     []CompareSpeedup `json:"speedups"`
}

// CompareRun is one arm from one seed.
type CompareRun struct {
	Arm            string              `json:"arm"`
	Seed           int64               `json:"seed"`
	DistanceChange float64             `json:"distance_change"` // relative change of the mean distance from image to noise by the pairing
	Evaluations    []CompareEvaluation `json:"evaluations"`     // by step, then by sampler steps
}

// CompareEvaluation judges samples of the moving average after a step.
type CompareEvaluation struct {
	Step          int      `json:"step"`
	SamplerSteps  int      `json:"sampler_steps"`
	FID           float64  `json:"fid"`
	ClassAccuracy *float64 `json:"class_accuracy,omitempty"` // share that the classifier reads as the class that was asked for
}

// CompareCurve is an arm's mean over the seeds, by judged step.
type CompareCurve struct {
	Arm          string    `json:"arm"`
	SamplerSteps int       `json:"sampler_steps"`
	FID          []float64 `json:"fid"`
	// StandardError is the deviation over the seeds / √seeds; of one seed there is none.
	StandardError []float64 `json:"standard_error,omitempty"`
	ClassAccuracy []float64 `json:"class_accuracy,omitempty"`
}

// CompareSpeedup says how much sooner an arm is as good as the baseline ever
// was (arXiv 2505.18521, §4): the baseline's steps to its own lowest FID on the
// schedule, over the arm's steps to that FID, interpolated linearly between
// judged steps. Curves are means over the seeds; the interval is the 2.5th to the
// 97.5th percentile of resampled seeds, an arm that does not get there counting
// as 0, and is absent for fewer than two seeds.
type CompareSpeedup struct {
	Arm           string       `json:"arm"`
	SamplerSteps  int          `json:"sampler_steps"`
	ThresholdFID  float64      `json:"threshold_fid"`
	BaselineSteps float64      `json:"baseline_steps"`
	ArmSteps      *float64     `json:"arm_steps"` // null: not within the runs
	Speedup       *float64     `json:"speedup"`   // null likewise
	Interval      *[2]float64  `json:"interval,omitempty"`
	Resamples     int          `json:"resamples,omitempty"`
	FinalFID      CompareFinal `json:"final_fid"`
}

// CompareFinal is the difference of the arm's and the baseline's FID after the
// last step, with the interval of the same resamples.
type CompareFinal struct {
	Arm        float64     `json:"arm"`
	Baseline   float64     `json:"baseline"`
	Difference float64     `json:"difference"`
	Interval   *[2]float64 `json:"interval,omitempty"`
}

// resamples of the seeds; 3 seeds have 10 different ones, 5 have 126.
const resamples = 2000

// summarise fills Curves and Speedups from Runs.
func (r *Comparison) summarise() {
	r.Curves, r.Speedups = nil, nil
	all := make([]int, len(r.Seeds))
	for i := range all {
		all[i] = i
	}
	for _, n := range r.SamplerSteps {
		curves := map[string][][]float64{} // by arm: a row a seed
		for _, arm := range r.Arms {
			rows := r.rows(arm.Name, n)
			curves[arm.Name] = rows
			c := CompareCurve{Arm: arm.Name, SamplerSteps: n, FID: meanOf(rows, all), ClassAccuracy: r.classAccuracy(arm.Name, n)}
			if len(rows) > 1 {
				c.StandardError = standardErrors(rows, c.FID)
			}
			r.Curves = append(r.Curves, c)
		}
		baseline := curves[r.Arms[0].Name]
		for _, arm := range r.Arms[1:] {
			r.Speedups = append(r.Speedups, r.speedup(arm.Name, n, baseline, curves[arm.Name], all))
		}
	}
}

// rows are an arm's FIDs by seed and judged step.
func (r *Comparison) rows(arm string, samplerSteps int) [][]float64 {
	var rows [][]float64
	for _, run := range r.Runs {
		if run.Arm != arm {
			continue
		}
		var row []float64
		for _, e := range run.Evaluations {
			if e.SamplerSteps == samplerSteps {
				row = append(row, e.FID)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// classAccuracy is an arm's mean over the seeds, nil where none was measured.
func (r *Comparison) classAccuracy(arm string, samplerSteps int) []float64 {
	var sum []float64
	for _, run := range r.Runs {
		if run.Arm != arm {
			continue
		}
		at := 0
		for _, e := range run.Evaluations {
			if e.SamplerSteps != samplerSteps || e.ClassAccuracy == nil {
				continue
			}
			if at == len(sum) {
				sum = append(sum, 0)
			}
			sum[at] += *e.ClassAccuracy / float64(len(r.Seeds))
			at++
		}
	}
	return sum
}

// meanOf averages the chosen rows.
func meanOf(rows [][]float64, chosen []int) []float64 {
	mean := make([]float64, len(rows[0]))
	for _, i := range chosen {
		for k, x := range rows[i] {
			mean[k] += x / float64(len(chosen))
		}
	}
	return mean
}

func standardErrors(rows [][]float64, mean []float64) []float64 {
	n := float64(len(rows))
	out := make([]float64, len(mean))
	for k, m := range mean {
		for _, row := range rows {
			out[k] += (row[k] - m) * (row[k] - m)
		}
		out[k] = math.Sqrt(out[k] / (n - 1) / n)
	}
	return out
}

func (r *Comparison) speedup(arm string, samplerSteps int, baseline, rows [][]float64, all []int) CompareSpeedup {
	s := CompareSpeedup{Arm: arm, SamplerSteps: samplerSteps}
	b, a := meanOf(baseline, all), meanOf(rows, all)
	var reached float64
	s.ThresholdFID, s.BaselineSteps, reached = r.race(b, a)
	if ratio := s.BaselineSteps / reached; !math.IsInf(reached, 1) {
		s.ArmSteps, s.Speedup = &reached, &ratio
	}
	last := len(r.At) - 1
	s.FinalFID = CompareFinal{Arm: a[last], Baseline: b[last], Difference: a[last] - b[last]}
	if len(all) < 2 {
		return s
	}
	ratios, differences := make([]float64, resamples), make([]float64, resamples)
	draws := rng.New(0, "compare/bootstrap", 0) // the same seeds for every arm
	for i := range ratios {
		chosen := make([]int, len(all))
		for k := range chosen {
			chosen[k] = draws.Intn(len(all))
		}
		b, a := meanOf(baseline, chosen), meanOf(rows, chosen)
		_, steps, reached := r.race(b, a)
		ratios[i] = steps / reached // 0 where it is not reached
		differences[i] = a[last] - b[last]
	}
	s.Resamples = resamples
	s.Interval, s.FinalFID.Interval = interval(ratios), interval(differences)
	return s
}

// race returns the baseline's lowest FID, its first step there, and the arm's
// first step that is as low, +Inf where there is none.
func (r *Comparison) race(baseline, arm []float64) (threshold, steps, reached float64) {
	best := 0
	for k, x := range baseline {
		if x < baseline[best] {
			best = k
		}
	}
	threshold, steps = baseline[best], float64(r.At[best])
	for k, x := range arm {
		if x > threshold {
			continue
		}
		if k == 0 {
			return threshold, steps, float64(r.At[0])
		}
		before, at := arm[k-1], float64(r.At[k-1])
		return threshold, steps, at + (float64(r.At[k])-at)*(before-threshold)/(before-x)
	}
	return threshold, steps, math.Inf(1)
}

func interval(values []float64) *[2]float64 {
	slices.SortFunc(values, cmp.Compare[float64])
	n := float64(len(values) - 1)
	return &[2]float64{values[int(math.Round(0.025*n))], values[int(math.Round(0.975*n))]}
}
