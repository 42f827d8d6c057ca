package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/datasets"
	"immiscible/models/engine"
	"immiscible/pipeline/metrics"
	"immiscible/pipeline/metrics/extractor"
	"immiscible/pipeline/metrics/fashion"
	"immiscible/pipeline/npy"
	"immiscible/pipeline/runlog"
)

// featureSet is a set as a metric needs it: moments, or rows.
type featureSet struct {
	set      EvaluatedSet
	moments  metrics.Moments
	features *metrics.Features

	keepTexts int      // how many of the data set's captions are wanted
	texts     []string // in its order
}

// featureReader reads sets. The network is loaded at the first set of images.
type featureReader struct {
	options EvaluateOptions
	moments bool // gather moments, and keep no rows

	engine *engine.Engine
	net    *extractor.Extractor
}

func (r *featureReader) close() {
	if r.net != nil {
		r.net.Close()
	}
	if r.engine != nil {
		r.engine.Close()
	}
}

func (r *featureReader) network() *EvaluatedFeature {
	if r.net == nil {
		return nil
	}
	f := featureNetwork(r.net, r.options.Features)
	return &f
}

// read makes a set of what the user named.
func (r *featureReader) read(ctx context.Context, name string) (*featureSet, error) {
	s := &featureSet{set: EvaluatedSet{Name: name}}
	var err error
	switch strings.ToLower(filepath.Ext(name)) {
	case ".npy":
		var rows *npy.Rows
		if rows, err = npy.OpenRows(name); err != nil {
			return nil, err
		}
		defer rows.Close()
		err = r.rows(ctx, s, name, rows)
	case ".npz":
		err = r.archive(ctx, s, name)
	default:
		return s, r.images(ctx, s, name)
	}
	if err == nil {
		s.set.SHA256, err = fileDigest(name)
	}
	return s, err
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// archive reads feats, or mu and sigma where only those are there or moments
// are all that is wanted.
func (r *featureReader) archive(ctx context.Context, s *featureSet, name string) error {
	a, err := npy.OpenArchive(name)
	if err != nil {
		return err
	}
	defer a.Close()
	statistics := a.Has("mu") && a.Has("sigma")
	switch {
	case r.moments && statistics:
		s.moments, err = readMoments(a, name)
		return err
	case a.Has("feats"):
		rows, err := a.Rows("feats")
		if err != nil {
			return err
		}
		defer rows.Close()
		return r.rows(ctx, s, name, rows)
	case statistics:
		return fmt.Errorf("%s: holds mu and sigma, and %s needs every row: want feats", name, r.options.Metric)
	}
	return fmt.Errorf("%s: holds %s, want feats, or mu and sigma", name, strings.Join(a.Names, ", "))
}

func readMoments(a *npy.Archive, name string) (m metrics.Moments, err error) {
	for _, part := range []struct {
		array string
		to    *[]float64
		dims  int
	}{{"mu", &m.Mean, 1}, {"sigma", &m.Cov, 2}} {
		array, err := a.Read(part.array)
		if err != nil {
			return m, err
		}
		if len(array.Shape) != part.dims {
			return m, fmt.Errorf("%s: %s has shape %v, want %d dimensions", name, part.array, array.Shape, part.dims)
		}
		switch data := array.Data.(type) {
		case []float64:
			*part.to = data
		case []float32:
			for _, x := range data {
				*part.to = append(*part.to, float64(x))
			}
		default:
			return m, fmt.Errorf("%s: %s holds %s, want float32 or float64", name, part.array, array.DType())
		}
	}
	if err := m.Check(); err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// rows reads features [N, D]; into moments a chunk at a time.
func (r *featureReader) rows(ctx context.Context, s *featureSet, name string, rows *npy.Rows) error {
	if len(rows.Shape) != 2 || rows.Shape[0] == 0 || rows.Width == 0 {
		return fmt.Errorf("%s: shape %v, want features [N, D]", name, rows.Shape)
	}
	g := r.gatherer(rows.Shape[0], rows.Width, rows.DType == "float64")
	chunk := make([]float64, 256*rows.Width)
	for {
		n, err := rows.Next(chunk)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := g.add(chunk[:n*rows.Width]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := g.finish(s); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// gatherer takes rows as they come and makes of them what the metric needs.
type gatherer struct {
	n, d      int
	moments   *metrics.Gaussian // nil: rows are kept
	normalize bool
	f32       []float32
	f64       []float64
}

func (r *featureReader) gatherer(n, d int, wide bool) *gatherer {
	g := &gatherer{n: n, d: d, normalize: r.options.Normalize}
	switch {
	case r.moments:
		g.moments = metrics.NewGaussian(d)
	case wide || g.normalize:
		g.f64 = make([]float64, 0, n*d)
	default:
		g.f32 = make([]float32, 0, n*d)
	}
	return g
}

func (g *gatherer) add(rows []float64) error {
	if g.normalize {
		for i := 0; i < len(rows); i += g.d {
			row := rows[i : i+g.d]
			length := 0.0
			for _, x := range row {
				length += x * x
			}
			if length == 0 {
				return fmt.Errorf("a row of features is zero and cannot be normalized")
			}
			for k := range row {
				row[k] /= math.Sqrt(length)
			}
		}
	}
	switch {
	case g.moments != nil:
		return g.moments.Add(rows)
	case g.f64 != nil:
		g.f64 = append(g.f64, rows...)
	default:
		for _, x := range rows {
			g.f32 = append(g.f32, float32(x))
		}
	}
	return nil
}

func (g *gatherer) finish(s *featureSet) (err error) {
	s.set.N = int64(g.n)
	switch {
	case g.moments != nil:
		s.moments, err = g.moments.Moments()
	case g.f64 != nil:
		s.features, err = metrics.NewFeatures(g.n, g.d, g.f64)
	default:
		s.features, err = metrics.NewFeatures(g.n, g.d, g.f32)
	}
	return err
}

// images runs a source of images through the network, batch by batch.
func (r *featureReader) images(ctx context.Context, s *featureSet, name string) error {
	switch {
	case r.options.Metric == "clipscore":
		return fmt.Errorf("%s: clipscore pairs rows by their order: want embeddings as .npy or .npz", name)
	case r.options.Features.Model == "":
		return fmt.Errorf("%s holds images, and no -features says which network reads them: want an ONNX file, or %s for images like its own", name, fashion.Name)
	}
	if r.net == nil {
		var err error
		if r.net, err = extractor.Load(r.options.Features); err != nil {
			return err
		}
	}
	o, err := r.source(ctx, name)
	if err != nil {
		return err
	}
	return r.dataset(ctx, s, o)
}

// dataset gathers every example of a data set once.
func (r *featureReader) dataset(ctx context.Context, s *featureSet, o datasets.Options) error {
	name := s.set.Name
	data, err := datasets.Open(ctx, o)
	if err != nil {
		return err
	}
	defer data.Close()
	if r.engine == nil {
		if r.engine, err = engine.Open(ctx, r.options.Engine); err != nil {
			return err
		}
	}
	if err := r.net.Start(r.engine, data.Resolution()); err != nil {
		return err
	}
	const batch = 64
	loader := data.Loader(0, batch)
	defer loader.Close()
	bar := runlog.NewBar(r.options.Messages, "image", data.Len())
	defer bar.Close()
	g := r.gatherer(data.Len(), r.net.D, false)
	var digests []string
	dim := data.Channels() * data.Resolution() * data.Resolution()
	for done := 0; done < data.Len(); done += batch {
		b, err := loader.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%s: %w", name, err)
		}
		n := min(batch, data.Len()-done) // the rest is the next epoch's
		features, err := r.net.Extract(ctx, b.Pixels[:n*dim])
		if err != nil {
			return err
		}
		wide := make([]float64, len(features))
		for i, x := range features {
			wide[i] = float64(x)
		}
		if err := g.add(wide); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for i := range n {
			digests = append(digests, pixelDigest(b.Pixels[i*dim:(i+1)*dim]))
			if len(s.texts) < s.keepTexts {
				s.texts = append(s.texts, b.Texts[i])
			}
		}
		bar.Set(done+n, "")
	}
	slices.Sort(digests)
	sum := sha256.Sum256([]byte(strings.Join(digests, "")))
	s.set.SHA256 = hex.EncodeToString(sum[:])
	if err := g.finish(s); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func pixelDigest(pixels []float32) string {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, pixels) // a buffer takes everything
	sum := sha256.Sum256(b.Bytes())
	return string(sum[:])
}

// source says how images are read: at the size that the first of them has, or
// that the classifier wants.
func (r *featureReader) source(ctx context.Context, name string) (datasets.Options, error) {
	o := datasets.Options{Sources: []string{name}, Channels: r.net.Channels, Resolution: r.options.Resolution}
	if r.options.Features.Model != fashion.Name {
		return o, nil
	}
	// Images of 28 pixels, or of any other size, get the classifier's border.
	o.Resolution = 0
	data, err := datasets.Open(ctx, o)
	if err != nil {
		return o, err
	}
	defer data.Close()
	o.Resolution = fashion.Side
	if data.Resolution() != fashion.Side {
		o.Pad = fashion.Pad
	}
	return o, nil
}
