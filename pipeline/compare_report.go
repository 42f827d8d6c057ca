package pipeline

import (
	"math"

	"immiscible/pipeline/metrics"
	"immiscible/pipeline/runlog"
)

// comparisonSchema names the layout of report.json.
const comparisonSchema = "immiscible.compare/2"

// Comparison is report.json: what was compared, every judgement, and what they
// say together. It holds no time and no path, so that a comparison that was
// interrupted gives the same bytes.
//
// Intervals are of 95 %, by Student's t over the seeds (metrics.TInterval), and
// absent with one seed. Where arms are compared, they are compared seed by seed:
// arms of a seed share what is drawn, so that their difference varies less than
// either does.
type Comparison struct {
	Schema        string           `json:"schema"`
	Arms          []Arm            `json:"arms"` // the first is the baseline
	Steps         int              `json:"steps"`
	Seeds         []int64          `json:"seeds"`
	At            []int            `json:"at"`            // steps that were judged
	SamplerSteps  []int            `json:"sampler_steps"` // num_inference_steps that samples were made with
	Sampler       string           `json:"sampler"`
	GuidanceScale float64          `json:"guidance_scale"`
	Samples       int              `json:"samples"`     // images a judgement
	Conditioned   bool             `json:"conditioned"` // by classes
	Prompts       bool             `json:"prompts"`     // by the data's captions
	Features      EvaluatedFeature `json:"features"`
	Reference     EvaluatedSet     `json:"reference"`
	Runs          []CompareRun     `json:"runs"`
	Curves        []CompareCurve   `json:"curves"`
	Speedups      []CompareSpeedup `json:"speedups"`

	// Measured is what another machine, or another call, gives otherwise. It stands
	// in a file of its own.
	Measured *CompareMeasured `json:"-"`
}

// CompareRun is one arm from one seed.
type CompareRun struct {
	Arm            string              `json:"arm"`
	Seed           int64               `json:"seed"`
	DistanceChange runlog.Number       `json:"distance_change"` // relative change of the mean distance from image to noise by the pairing
	Diverged       *CompareDiverged    `json:"diverged,omitempty"`
	Evaluations    []CompareEvaluation `json:"evaluations"` // by step, then by sampler steps; those after Diverged are not there
}

// CompareDiverged says that a run could not go on, and why.
type CompareDiverged struct {
	Step int    `json:"step"`
	Why  string `json:"why"`
}

// CompareEvaluation judges samples of the moving average after a step.
type CompareEvaluation struct {
	Step          int      `json:"step"`
	SamplerSteps  int      `json:"sampler_steps"`
	FID           float64  `json:"fid"`
	ClassAccuracy *float64 `json:"class_accuracy,omitempty"` // share that the classifier reads as the class that was asked for
}

// CompareCurve is an arm's mean over the seeds, by judged step; null where a run
// had diverged. Half widths are of the intervals.
type CompareCurve struct {
	Arm               string          `json:"arm"`
	SamplerSteps      int             `json:"sampler_steps"`
	FID               []runlog.Number `json:"fid"`
	FIDHalf           []runlog.Number `json:"fid_half_width"`
	Difference        []runlog.Number `json:"difference,omitempty"` // FID less the baseline's; not of the baseline
	DifferenceHalf    []runlog.Number `json:"difference_half_width,omitempty"`
	ClassAccuracy     []runlog.Number `json:"class_accuracy,omitempty"`
	ClassAccuracyHalf []runlog.Number `json:"class_accuracy_half_width,omitempty"`
}

// CompareSpeedup says how much sooner an arm is as good as the baseline: the
// geometric mean of the seeds' speed-ups, and its interval by Student's t over
// their logarithms.
type CompareSpeedup struct {
	Arm          string        `json:"arm"`
	SamplerSteps int           `json:"sampler_steps"`
	Reached      int           `json:"reached"` // seeds in which the arm comes to the baseline's lowest FID
	Speedup      runlog.Number `json:"speedup"` // null where a run diverged before it was judged
	Interval     *[2]float64   `json:"interval,omitempty"`
	Seeds        []CompareRace `json:"seeds"`
}

// CompareRace is an arm against the baseline from one seed. The papers' speed-up
// (arXiv 2505.18521, §4) is the baseline's steps to its own lowest FID over the
// arm's steps to that FID. An arm that never comes there has none; so the ratio is
// taken at the lowest FID that both come to, which is the papers' wherever the
// arm does, and below 1 where the baseline is better for most of the run. Between
// judged steps the logarithm of the FID is taken for linear; a curve that is below
// at the first judged step counts as there at that step.
type CompareRace struct {
	Seed          int64         `json:"seed"`
	ThresholdFID  runlog.Number `json:"threshold_fid"`  // the baseline's lowest
	BaselineSteps runlog.Number `json:"baseline_steps"` // to it
	ArmSteps      runlog.Number `json:"arm_steps"`      // to it; null: not within the run
	CommonFID     runlog.Number `json:"common_fid"`     // the lowest that both come to
	Speedup       runlog.Number `json:"speedup"`        // steps of the baseline over steps of the arm to CommonFID
}

