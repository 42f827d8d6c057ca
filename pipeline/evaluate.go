package pipeline

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"immiscible/models/engine"
	"immiscible/pipeline/metrics"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/npy"
)

// EvaluateOptions say which two sets are compared, by what, and in which
// features.
type EvaluateOptions struct {
	Metric               string // one of Metrics
	Generated, Reference string // .npy, .npz, or a source of images as datasets opens it
	Features             extractor.Options
	Resolution           int  // images are brought to this side first; 0: as the first one is
	Normalize            bool // divide each row of features by its length
	K                    int  // nearest neighbours
	Subsets, SubsetSize  int  // of KID
	Seed                 uint64
	Engine               engine.Options
	Messages             io.Writer // a line for each thing a user wants to know
}

// Metrics lists what Evaluate computes.
func Metrics() []string {
	return []string{"fid", "sfid", "kid", "precision-recall", "density-coverage", "cmmd", "clipscore"}
}

// Evaluation is a metric's value and what it was computed from. Values that the
// metric does not have are left out of the JSON.
type Evaluation struct {
	Metric string `json:"metric"`

	FID        *float64 `json:"fid,omitempty"`
	SFID       *float64 `json:"sfid,omitempty"`
	KID        *float64 `json:"kid,omitempty"`
	KIDStd     *float64 `json:"kid_std,omitempty"` // over the subsets
	Precision  *float64 `json:"precision,omitempty"`
	Recall     *float64 `json:"recall,omitempty"`
	Density    *float64 `json:"density,omitempty"`
	Coverage   *float64 `json:"coverage,omitempty"`
	CMMD       *float64 `json:"cmmd,omitempty"`
	CLIPScore  *float64 `json:"clipscore,omitempty"`
	K          int      `json:"k,omitempty"`
	Subsets    int      `json:"subsets,omitempty"`
	SubsetSize int      `json:"subset_size,omitempty"`
	Seed       *uint64  `json:"seed,omitempty"`
	Normalized bool     `json:"normalized,omitempty"`

	Generated *EvaluatedSet     `json:"generated,omitempty"` // none where a set's statistics were written
	Reference EvaluatedSet      `json:"reference"`
	Features  *EvaluatedFeature `json:"features,omitempty"` // where images were turned into features
	Dim       int               `json:"dim"`
	Seconds   float64           `json:"seconds"`
}

// EvaluatedSet is one of the sets, named so that a figure can be traced.
type EvaluatedSet struct {
	Name string `json:"name"` // as it was given
	// SHA256 is of the file, or of the sorted digests of the images' pixels.
	SHA256 string `json:"sha256"`
	N      int64  `json:"n,omitempty"` // rows; a .npz of statistics does not say
}

// EvaluatedFeature is the network that gave the features.
type EvaluatedFeature struct {
	Name       string `json:"name"`
	SHA256     string `json:"sha256"`
	InputRange string `json:"input_range,omitempty"`
	Resize     string `json:"resize,omitempty"`
}

// Value is a number of an evaluation and its name.
type Value struct {
	Name  string
	Value float64
}

// Values lists the numbers that the metric has, in a fixed order.
func (e *Evaluation) Values() []Value {
	var list []Value
	for _, v := range []struct {
		name string
		of   *float64
	}{
		{"fid", e.FID}, {"sfid", e.SFID}, {"kid", e.KID}, {"kid_std", e.KIDStd}, {"precision", e.Precision}, {"recall", e.Recall},
		{"density", e.Density}, {"coverage", e.Coverage}, {"cmmd", e.CMMD}, {"clipscore", e.CLIPScore},
	} {
		if v.of != nil {
			list = append(list, Value{v.name, *v.of})
		}
	}
	return list
}

// Evaluate computes one metric of two sets.
func Evaluate(ctx context.Context, o EvaluateOptions) (*Evaluation, error) {
	start := time.Now()
	if !slices.Contains(Metrics(), o.Metric) {
		return nil, fmt.Errorf("metric %q, want one of %s", o.Metric, strings.Join(Metrics(), ", "))
	}
	o.Features.Spatial = o.Metric == "sfid"
	r := &featureReader{options: o, moments: o.Metric == "fid" || o.Metric == "sfid"}
	defer r.close()
	generated, err := r.read(ctx, o.Generated)
	if err != nil {
		return nil, err
	}
	reference := generated
	if o.Reference != o.Generated {
		if reference, err = r.read(ctx, o.Reference); err != nil {
			return nil, err
		}
	}
	e := &Evaluation{Metric: o.Metric, Generated: &generated.set, Reference: reference.set, Normalized: o.Normalize, Features: r.network()}
	if err := e.compute(o, generated, reference); err != nil {
		return nil, fmt.Errorf("%s, %s: %w", o.Generated, o.Reference, err)
	}
	e.Seconds = time.Since(start).Seconds()
	return e, nil
}

func (e *Evaluation) compute(o EvaluateOptions, generated, reference *featureSet) error {
	x, y := generated.features, reference.features
	switch o.Metric {
	case "fid", "sfid":
		d, err := metrics.Frechet(generated.moments, reference.moments)
		e.FID, e.Dim = &d, len(reference.moments.Mean)
		if o.Metric == "sfid" {
			e.FID, e.SFID = nil, &d
		}
		return err
	case "kid":
		k, err := metrics.ComputeKID(x, y, o.Subsets, o.SubsetSize, o.Seed)
		e.KID, e.KIDStd, e.Subsets, e.SubsetSize, e.Seed = &k.Mean, &k.Std, k.Subsets, k.SubsetSize, &o.Seed
		e.Dim = x.D
		return err
	case "precision-recall", "density-coverage":
		pr, dc, err := metrics.Neighbours(x, y, o.K)
		e.K, e.Dim = o.K, x.D
		if o.Metric == "precision-recall" {
			e.Precision, e.Recall = &pr.Precision, &pr.Recall
		} else {
			e.Density, e.Coverage = &dc.Density, &dc.Coverage
		}
		return err
	case "cmmd":
		d, err := metrics.CMMD(x, y)
		e.CMMD, e.Dim = &d, x.D
		return err
	}
	score, err := metrics.CLIPScore(x, y)
	e.CLIPScore, e.Dim = &score, x.D
	return err
}

// Statistics writes the moments of a set to a .npz file with mu and sigma, as
// pytorch-fid and clean-fid write and read them, and returns what they are of.
// o.Reference is the set.
func Statistics(ctx context.Context, o EvaluateOptions, out string) (*Evaluation, error) {
	start := time.Now()
	r := &featureReader{options: o, moments: true}
	defer r.close()
	s, err := r.read(ctx, o.Reference)
	if err != nil {
		return nil, err
	}
	d := len(s.moments.Mean)
	err = npy.WriteArchive(out, []npy.Named{
		{Name: "mu", Array: npy.Array{Shape: []int{d}, Data: s.moments.Mean}},
		{Name: "sigma", Array: npy.Array{Shape: []int{d, d}, Data: s.moments.Cov}},
	}, true)
	if err != nil {
		return nil, fmt.Errorf("-out %s: %w", out, err)
	}
	return &Evaluation{Metric: "stats", Reference: s.set, Features: r.network(), Dim: d, Seconds: time.Since(start).Seconds()}, nil
}
