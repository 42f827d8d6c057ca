package datasets

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// shardsOf writes tars of the given numbers of records and returns their paths.
func shardsOf(t testing.TB, sizes ...int) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, n := range sizes {
		paths = append(paths, shardOf(t, dir, fmt.Sprintf("w-%03d.tar", i), n, nil))
	}
	return paths
}

// TestWindowLaw: over shards, windows, seeds and epochs, every record once an
// epoch; no record further from its place in the row of shards than the window;
// and slot k the same whether it is asked for first or last, in any epoch.
func TestWindowLaw(t *testing.T) {
	for _, sizes := range [][]int64{{1}, {7}, {5, 1, 9}, {40, 40, 40, 40}, {3, 1, 4, 1, 5, 9, 2, 6}} {
		records := int64(0)
		for _, n := range sizes {
			records += n
		}
		for _, window := range []int64{1, 2, 7, 40, records, 10 * records} {
			for _, seed := range []uint64{0, 5, math.MaxUint64} {
				for _, epoch := range []int64{0, 1, 2, 1 << 40} {
					law := &windowLaw{seed: seed, size: window, sizes: sizes}
					seen := map[[2]int64]bool{}
					var order [][2]int64
					for k := range records {
						shard, i := law.at(epoch, k, records)
						at := [2]int64{int64(shard), i}
						if i < 0 || i >= sizes[shard] || seen[at] {
							t.Fatalf("%v, window %d, seed %d, epoch %d: slot %d gives record %v, out of range or twice", sizes, window, seed, epoch, k, at)
						}
						seen[at] = true
						order = append(order, at)
						r := law.row(epoch)
						place := r.starts[slices.Index(r.shards, shard)] + i
						if place-k >= window || k-place >= window {
							t.Fatalf("%v, window %d: slot %d holds record %d of the row", sizes, window, k, place)
						}
					}
					fresh := &windowLaw{seed: seed, size: window, sizes: sizes}
					for k := records - 1; k >= 0; k-- {
						fresh.at(epoch+1+k%3, 0, records) // other epochs in between
						shard, i := fresh.at(epoch, k, records)
						if order[k] != [2]int64{int64(shard), i} {
							t.Fatalf("slot %d depends on what was asked before", k)
						}
					}
				}
			}
		}
	}
}

// TestWindowMixes: the first shard is each equally often, and so is each record of a
// window: chi-square's mean plus six standard deviations.
func TestWindowMixes(t *testing.T) {
	const shards, each, epochs = 6, 10, 6000
	sizes := []int64{each, each, each, each, each, each}
	law := &windowLaw{seed: 3, size: each, sizes: sizes}
	var first [shards * each]float64
	for epoch := range int64(epochs) {
		shard, i := law.at(epoch, 0, shards*each)
		first[int64(shard)*each+i]++
	}
	// Slot 0 is one of the first phase records of the first shard: lower ones more often.
	var byShard [shards]float64
	for at, n := range first {
		byShard[at/each] += n
	}
	chi, mean := 0.0, float64(epochs)/shards
	for _, n := range byShard {
		chi += (n - mean) * (n - mean) / mean
	}
	if free := float64(shards - 1); chi > free+6*math.Sqrt(2*free) {
		t.Errorf("first shards: chi-square %.0f with %.0f degrees of freedom", chi, free)
	}
	var last [each]float64 // P(record i first) = Σ over phases p > i of 1/(each·p)
	for at, n := range first {
		last[at%each] += n
	}
	chi = 0
	for i, n := range last {
		p := 0.0
		for phase := i + 1; phase <= each; phase++ {
			p += 1 / float64(each*phase)
		}
		chi += (n - epochs*p) * (n - epochs*p) / (epochs * p)
	}
	if free := float64(each - 1); chi > free+6*math.Sqrt(2*free) {
		t.Errorf("first records: chi-square %.0f with %.0f degrees of freedom", chi, free)
	}
}

// keysOf reads n examples' shards and keys from a position on.
func keysOf(t *testing.T, d *Dataset, from int64, batch, n int) []string {
	t.Helper()
	l := d.Loader(from, batch)
	defer l.Close()
	var keys []string
	for len(keys) < n {
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, b.Keys...)
	}
	return keys[:n]
}

// TestWindowLoader: through the loader, over workers, prefetch and shards, the same
// sequence; resumed at any position, mid-epoch of epoch 1 among them, the rest of it.
func TestWindowLoader(t *testing.T) {
	paths := shardsOf(t, 9, 4, 11)
	const records, total = 24, 80
	for _, window := range []int{0, 1, 5, 24} {
		for _, seed := range []uint64{0, 8} {
			var want []string
			for _, workers := range []int{1, 3} {
				for _, prefetch := range []int{1, 4} {
					d := mustOpen(t, Options{Sources: paths, Seed: seed, Window: window, Workers: workers, Prefetch: prefetch})
					all := keysOf(t, d, 0, 7, total)
					if want == nil {
						want = all
					}
					if !slices.Equal(all, want) {
						t.Fatalf("window %d, workers %d, prefetch %d: another sequence", window, workers, prefetch)
					}
					for _, from := range []int64{1, records - 1, records, records + 11, 2*records + 5} {
						if got := keysOf(t, d, from, 5, total-int(from)); !slices.Equal(got, want[from:]) {
							t.Fatalf("window %d: resumed at %d, another sequence", window, from)
						}
					}
				}
			}
		}
	}
}

// TestWindowReadsFewShards: between two slots that are a window apart only the shards
// that hold the two windows are touched, whatever the number of shards.
func TestWindowReadsFewShards(t *testing.T) {
	paths := shardsOf(t, 10, 10, 10, 10, 10, 10, 10, 10)
	d := mustOpen(t, Options{Sources: paths, Window: 10})
	for from := int64(0); from+10 <= int64(d.Len()); from++ {
		touched := map[string]bool{}
		for k := range int64(10) {
			row, err := d.Order(from + k)
			if err != nil {
				t.Fatal(err)
			}
			touched[row.Shard] = true
		}
		if len(touched) > 4 { // two windows of 10 over shards of 10: at most 2 + 1 + 1
			t.Fatalf("10 slots from %d on touch %d shards", from, len(touched))
		}
	}
}

func BenchmarkWindow(b *testing.B) {
	sizes := make([]int64, 1000)
	for i := range sizes {
		sizes[i] = 1281
	}
	law := &windowLaw{seed: 1, size: 1 << 15, sizes: sizes}
	for k := int64(0); b.Loop(); k++ {
		law.at(0, k%1281000, 1281000)
	}
}
