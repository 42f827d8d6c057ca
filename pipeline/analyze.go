package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/datasets"
	"immiscible/models/engine"
	"immiscible/pipeline/analysis"
	"immiscible/pipeline/metrics"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/sampler"
)

// AnalyzeOptions say which trained models are analysed and on what. All models
// see the same noises, those that GenerateImages draws from the same seed;
// classes come in turns.
type AnalyzeOptions struct {
	Models     []string // diffusers folders
	Weights    string   // "ema" or "raw"
	Prompts    []string // for models that take text
	Classes    []int    // nil: every class of a conditioned model
	Sampler    string   // a name of sampler.Names
	Steps      int      // num_inference_steps
	Guidance   float64  // guidance_scale; 1: off; NaN: 7.5 of a model that takes text, else 1
	N          int      // noises, and so images, of each model
	Seed       uint64
	Batch      int    // images in memory at once; 0 as in ImagesOptions
	ConfigFile string // settings whose [data] the images are held against; "": of the run that the first model is of
	Features   extractor.Options
	Engine     engine.Options
	Messages   io.Writer // progress, and a line for each thing a user wants to know
}

// AnalyzedModel names a model of an analysis.
type AnalyzedModel struct {
	Name  string `json:"name"`  // short, one of its own
	Model string `json:"model"` // the folder, as it was given
}

// AnalyzedSettings are what the analyses of generated images have in common.
type AnalyzedSettings struct {
	Sampler     string           `json:"sampler"`
	N           int              `json:"n"` // images of each model
	Seed        uint64           `json:"seed"`
	Weights     string           `json:"weights"`
	Conditioned bool             `json:"conditioned"` // whether std is within classes
	Features    EvaluatedFeature `json:"features"`    // of fid
	Reference   AnalyzedSet      `json:"reference"`
}

// AnalyzedSet is the data that images are held against. Its figures are those
// of its own first n images: what perfect images would have.
type AnalyzedSet struct {
	EvaluatedSet
	ImageFigures
}

// ImageFigures tell what n images are like, cut off at the range that a picture has.
type ImageFigures struct {
	FID     float64 `json:"fid"`     // against the data, in the network's features
	Std     float64 `json:"std"`     // of a pixel over the images, within classes where they condition; 0: all are the same
	Nearest float64 `json:"nearest"` // mean Euclidean distance to the nearest image of the data
}

// analyzer is what the analyses of some models share.
type analyzer struct {
	options AnalyzeOptions
	engine  *engine.Engine
	names   []string
	config  Config // of the data
	network *extractor.Extractor
	images  []float32 // of the data, [n, dim], pixels in [−1, 1]
	labels  []int64   // of these
	moments metrics.Moments
	set     AnalyzedSet
}

// analyzedImages is how many images of the data are kept, for nearest ones and
// means, as far as analyzedBytes reach.
const (
	analyzedImages = 10000
	analyzedBytes  = 512 << 20
)

// openAnalyzer names the models and opens the engine.
func openAnalyzer(ctx context.Context, o AnalyzeOptions) (*analyzer, error) {
	names, err := shortNames(o.Models)
	if err != nil {
		return nil, err
	}
	if o.N < 2 {
		return nil, fmt.Errorf("%d noises, want at least 2", o.N)
	}
	e, err := engine.Open(ctx, o.Engine)
	return &analyzer{options: o, names: names, engine: e}, err
}