// summarise fills Curves and Speedups from Runs.
func (r *Comparison) summarise() {
	r.Curves, r.Speedups = nil, nil
	for _, n := range r.SamplerSteps {
		fid := func(e CompareEvaluation) *float64 { return &e.FID }
		baseline := r.rows(r.Arms[0].Name, n, fid)
		for i, arm := range r.Arms {
			rows := r.rows(arm.Name, n, fid)
			c := CompareCurve{Arm: arm.Name, SamplerSteps: n}
			c.FID, c.FIDHalf = meansOf(rows)
			if i > 0 {
				c.Difference, c.DifferenceHalf = meansOf(less(rows, baseline))
				r.Speedups = append(r.Speedups, r.speedup(arm.Name, n, baseline, rows))
			}
			if r.hasAccuracy() {
				c.ClassAccuracy, c.ClassAccuracyHalf = meansOf(r.rows(arm.Name, n, func(e CompareEvaluation) *float64 { return e.ClassAccuracy }))
			}
			r.Curves = append(r.Curves, c)
		}
	}
}

// rows are a figure of an arm by seed and judged step, +Inf where the run had
// diverged.
func (r *Comparison) rows(arm string, samplerSteps int, figure func(CompareEvaluation) *float64) [][]float64 {
	var rows [][]float64
	for _, run := range r.Runs {
		if run.Arm != arm {
			continue
		}
		row := make([]float64, len(r.At))
		for k, step := range r.At {
			row[k] = math.Inf(1)
			for _, e := range run.Evaluations {
				if x := figure(e); e.Step == step && e.SamplerSteps == samplerSteps && x != nil {
					row[k] = *x
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (r *Comparison) hasAccuracy() bool {
	for _, run := range r.Runs {
		for _, e := range run.Evaluations {
			if e.ClassAccuracy != nil {
				return true
			}
		}
	}
	return false
}

// less is a − b; not finite where one of them is not.
func less(a, b [][]float64) [][]float64 {
	out := make([][]float64, len(a))
	for i := range a {
		for k := range a[i] {
			out[i] = append(out[i], a[i][k]-b[i][k])
		}
	}
	return out
}

// meansOf are the columns' means and half widths.
func meansOf(rows [][]float64) (means, halves []runlog.Number) {
	column := make([]float64, len(rows))
	for k := range rows[0] {
		for i := range rows {
			column[i] = rows[i][k]
		}
		mean, half := metrics.TInterval(column)
		means, halves = append(means, runlog.Number(mean)), append(halves, runlog.Number(half))
	}
	return means, halves
}

func (r *Comparison) speedup(arm string, samplerSteps int, baseline, rows [][]float64) CompareSpeedup {
	s := CompareSpeedup{Arm: arm, SamplerSteps: samplerSteps}
	logs := make([]float64, len(rows))
	for i := range rows {
		race := r.race(baseline[i], rows[i])
		race.Seed = r.Seeds[i]
		if !math.IsInf(float64(race.ArmSteps), 1) {
			s.Reached++
		}
		logs[i] = math.Log(float64(race.Speedup))
		s.Seeds = append(s.Seeds, race)
	}
	mean, half := metrics.TInterval(logs)
	s.Speedup = runlog.Number(math.Exp(mean))
	if !math.IsNaN(half) {
		s.Interval = &[2]float64{math.Exp(mean - half), math.Exp(mean + half)}
	}
	return s
}

// race compares two curves of one seed.
func (r *Comparison) race(baseline, arm []float64) CompareRace {
	lowest := func(row []float64) float64 {
		least := math.Inf(1)
		for _, x := range row {
			least = min(least, x)
		}
		return least
	}
	threshold := lowest(baseline)
	common := max(threshold, lowest(arm))
	return CompareRace{
		ThresholdFID: runlog.Number(threshold), BaselineSteps: runlog.Number(r.stepsTo(threshold, baseline)), ArmSteps: runlog.Number(r.stepsTo(threshold, arm)),
		CommonFID: runlog.Number(common), Speedup: runlog.Number(r.stepsTo(common, baseline) / r.stepsTo(common, arm)),
	}
}

// stepsTo is when a curve first comes down to a FID: +Inf where it does not, or
// where there is no such FID.
func (r *Comparison) stepsTo(fid float64, row []float64) float64 {
	for k, x := range row {
		switch {
		case x > fid || math.IsInf(fid, 1):
			continue
		case k == 0 || x == fid:
			return float64(r.At[k])
		}
		before, at := math.Log(max(row[k-1], tiny)), float64(r.At[k-1])
		return at + (float64(r.At[k])-at)*(before-math.Log(max(fid, tiny)))/(before-math.Log(max(x, tiny)))
	}
	return math.Inf(1)
}

// tiny stands for a FID of 0, which has no logarithm.
const tiny = 1e-12
