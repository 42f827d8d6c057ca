package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"immiscible/assign"
	"immiscible/datasets/rng"
	"immiscible/models/safetensors"
)

// statisticsFile holds in a run's folder what [noise] center and whiten know of
// the data.
const statisticsFile = "noise_statistics.safetensors"

// chooser gives the images of a pool their noise.
type chooser struct {
	config     Config
	directions *assign.Directions // nil: KNN chooses along the image itself
	product    *deviceProduct     // nil: inner products are made on the processor
}

// openChooser is the chooser of a run in folder out. Its directions are those
// that the run began with, which stand beside the checkpoint that it goes on
// from; otherwise they are estimated. Either way they are kept in out.
func openChooser(ctx context.Context, c Config, examples *source, from runStart, out string) (*chooser, error) {
	if !c.needsDirections() {
		return &chooser{config: c}, nil
	}
	var d *assign.Directions
	err := fs.ErrNotExist
	if from.path != "" {
		d, err = readDirections(filepath.Join(filepath.Dir(filepath.Clean(from.path)), statisticsFile))
	}
	if errors.Is(err, fs.ErrNotExist) {
		d, err = estimateDirections(ctx, c, examples)
	}
	if err != nil {
		return nil, err
	}
	if dim := examples.dim(); d.Dim != dim {
		return nil, fmt.Errorf("%s holds statistics of images of %d numbers, and the data's have %d: remove the file, and it is made again", statisticsFile, d.Dim, dim)
	}
	return &chooser{config: c, directions: d}, writeDirections(filepath.Join(out, statisticsFile), d, c)
}

// needsDirections reports whether noise is chosen along another direction than
// the image's own.
func (c Config) needsDirections() bool {
	return c.Noise.Pairing == "knn" && (c.Noise.Center != "none" || c.Noise.Whiten > 0)
}

// statisticsBytes bounds the images that are kept for the principal directions;
// the centres are those of all that are read.
const statisticsBytes = 256 << 20

// estimateDirections reads the first examples of the first epoch, as training
// will see them, and returns the centres and principal directions that [noise]
// asks for: a function of the data, the seed and the settings.
func estimateDirections(ctx context.Context, c Config, examples *source) (*assign.Directions, error) {
	n := min(c.Noise.StatisticsExamples, examples.data.Len())
	size := min(n, 256)
	r := examples.read(0, size)
	defer r.Close()
	e := newEstimator(c, examples.dim())
	for done := 0; done < n; done += size {
		b, images, err := r.next(ctx)
		if err != nil {
			return nil, fmt.Errorf("estimating the statistics of [noise] center and whiten: %w", err)
		}
		for i := range min(size, n-done) {
			if err := e.add(images[i*e.dim:(i+1)*e.dim], b.Labels[i]); err != nil {
				return nil, err
			}
		}
	}
	return e.directions()
}

// estimator makes directions of images that it is shown one by one.
type estimator struct {
	config Config
	dim    int
	means  *assign.Means
	kept   []float32 // [len(labels), dim]
	labels []int64
}

func newEstimator(c Config, dim int) *estimator {
	classes := 1
	if c.Noise.Center == "class" {
		classes = c.Data.NumClasses
	}
	return &estimator{config: c, dim: dim, means: assign.NewMeans(classes, dim)}
}

func (e *estimator) add(x []float32, label int64) error {
	if e.config.Noise.Whiten > 0 && 4*(len(e.kept)+e.dim) <= statisticsBytes {
		e.kept, e.labels = append(e.kept, x...), append(e.labels, label)
	}
	return e.means.Add(x, label)
}

func (e *estimator) directions() (*assign.Directions, error) {
	d := &assign.Directions{Dim: e.dim}
	r := e.config.Noise.Whiten
	if e.config.Noise.Center != "none" {
		d.Means = e.means.Rows()
	}
	if r == 0 {
		return d, nil
	}
	if r > e.dim {
		return nil, fmt.Errorf("[noise] whiten = %d, and an image has %d numbers: want at most as many", r, e.dim)
	}
	for i, label := range e.labels {
		x := e.kept[i*e.dim : (i+1)*e.dim]
		if err := d.Along(x, x, label); err != nil {
			return nil, err
		}
	}
	return d, d.Whitening(e.kept, len(e.labels), r, rng.New(uint64(e.config.Train.Seed), "noise_statistics", 0))
}

// writeDirections keeps directions in a run's folder, whole or not at all.
func writeDirections(path string, d *assign.Directions, c Config) error {
	dim, r := int64(d.Dim), int64(len(d.Deviation))
	metadata := map[string]string{"center": c.Noise.Center, "examples": strconv.Itoa(c.Noise.StatisticsExamples)}
	return safetensors.Write(path, metadata, []safetensors.Entry{
		safetensors.Float32Entry("means", []int64{int64(len(d.Means)) / dim, dim}, d.Means),
		safetensors.Float32Entry("principal", []int64{r, dim}, d.Principal),
		safetensors.Float32Entry("deviation", []int64{r}, d.Deviation),
		safetensors.Float32Entry("rest", []int64{1}, []float32{d.Rest}),
	})
}

