package pipeline

import (
	"context"
	"fmt"

	"immiscible/datasets/rng"
	"immiscible/pipeline/analysis"
)

// MiscibilityReport is what analyze miscibility says, and its JSON: whether the
// noises that become images like one image are apart from those that become
// images like another. Paper 2 reads 0.92 for a vanilla model (arXiv 2505.18521,
// §4.2); assign analyze says the same of a pairing.
type MiscibilityReport struct {
	Schema   string             `json:"schema"` // immiscible.analyze.miscibility/1
	Sampler  string             `json:"sampler"`
	Steps    int                `json:"steps"` // num_inference_steps
	N        int                `json:"n"`     // noises
	Seed     uint64             `json:"seed"`
	Weights  string             `json:"weights"`
	Data     string             `json:"data"`
	Clusters int                `json:"clusters"` // images of the data, of each class where classes condition
	Models   []MiscibilityModel `json:"models"`
}

// MiscibilityModel is one model.
type MiscibilityModel struct {
	AnalyzedModel
	Distance      float64 `json:"cluster_distance"` // of the clusters' centres, see analysis.ClusterDistance
	StandardError float64 `json:"standard_error"`
	// Random is the same of clusters that were drawn by lot: 0 within its error.
	Random      float64 `json:"cluster_distance_random"`
	RandomError float64 `json:"standard_error_random"`
	// Shown [clusters of the first class] holds the data's image, and images that came nearest to it.
	Shown          [][][]float32 `json:"-"`
	Channels, Side int           `json:"-"`
}

const miscibilitySchema = "immiscible.analyze.miscibility/1"

// AnalyzeMiscibility makes images of o.N noises and gives each to the nearest of
// a number of images of the data, of its class where classes condition; show is
// the number of these to keep for a picture.
func AnalyzeMiscibility(ctx context.Context, o AnalyzeOptions, clusters, show int) (*MiscibilityReport, error) {
	a, err := openAnalyzerOf(ctx, o, false)
	if err != nil {
		return nil, err
	}
	defer a.close()
	r := &MiscibilityReport{Schema: miscibilitySchema, Steps: o.Steps, N: o.N, Seed: o.Seed, Weights: o.Weights, Data: a.name(), Clusters: clusters}
	err = a.models(func(m *analyzedModel) error {
		r.Sampler = m.job.Sampler
		one, err := a.miscibility(ctx, m, clusters, show)
		if err == nil {
			r.Models = append(r.Models, *one)
		}
		return err
	})
	return r, err
}

func (a *analyzer) miscibility(ctx context.Context, m *analyzedModel, clusters, show int) (*MiscibilityModel, error) {
	noise, dim, n := m.noise(), a.dim(), len(m.records)
	samples := append([]float32(nil), noise...)
	if err := a.walk(ctx, m, m.job.sampler, m.records, samples, m.Name, nil); err != nil {
		return nil, err
	}
	pixels, err := m.pixels(ctx, samples)
	if err != nil {
		return nil, err
	}
	images, groups, err := a.clusterImages(m.labels, clusters)
	if err != nil {
		return nil, err
	}
	nearest, random := make([]int, n), make([]int, n)
	var shown [][][]float32
	for c := range clusters {
		shown = append(shown, [][]float32{images[c*dim : (c+1)*dim]})
	}
	for i := range n {
		first := 0 // of the image's class
		for m.labels != nil && groups[first] != m.labels[i] {
			first += clusters
		}
		of := images[first*dim : (first+clusters)*dim]
		nearest[i] = first + analysis.NearestOf(pixels[i*dim:(i+1)*dim], of, clusters, dim)
		random[i] = first + rng.New(a.options.Seed, "analyze/clusters", uint64(i)).Intn(clusters)
		if c := nearest[i]; first == 0 && len(shown[c]) <= show {
			shown[c] = append(shown[c], pixels[i*dim:(i+1)*dim])
		}
	}
	width := m.parts.unet.Dim()
	chosen, lot := analysis.ClusterDistance(noise, n, width, nearest, groups), analysis.ClusterDistance(noise, n, width, random, groups)
	return &MiscibilityModel{AnalyzedModel: m.AnalyzedModel, Distance: chosen.Value, StandardError: chosen.Error, Random: lot.Value, RandomError: lot.Error,
		Shown: shown, Channels: a.config.Data.Channels, Side: a.config.Data.Resolution}, nil
}

// clusterImages are the first images of the data, as many of each class that
// labels have, class after class, and their classes.
func (a *analyzer) clusterImages(labels []int64, each int) (images []float32, groups []int64, err error) {
	dim := a.dim()
	var classes []int64
	seen := map[int64]bool{}
	for _, c := range labels {
		if !seen[c] {
			seen[c] = true
			classes = append(classes, c)
		}
	}
	if labels == nil {
		classes = []int64{0}
	}
	for _, c := range classes {
		found := 0
		for j := 0; j < len(a.labels) && found < each; j++ {
			if labels == nil || a.labels[j] == c {
				images, groups = append(images, a.images[j*dim:(j+1)*dim]...), append(groups, c)
				found++
			}
		}
		if found < each {
			return nil, nil, fmt.Errorf("%s has %d images of class %d, want %d clusters: ask for fewer", a.name(), found, c, each)
		}
	}
	return images, groups, nil
}