// openAnalyzerOf does that and reads the data; features tells whether FID is
// wanted.
func openAnalyzerOf(ctx context.Context, o AnalyzeOptions, features bool) (*analyzer, error) {
	a, err := openAnalyzer(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := a.data(ctx, features); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// data reads what the models' images are held against.
func (a *analyzer) data(ctx context.Context, features bool) (err error) {
	o := a.options
	file := o.ConfigFile
	if file == "" {
		file = filepath.Join(filepath.Dir(filepath.Clean(o.Models[0])), "config.toml")
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%s is not there to say what the model was trained on: name settings that have its [data]", file)
		}
	}
	if a.config, err = LoadConfig("", file, nil); err != nil {
		return err
	}
	if features {
		if a.network, err = loadNetwork(a.config, o.Features); err != nil {
			return err
		}
		reader := &featureReader{options: EvaluateOptions{Metric: "fid", Features: o.Features, Messages: o.Messages}, moments: true, engine: a.engine, net: a.network}
		s := &featureSet{set: EvaluatedSet{Name: a.name()}}
		if err := reader.dataset(ctx, s, a.config.dataOptions()); err != nil {
			return err
		}
		a.moments, a.set.EvaluatedSet = s.moments, s.set
	}
	return a.read(ctx)
}

func (a *analyzer) close() {
	if a.network != nil {
		a.network.Close()
	}
	a.engine.Close()
}

// read keeps the first images of the data's order.
func (a *analyzer) read(ctx context.Context) error {
	data, err := datasets.Open(ctx, a.config.dataOptions())
	if err != nil {
		return err
	}
	defer data.Close()
	dim := a.dim()
	n := min(data.Len(), analyzedImages, max(a.options.N, analyzedBytes/(4*dim)))
	loader := data.Loader(0, 100)
	defer loader.Close()
	for len(a.labels) < n {
		b, err := loader.Next(ctx)
		if err != nil {
			return err
		}
		rows := min(b.N, n-len(a.labels))
		a.images, a.labels = append(a.images, b.Pixels[:rows*dim]...), append(a.labels, b.Labels[:rows]...)
	}
	return nil
}

// name is that of the data.
func (a *analyzer) name() string { return strings.Join(a.config.Data.Source, ", ") }

// dim is the number of pixels × channels of an image.
func (a *analyzer) dim() int {
	d := a.config.Data
	return d.Channels * d.Resolution * d.Resolution
}

// shortNames tells folders apart by what their paths do not have in common, at
// the beginning and at the end.
func shortNames(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, fmt.Errorf("no model, want at least one diffusers folder")
	}
	split := make([][]string, len(paths))
	for i, path := range paths {
		split[i] = strings.Split(filepath.ToSlash(filepath.Clean(path)), "/")
		for _, other := range split[:i] {
			if slices.Equal(other, split[i]) {
				return nil, fmt.Errorf("%s stands twice, want each model once", path)
			}
		}
	}
	alike := func(part func(s []string) string) bool {
		return !slices.ContainsFunc(split, func(s []string) bool { return len(s) < 2 || part(s) != part(split[0]) })
	}
	for alike(func(s []string) string { return s[0] }) {
		for i := range split {
			split[i] = split[i][1:]
		}
	}
	for alike(func(s []string) string { return s[len(s)-1] }) {
		for i := range split {
			split[i] = split[i][:len(split[i])-1]
		}
	}
	names := make([]string, len(split))
	for i, s := range split {
		names[i] = strings.Join(s, "/")
	}
	return names, nil
}

