package pipeline

import (
	"context"
	"fmt"

	"immiscible/datasets"
	"immiscible/datasets/rng"
)

// source gives the examples of a data set as the model sees them: pixels in
// [−1, 1], or latents that a VAE makes of those or has made, × [noise] scale.
type source struct {
	config Config
	data   *datasets.Dataset
	vae    *Autoencoder // nil: the model sees pixels
}

// shape is that of one image as the model sees it.
func (s *source) shape() (channels, height, width int) {
	if s.vae != nil {
		return s.vae.LatentShape()
	}
	return s.data.Channels(), s.data.Resolution(), s.data.Resolution()
}

func (s *source) dim() int {
	channels, height, width := s.shape()
	return channels * height * width
}

// read begins at a position and reads n examples at a time. Pixels that become
// latents are read in parts of a micro-batch, so that a large pool's are never
// all in memory.
func (s *source) read(position int64, n int) *reader {
	part := n
	if s.vae != nil && n%s.config.Train.MicroBatch == 0 {
		part = s.config.Train.MicroBatch
	}
	return &reader{s, s.data.Loader(position, part), n / part}
}

type reader struct {
	*source
	loader *datasets.Loader
	parts  int
}

func (r *reader) Close() { r.loader.Close() }

// next is the next n examples: images [n, dim] as the model sees them, and what
// else the data set says of them, without pixels.
func (r *reader) next(ctx context.Context) (b *datasets.Batch, images []float32, err error) {
	for range r.parts {
		part, err := r.loader.Next(ctx)
		if err != nil {
			return nil, nil, err
		}
		pixels := part.Pixels
		if r.vae != nil {
			if pixels, err = r.latents(ctx, part); err != nil {
				return nil, nil, fmt.Errorf("encoding positions %d…%d: %w", part.Position, part.Position+int64(part.N)-1, err)
			}
			r.loader.Reuse(part)
		}
		part.Pixels = nil
		if b == nil {
			b, images = part, pixels
			continue
		}
		b.N += part.N
		b.Labels, b.Keys, b.Texts = append(b.Labels, part.Labels...), append(b.Keys, part.Keys...), append(b.Texts, part.Texts...)
		b.Skipped, images = append(b.Skipped, part.Skipped...), append(images, pixels...)
	}
	scale(images, r.config.Noise.Scale)
	return b, images, nil
}

// latents draws each image's latent from its posterior, which the encoder gives or a
// latent cache has; the draw is a function of (seed, position).
func (r *reader) latents(ctx context.Context, b *datasets.Batch) ([]float32, error) {
	moments := b.Pixels
	if r.data.Latents() == nil {
		var err error
		if moments, err = r.vae.Encode(ctx, b.Pixels); err != nil {
			return nil, err
		}
	}
	dim := r.dim()
	draw := make([]float32, b.N*dim)
	for i := range b.N {
		rng.New(uint64(r.config.Train.Seed), "posterior", uint64(b.Position)+uint64(i)).FillNormal(draw[i*dim : (i+1)*dim])
	}
	return r.vae.Latents(moments, draw)
}
