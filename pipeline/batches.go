package pipeline

import (
	"context"
	"time"
)

// batches hands the training graph its micro-batches in order. Where the Stepper
// can, the next one is filled while the device computes this one: what a
// micro-batch holds is a function of its position alone.
type batches struct {
	feed  *feeder
	step  *Stepper
	more  func(ctx context.Context) (*pool, error) // the pool after the one at hand
	micro int                                      // images in a micro-batch
	batch int                                      // images in a step's batch

	ctx      context.Context // ends the wait for a pool
	cancel   context.CancelFunc
	position int64 // of the next micro-batch to fill
	end      int64 // where the run ends
	pool     *pool // the one at hand
	filling  chan filled
}

// filled is a micro-batch on its way to the device.
type filled struct {
	pool   *pool         // that it is from
	waited time.Duration // for that pool
	err    error
}

// startBatches begins at a position of [from, end).
func startBatches(ctx context.Context, c Config, feed *feeder, step *Stepper, more func(ctx context.Context) (*pool, error), from, end int64) *batches {
	b := &batches{feed: feed, step: step, more: more, micro: c.Train.MicroBatch, batch: c.Train.BatchSize, position: from, end: end}
	b.ctx, b.cancel = context.WithCancel(ctx)
	return b
}

// next puts the next micro-batch into the training graph's inputs, which no run
// may be reading, and returns the pool that it is from and how long the caller
// has waited for that pool.
func (b *batches) next() (p *pool, waited time.Duration, err error) {
	start := time.Now()
	if b.filling == nil {
		b.begin()
	}
	f := <-b.filling
	b.filling = nil
	waited = min(f.waited, time.Since(start))
	if f.err == nil {
		f.err = b.step.feed.Deliver() // waits for the device
	}
	if f.err != nil {
		return nil, waited, f.err
	}
	if b.step.ahead && b.position < b.end {
		b.begin()
	}
	return f.pool, waited, nil
}

// begin starts to fill the next micro-batch; not ahead, it has ended when begin
// returns. Until next has received it, the fields are its own.
func (b *batches) begin() {
	b.filling = make(chan filled, 1)
	fill := func(done chan<- filled) { done <- b.fill() }
	if b.step.ahead {
		go fill(b.filling)
		return
	}
	fill(b.filling)
}

func (b *batches) fill() (f filled) {
	if b.pool == nil || b.position >= b.pool.position+int64(b.pool.n) {
		start := time.Now()
		p, err := b.more(b.ctx)
		if f.waited = time.Since(start); err != nil {
			f.err = err
			return f
		}
		b.pool = p
	}
	f.pool = b.pool
	share := float64(b.micro) / float64(b.batch)
	// A step that has begun runs to its end even if the run is cancelled.
	f.err = b.feed.fill(context.WithoutCancel(b.ctx), b.step, b.pool, int(b.position-b.pool.position), b.micro, share)
	b.position += int64(b.micro)
	return f
}

// close ends what is under way.
func (b *batches) close() {
	b.cancel()
	if b.filling != nil {
		<-b.filling
	}
}