// models calls visit with each model, loaded for n images by a sampler.
func (a *analyzer) models(visit func(m *analyzedModel) error) error {
	for i, path := range a.options.Models {
		m, err := a.load(path)
		if err != nil {
			return err
		}
		m.AnalyzedModel = AnalyzedModel{Name: a.names[i], Model: path}
		fmt.Fprintf(a.options.Messages, "model %d of %d: %s\n", i+1, len(a.options.Models), m.Name)
		err = visit(m)
		m.close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// analyzedModel is a model with the images that are to be made of it.
type analyzedModel struct {
	AnalyzedModel
	job     *imageJob
	parts   *imageParts
	records []ImageRecord
	labels  []int64 // of the records; nil: no class conditions
}

func (m *analyzedModel) close() {
	if m.parts != nil {
		m.parts.close()
	}
	m.job.model.Close()
}

func (a *analyzer) load(path string) (*analyzedModel, error) {
	o := a.options
	job := ImagesOptions{Model: path, Prompts: o.Prompts, Classes: o.Classes, PerClass: 1, Sampler: o.Sampler, Steps: o.Steps, Guidance: o.Guidance,
		Seed: o.Seed, Weights: o.Weights, Batch: o.Batch, Engine: o.Engine, Messages: o.Messages}
	j, err := openImageJob(job)
	if err != nil {
		return nil, err
	}
	m := &analyzedModel{job: j}
	if j.Height != j.Width {
		m.close()
		return nil, fmt.Errorf("%s makes images of %d×%d pixels, want squares", path, j.Height, j.Width)
	}
	d := a.config.Data
	channels, _ := j.model.UNet.Channels()
	if j.model.VAE != nil {
		channels = d.Channels // the VAE's, which training held to the data
	}
	if a.images != nil && (j.Height != d.Resolution || j.Width != d.Resolution || channels != d.Channels) {
		m.close()
		return nil, fmt.Errorf("%s makes images of %d×%d pixels with channels %d, and the data's have %d×%d with %d: name settings of its own data", path, j.Height, j.Width, channels, d.Resolution, d.Resolution, d.Channels)
	}
	j.PerClass = (o.N + len(j.all) - 1) / len(j.all)
	j.all = nil
	if err := j.list(); err != nil {
		m.close()
		return nil, err
	}
	// The list goes class by class; the analysis takes classes in turns.
	m.records = j.all
	slices.SortStableFunc(m.records, func(x, y ImageRecord) int { return cmp.Compare(x.Index, y.Index) })
	m.records = m.records[:o.N]
	for _, r := range m.records {
		if r.Class != nil && !j.text() {
			m.labels = append(m.labels, int64(*r.Class))
		}
	}
	if m.parts, err = j.openParts(a.engine, o.N); err != nil {
		m.close()
		return nil, err
	}
	j.say()
	return m, nil
}

// noise is the initial noise of the records.
func (m *analyzedModel) noise() []float32 {
	dim := m.parts.unet.Dim()
	noise := make([]float32, len(m.records)*dim)
	for i, r := range m.records {
		r.draw("generate").FillNormal(noise[i*dim : (i+1)*dim])
	}
	return noise
}

// walk turns noise of the given records into images, in place.
func (a *analyzer) walk(ctx context.Context, m *analyzedModel, s *sampler.Sampler, records []ImageRecord, noise []float32, what string, watch func(first, step int, samples, output []float32)) error {
	count, _ := classCount(m.job.model)
	o := GenerateOptions{Sampler: s, GuidanceScale: m.job.Guidance, NullLabel: int64(count), Watch: watch}
	o.Noise = func(dst []float32, image, step int) {
		records[image].draw(fmt.Sprintf("generate/%d", step)).FillNormal(dst)
	}
	size := m.parts.unet.Batch
	bar := runlog.NewBar(a.options.Messages, "batch", (len(records)+size-1)/size*len(s.Timesteps()))
	defer bar.Close()
	done := 0
	o.Progress = func() {
		done++
		bar.Set(done, what)
	}
	if err := m.parts.encode(ctx, records, &o); err != nil {
		return err
	}
	var labels []int64
	if m.labels != nil {
		for _, r := range records {
			labels = append(labels, int64(*r.Class))
		}
	}
	return m.parts.unet.Generate(ctx, noise, labels, o)
}

// pixels are images as a picture holds them: decoded, and cut off at −1 and 1.
func (m *analyzedModel) pixels(ctx context.Context, samples []float32) ([]float32, error) {
	images, err := m.parts.decode(ctx, slices.Clone(samples))
	if err == nil {
		clipPixels(images)
	}
	return images, err
}

// figures measures n images.
func (a *analyzer) figures(ctx context.Context, images []float32, labels []int64) (f ImageFigures, err error) {
	dim := a.dim()
	n := len(images) / dim
	moments, err := imageMoments(ctx, a.network, images)
	if err != nil {
		return f, err
	}
	if f.FID, err = metrics.Frechet(moments, a.moments); err != nil {
		return f, err
	}
	if f.Std, err = analysis.Spread(images, n, dim, labels); err != nil {
		return f, err
	}
	nearest, err := analysis.Nearest(images, n, a.images, len(a.labels), dim, false)
	f.Nearest = analysis.MeanOf(nearest).Value
	return f, err
}

// settings describes the analysis, with the figures of the data itself.
func (a *analyzer) settings(ctx context.Context, m *analyzedModel) (AnalyzedSettings, error) {
	o, dim := a.options, a.dim()
	s := AnalyzedSettings{Sampler: m.job.Sampler, N: len(m.records), Seed: o.Seed, Weights: o.Weights, Conditioned: m.labels != nil,
		Features: featureNetwork(a.network, o.Features), Reference: a.set}
	n := min(len(m.records), len(a.labels))
	groups := a.labels[:n]
	if m.labels == nil {
		groups = nil
	}
	f, err := a.figures(ctx, a.images[:n*dim], groups)
	if err != nil {
		return s, fmt.Errorf("%s: %w", s.Reference.Name, err)
	}
	nearest, err := analysis.Nearest(a.images[:n*dim], n, a.images, len(a.labels), dim, true)
	f.Nearest = analysis.MeanOf(nearest).Value
	s.Reference.ImageFigures = f
	return s, err
}