// readDirections reads what writeDirections wrote.
func readDirections(path string) (*assign.Directions, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var d assign.Directions
	rest := make([]float32, 1)
	for name, values := range map[string]*[]float32{"means": &d.Means, "principal": &d.Principal, "deviation": &d.Deviation, "rest": &rest} {
		t, ok := f.Lookup(name)
		if !ok {
			return nil, fmt.Errorf("%s: no tensor %q: remove the file, and it is made again", path, name)
		}
		*values = make([]float32, numel64(t.Shape))
		if err := f.Float32(t, *values); err != nil {
			return nil, err
		}
		if name == "means" && len(t.Shape) == 2 {
			d.Dim = int(t.Shape[1])
		}
	}
	if len(rest) == 1 {
		d.Rest = rest[0]
	}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w: remove the file, and it is made again", path, err)
	}
	return &d, nil
}

// scale multiplies images by [noise] scale.
func scale(images []float32, factor float64) {
	if factor == 1 {
		return
	}
	for i := range images {
		images[i] *= float32(factor)
	}
}

// choose gives each image of the pool its noise and measures the distances.
// Every choice is a function of (seed, position), for linear assignment of the
// positions of the pool.
func (ch *chooser) choose(p *pool) error {
	c := ch.config.Noise
	drawNoise(p.noise, uint64(ch.config.Train.Seed), p.position, p.n)
	var perm []int
	var err error
	switch c.Pairing {
	case "linear":
		if perm, err = ch.assign(p); err != nil {
			return fmt.Errorf("pairing positions %d…%d: %w", p.position, p.position+int64(p.n)-1, err)
		}
		p.before, p.after = assign.Distances(p.images, p.noise, perm, p.n, p.dim)
		paired := make([]float32, len(p.noise))
		for i, j := range perm {
			copy(paired[i*p.dim:(i+1)*p.dim], p.noise[j*p.dim:(j+1)*p.dim])
		}
		p.noise = paired
	case "knn":
		p.before, _ = assign.Distances(p.images, p.noise, nil, p.n, p.dim)
		if err := ch.nearest(p); err != nil {
			return err
		}
		p.after, _ = assign.Distances(p.images, p.noise, nil, p.n, p.dim)
	default:
		p.before, _ = assign.Distances(p.images, p.noise, nil, p.n, p.dim)
		p.after = p.before
	}
	if c.Flip {
		for i, x := range p.noise {
			p.noise[i] = -x
		}
		_, p.after = assign.Distances(p.images, p.noise, nil, p.n, p.dim)
	}
	return nil
}

// assign permutes the pool's own draws, so that their law stays exactly
// Gaussian. While it is annealed, a growing share of the images keeps the draw
// of its own position.
func (ch *chooser) assign(p *pool) ([]int, error) {
	c := ch.config.Noise
	var labels []int64
	if c.PerClass {
		labels = p.labels
	}
	if c.AnnealSteps > 0 {
		if labels == nil {
			labels = make([]int64, p.n)
		}
		own := make([]int64, p.n)
		for i := range own {
			at := p.position + int64(i)
			share := float64(ch.step(at)) / float64(c.AnnealSteps)
			own[i] = labels[i]
			if rng.New(uint64(ch.config.Train.Seed), "anneal", uint64(at)).Float64() < share {
				own[i] = -2 - int64(i) // a class of one keeps its noise
			}
		}
		labels = own
	}
	options := assign.Options{Cost: assign.Cost(c.Cost), Half: c.CostDtype == "float16"}
	if ch.product != nil {
		defer ch.product.forget()
		options.Product = ch.product.multiply
	}
	return assign.Pair(p.images, p.noise, p.n, p.dim, labels, options)
}

// nearest replaces each image's draw by the best of k.
func (ch *chooser) nearest(p *pool) error {
	c := ch.config.Noise
	direction := make([]float32, p.dim)
	for i := range p.n {
		at := p.position + int64(i)
		x, row := p.images[i*p.dim:(i+1)*p.dim], p.noise[i*p.dim:(i+1)*p.dim]
		if ch.directions != nil {
			if err := ch.directions.Along(direction, x, p.labels[i]); err != nil {
				return fmt.Errorf("choosing noise for position %d: %w", at, err)
			}
			x = direction
		}
		knn := assign.KNN{K: assign.Annealed(c.KNNK, c.KNNKEnd, ch.step(at), int64(c.AnnealSteps)), Score: c.KNNScore}
		if err := knn.Draw(row, x, rng.New(uint64(ch.config.Train.Seed), "noise", uint64(at))); err != nil {
			return fmt.Errorf("choosing noise for position %d: %w", at, err)
		}
	}
	return nil
}

// step is the number of steps that were done before the one that consumes a
// position.
func (ch *chooser) step(position int64) int64 {
	return position / int64(ch.config.Train.BatchSize)
}
