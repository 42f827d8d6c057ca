package pipeline

import (
	"context"
	"time"

	"immiscible/datasets"
	"immiscible/datasets/rng"
)

// pool is a fixed range of positions whose images have been given noise.
// Batches are cut from it in order.
type pool struct {
	position      int64     // of the first image
	n, dim        int       // images, elements of one
	images, noise []float32 // [n, dim]; noise[i] belongs to images[i]
	labels        []int64   // [n], -1 where an image has none
	texts         []string  // [n], captions
	skipped       []datasets.Skip
	before, after float64       // mean L2 distance of image and noise, independent and as paired
	pairing       time.Duration // what the choice took
}

// skips counts the bad records that n positions from position on met.
func (p *pool) skips(position int64, n int) int {
	count := 0
	for _, s := range p.skipped {
		if position <= s.Position && s.Position < position+int64(n) {
			count++
		}
	}
	return count
}

// drawNoise fills noise [n, dim] with the draws of positions position…: a
// position's noise is a function of (seed, position) alone.
func drawNoise(noise []float32, seed uint64, position int64, n int) {
	dim := len(noise) / n
	for i := range n {
		rng.New(seed, "noise", uint64(position)+uint64(i)).FillNormal(noise[i*dim : (i+1)*dim])
	}
}

// pools reads pools from the data set and pairs them, one ahead of the training
// loop, so that the choice runs while the device computes.
type pools struct {
	ready  chan pooled
	cancel context.CancelFunc
	done   chan struct{}
}

type pooled struct {
	pool *pool
	err  error
}

// startPools begins at the pool that holds position from.
func startPools(ctx context.Context, examples *source, ch *chooser, from int64) *pools {
	ctx, cancel := context.WithCancel(ctx)
	size := ch.config.poolSize()
	p := &pools{ready: make(chan pooled), cancel: cancel, done: make(chan struct{})}
	first := from / int64(size) * int64(size)
	images := examples.read(first, size)
	go func() {
		defer close(p.done)
		defer images.Close()
		for {
			next, err := nextPool(ctx, images, ch)
			select {
			case p.ready <- pooled{next, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

// poolSize is the number of positions that are paired at once. Pairings that
// choose for each image alone have no use for more than a batch.
func (c Config) poolSize() int {
	if c.Noise.Pairing == "linear" {
		return c.Noise.PoolSize
	}
	return c.Train.BatchSize
}

func nextPool(ctx context.Context, r *reader, ch *chooser) (*pool, error) {
	b, images, err := r.next(ctx)
	if err != nil {
		return nil, err
	}
	p := &pool{position: b.Position, n: b.N, dim: len(images) / b.N, images: images, labels: b.Labels, texts: b.Texts,
		noise: make([]float32, len(images)), skipped: b.Skipped}
	start := time.Now()
	if err := ch.choose(p); err != nil {
		return nil, err
	}
	p.pairing = time.Since(start)
	return p, nil
}

// next waits for the next pool.
func (p *pools) next(ctx context.Context) (*pool, error) {
	select {
	case r := <-p.ready:
		return r.pool, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// close stops the reading and waits until it has stopped.
func (p *pools) close() {
	p.cancel()
	<-p.done
}
