package datasets

import (
	"fmt"
	"sort"
	"sync"

	"immiscible/datasets/rng"
)

// windowLaw is the order of storage that does not like to seek: a network, a disk
// that spins. In each epoch the shards stand in an order drawn by (seed, epoch),
// their records behind one another; that row is cut into windows of size records,
// and each window is shuffled. The first cut is drawn too, so that neighbours of
// one epoch are not always those of the next. At any time the records of at most
// two windows are being read, which lie in few shards, side by side.
//
// It is as lawful as the full shuffle: where slot k leads is a pure function of
// (seed, epoch, k), and every record comes once an epoch.
type windowLaw struct {
	seed  uint64
	size  int64
	sizes []int64 // records of each shard

	mu   sync.Mutex
	rows [2]*epochRow // of the epochs used last: loaders cross from one into the next
}

// epochRow is an epoch's shards.
type epochRow struct {
	epoch  int64
	shards []int   // in their order
	starts []int64 // starts[j] records stand before shards[j]
	phase  int64   // records of the first window, 1 … size
}

// at returns the shard and the record of slot k.
func (w *windowLaw) at(epoch, k, records int64) (shard int, record int64) {
	r := w.row(epoch)
	window, start, end := int64(0), int64(0), min(r.phase, records)
	if k >= end {
		window = (k-r.phase)/w.size + 1
		start = r.phase + (window-1)*w.size
		end = min(start+w.size, records)
	}
	stream := rng.New(w.seed, fmt.Sprintf("order/window/%d", epoch), uint64(window))
	k = start + int64(feistel(stream, uint64(end-start), uint64(k-start)))
	j := sort.Search(len(r.starts), func(j int) bool { return r.starts[j] > k }) - 1
	return r.shards[j], k - r.starts[j]
}

// row makes an epoch's row, or takes it from the two made last.
func (w *windowLaw) row(epoch int64) *epochRow {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.rows {
		if r != nil && r.epoch == epoch {
			return r
		}
	}
	r := &epochRow{epoch: epoch, phase: int64(1 + rng.New(w.seed, "order/phase", uint64(epoch)).Intn(int(w.size)))}
	next := int64(0)
	for j := range w.sizes {
		s := int(feistel(rng.New(w.seed, "order/shards", uint64(epoch)), uint64(len(w.sizes)), uint64(j)))
		r.shards, r.starts = append(r.shards, s), append(r.starts, next)
		next += w.sizes[s]
	}
	w.rows[0], w.rows[1] = r, w.rows[0]
	return r
}
