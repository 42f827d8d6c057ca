package pipeline

import (
	"context"
	"fmt"
	"strings"

	"immiscible/datasets/rng"
	"immiscible/models/engine"
	"immiscible/pipeline/metrics"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/metrics/fashion"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/sampler"
)

// judge measures how near a run's samples are to its data.
type judge struct {
	options   CompareOptions
	extractor *extractor.Extractor
	classes   *extractor.Extractor // the classifier's logits; nil where there are none to compare
	reference EvaluatedSet
	moments   metrics.Moments
	prompts   []string // captions of the first examples in the data's order, for models of text
}

// loadNetwork reads the network and holds it to the data.
func loadNetwork(c Config, o extractor.Options) (*extractor.Extractor, error) {
	x, err := extractor.Load(o)
	if err == nil && x.Channels != c.Data.Channels {
		err = fmt.Errorf("features %s are of images with channels %d, and [data] channels is %d: name another network with -features", o.Model, x.Channels, c.Data.Channels)
	}
	return x, err
}

// newJudge opens the network and gathers the data's statistics.
func newJudge(ctx context.Context, e *engine.Engine, x *extractor.Extractor, c Config, o CompareOptions) (*judge, error) {
	j := &judge{options: o, extractor: x}
	reader := &featureReader{options: EvaluateOptions{Metric: "fid", Features: o.Features, Messages: o.Messages}, moments: true, engine: e}
	reader.net = j.extractor
	s := &featureSet{set: EvaluatedSet{Name: strings.Join(c.Data.Source, ", ")}, keepTexts: o.Samples}
	if err := reader.dataset(ctx, s, c.dataOptions()); err != nil {
		j.close()
		return nil, err
	}
	j.reference, j.moments, j.prompts = s.set, s.moments, s.texts
	if o.Features.Model == fashion.Name && c.Data.NumClasses == 10 {
		var err error
		logits := o.Features
		logits.Output = fashion.Logits
		if j.classes, err = extractor.Load(logits); err == nil {
			err = j.classes.Start(e, c.Data.Resolution)
		}
		if err != nil {
			j.close()
			return nil, err
		}
	}
	return j, nil
}

func (j *judge) close() {
	for _, x := range []*extractor.Extractor{j.extractor, j.classes} {
		if x != nil {
			x.Close()
		}
	}
}

func (j *judge) network() EvaluatedFeature { return featureNetwork(j.extractor, j.options.Features) }

// featureNetwork names the network that gave features.
func featureNetwork(x *extractor.Extractor, o extractor.Options) EvaluatedFeature {
	f := EvaluatedFeature{Name: x.Name, SHA256: x.Digest}
	if o.Model != fashion.Name {
		f.InputRange, f.Resize = o.InputRange, o.Resize
	}
	return f
}

// imageMoments are those of the features of images [n, C, H, W] in [−1, 1].
func imageMoments(ctx context.Context, x *extractor.Extractor, images []float32) (metrics.Moments, error) {
	features, err := x.Extract(ctx, images)
	if err != nil {
		return metrics.Moments{}, err
	}
	gaussian := metrics.NewGaussian(x.D)
	rows, err := metrics.NewFeatures(len(features)/x.D, x.D, features)
	if err == nil {
		err = gaussian.AddFeatures(rows)
	}
	if err != nil {
		return metrics.Moments{}, err
	}
	return gaussian.Moments()
}

// evaluate makes samples of the run's moving average and judges them. Image i's
// initial noise is a function of the seed and i, whatever the arm and the step;
// classes come in turns, and so do the captions of the data.
func (j *judge) evaluate(ctx context.Context, t *trainer, step, samplerSteps int, grid string) (CompareEvaluation, error) {
	e := CompareEvaluation{Step: step, SamplerSteps: samplerSteps}
	c, g := t.config, t.gen
	s, err := sampler.New(c.Sample.Sampler, t.subject.schedule, samplerSteps, c.Sample.Eta)
	if err != nil {
		return e, err
	}
	n, dim := j.options.Samples, g.Dim()
	images := make([]float32, n*dim)
	seed := uint64(c.Train.Seed)
	var labels []int64
	for i := range n {
		rng.New(seed, "compare", uint64(i)).FillNormal(images[i*dim : (i+1)*dim])
		if t.feed.conditioned {
			labels = append(labels, int64(i%c.Data.NumClasses))
		}
	}
	bar := runlog.NewBar(j.options.Messages, "batch", (n+g.Batch-1)/g.Batch*len(s.Timesteps()))
	defer bar.Close()
	done := 0
	options := GenerateOptions{Sampler: s, GuidanceScale: c.Sample.GuidanceScale, NullLabel: int64(c.Data.NumClasses),
		Noise: func(dst []float32, image, step int) {
			rng.New(seed, fmt.Sprintf("compare/%d", step), uint64(image)).FillNormal(dst)
		},
		Progress: func() {
			done++
			bar.Set(done, fmt.Sprintf("samples of step %d, %d sampler steps", step, samplerSteps))
		}}
	if t.feed.text != nil {
		prompts := make([]string, n)
		for i := range prompts {
			if len(j.prompts) > 0 { // else the empty prompt
				prompts[i] = j.prompts[i%len(j.prompts)]
			}
		}
		if err := t.samplePrompts(ctx, &options, prompts, 1); err != nil {
			return e, err
		}
	}
	if err := g.Generate(ctx, images, labels, options); err != nil {
		return e, err
	}
	if t.vae != nil {
		if images, err = t.vae.Decode(ctx, images); err != nil {
			return e, err
		}
	}
	clipPixels(images)
	moments, err := imageMoments(ctx, j.extractor, images)
	if err != nil {
		return e, err
	}
	if e.FID, err = metrics.Frechet(moments, j.moments); err != nil {
		return e, err
	}
	if j.classes != nil && labels != nil {
		if e.ClassAccuracy, err = j.accuracy(ctx, images, labels); err != nil {
			return e, err
		}
	}
	return e, j.grid(grid, t, images)
}

// clipPixels keeps images in the range that a picture has.
func clipPixels(images []float32) {
	for i, x := range images {
		images[i] = max(-1, min(1, x))
	}
}

// accuracy is the share of images that the classifier reads as the class that
// they were asked to be.
func (j *judge) accuracy(ctx context.Context, images []float32, labels []int64) (*float64, error) {
	logits, err := j.classes.Extract(ctx, images)
	if err != nil {
		return nil, err
	}
	right, d := 0, j.classes.D
	for i, label := range labels {
		best := 0
		for c := range d {
			if logits[i*d+c] > logits[i*d+best] {
				best = c
			}
		}
		if int64(best) == label {
			right++
		}
	}
	share := float64(right) / float64(len(labels))
	return &share, nil
}

// grid shows the first samples: a column a class, or a square.
func (j *judge) grid(path string, t *trainer, images []float32) error {
	data := t.config.Data
	cols, dim := 8, data.Channels*data.Resolution*data.Resolution
	if t.feed.conditioned {
		cols = min(16, data.NumClasses)
	}
	cols = min(cols, j.options.Samples)
	rows := max(1, min(6, j.options.Samples/cols))
	list := make([][]float32, rows*cols)
	for i := range list {
		k := i
		if t.feed.conditioned { // classes come in turns
			k = i/cols*data.NumClasses + i%cols
		}
		k = min(k, j.options.Samples-1)
		list[i] = images[k*dim : (k+1)*dim]
	}
	_, err := runlog.WriteGrid(path, list, rows, cols, data.Channels, data.Resolution, data.Resolution)
	return err
}
