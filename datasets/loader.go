package datasets

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Batch holds the examples of n consecutive positions, which may run from one
// epoch into the next. It belongs to the caller.
type Batch struct {
	Position int64 // of the first example
	N        int
	Pixels   []float32 // [N, C, H, W] in [−1, 1]
	Labels   []int64   // [N]; −1: none
	Keys     []string  // [N]
	Texts    []string  // [N]; captions
	Skipped  []Skip    // in order of position
}

// Loader makes batches ahead of time. Next must not be called concurrently.
type Loader struct {
	cancel context.CancelFunc
	data   *Dataset // nil: closed
	spare  *sync.Pool
	wg     sync.WaitGroup
	queue  chan *pending // in order of position
	head   *pending      // taken from the queue, not yet handed out
	bad    counter
	err    error // sticky
}

// pending is a batch that workers are filling.
type pending struct {
	batch   *Batch
	skipped [][]Skip
	errs    []error
	left    atomic.Int64  // examples to come
	done    chan struct{} // closed when none is left
}

// slot is the work of some examples of a batch, from … end−1: of one, where that is a
// picture to be decoded; of more, where it takes no longer than to be handed over.
type slot struct {
	to        *pending
	from, end int
}

// errClosed is what Next gives after Close.
var errClosed = errors.New("the loader is closed")

// Loader starts making batches of n examples from position from on, without end.
// Options.Prefetch batches are kept ready, each filled by Options.Workers
// goroutines; neither number changes what comes out. Close ends it.
func (d *Dataset) Loader(from int64, n int) *Loader {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loader{
		cancel: cancel, data: d, spare: &d.spare, queue: make(chan *pending, d.options.Prefetch),
		bad: counter{limit: d.options.BadLimit, seen: map[string]bool{}},
	}
	d.loaders.Add(1)
	if from < 0 || n < 1 || d.records == 0 {
		l.err = fmt.Errorf("a loader from position %d in batches of %d over %d records, want 0 or more, 1 or more, 1 or more", from, n, d.records)
		return l
	}
	slots := make(chan slot)
	l.wg.Go(func() { l.dispatch(ctx, d, slots, from, n) })
	for range d.options.Workers {
		l.wg.Go(func() {
			var r room
			for s := range slots {
				for i := s.from; i < s.end; i++ {
					s.to.fill(ctx, d, i, &r)
				}
			}
		})
	}
	return l
}

// dispatch queues batches and gives their slots to the workers, until cancelled.
func (l *Loader) dispatch(ctx context.Context, d *Dataset, slots chan<- slot, from int64, n int) {
	defer close(slots)
	for ; ; from += int64(n) {
		p := &pending{
			batch: &Batch{
				Position: from, N: n, Pixels: d.buffer(n * d.pixels()),
				Labels: make([]int64, n), Keys: make([]string, n), Texts: make([]string, n),
			},
			skipped: make([][]Skip, n), errs: make([]error, n), done: make(chan struct{}),
		}
		p.left.Store(int64(n))
		select {
		case l.queue <- p:
		case <-ctx.Done():
			return
		}
		each := 1
		if d.latents != nil {
			each = 8
		}
		for i := 0; i < n; i += each {
			d.readAhead(from + int64(i) + aheadExamples)
			select {
			case slots <- slot{p, i, min(i+each, n)}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// buffer is memory for a batch's pixels, every one of which will be written.
func (d *Dataset) buffer(size int) []float32 {
	if spare, ok := d.spare.Get().(*[]float32); ok && cap(*spare) >= size {
		return (*spare)[:size]
	}
	return make([]float32, size)
}

// Reuse gives a batch's Pixels back, which the caller must not use any more, to all
// loaders of the data set: one at the memory's speed is held up by fresh memory more than
// by anything else.
func (l *Loader) Reuse(b *Batch) {
	pixels := b.Pixels
	b.Pixels = nil
	l.spare.Put(&pixels)
}

// fill makes example i of the batch, with pictures in the room.
func (p *pending) fill(ctx context.Context, d *Dataset, i int, r *room) {
	size := d.pixels()
	e := Example{Pixels: p.batch.Pixels[i*size : (i+1)*size]}
	p.errs[i] = d.example(ctx, p.batch.Position+int64(i), &e, r)
	p.batch.Labels[i], p.batch.Keys[i], p.batch.Texts[i], p.skipped[i] = e.Label, e.Key, e.Text, e.Skipped
	if p.left.Add(-1) == 0 {
		close(p.done)
	}
}

// Next returns the next batch. When ctx ends first, its error is returned and
// nothing is lost: the next call waits for the same batch. Any other error is
// that of the batch's first bad position, and the loader stays failed with it.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if l.err != nil {
		return nil, l.err
	}
	if l.head == nil {
		select {
		case l.head = <-l.queue:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p := l.head
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.head = nil
	for i, err := range p.errs {
		if err == nil {
			err = l.bad.add(p.skipped[i])
		}
		if err != nil {
			l.err = fmt.Errorf("position %d: %w", p.batch.Position+int64(i), err)
			l.cancel()
			return nil, l.err
		}
		p.batch.Skipped = append(p.batch.Skipped, p.skipped[i]...)
	}
	return p.batch, nil
}

// Close stops the workers and waits for them. It may be called more than once.
func (l *Loader) Close() error {
	l.cancel()
	if l.data != nil && l.data.loaders.Add(-1) == 0 {
		l.data.interrupt() // or the workers would wait for a server as long as it takes
	}
	l.data = nil
	l.wg.Wait()
	if l.err == nil {
		l.err = errClosed
	}
	return nil
}
