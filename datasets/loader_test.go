package datasets

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLoaderLaw: the same batches, bit for bit, for any workers and prefetch, from
// any position, as examples asked for one by one; across the ends of epochs and
// over bad records.
func TestLoaderLaw(t *testing.T) {
	path := shardOf(t, t.TempDir(), "s.tar", 23, func(i int, picture []byte) []byte {
		if i%6 == 5 {
			return nil
		}
		return picture
	})
	options := Options{Sources: []string{path}, Seed: 9, Flip: true, Crop: CropRandom, BadRecords: BadRecordsSkip}
	reference := mustOpen(t, options)
	for _, workers := range []int{1, 4} {
		for _, prefetch := range []int{1, 5} {
			options.Workers, options.Prefetch = workers, prefetch
			d := mustOpen(t, options)
			for _, from := range []int64{0, 1, 22, 23, 64} {
				for _, n := range []int{1, 7, 23, 50} {
					l := d.Loader(from, n)
					position := from
					for range 4 {
						b, err := l.Next(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						if b.Position != position || b.N != n {
							t.Fatalf("batch at %d of %d, want at %d of %d", b.Position, b.N, position, n)
						}
						var skipped []Skip
						for i := range n {
							e, err := reference.Example(t.Context(), position)
							if err != nil {
								t.Fatal(err)
							}
							if !slices.Equal(b.Pixels[i*9:(i+1)*9], e.Pixels) || b.Keys[i] != e.Key || b.Labels[i] != e.Label || b.Texts[i] != e.Text {
								t.Fatalf("workers %d, prefetch %d, from %d: position %d differs", workers, prefetch, from, position)
							}
							skipped = append(skipped, e.Skipped...)
							position++
						}
						if !slices.Equal(b.Skipped, skipped) {
							t.Fatalf("skipped %v, want %v", b.Skipped, skipped)
						}
					}
					l.Close()
				}
			}
		}
	}
}

// TestLoaderErrors: the error of the first bad position, at its batch and not
// before, for any number of workers; and it stays.
func TestLoaderErrors(t *testing.T) {
	path := shardOf(t, t.TempDir(), "s.tar", 40, func(i int, picture []byte) []byte {
		if i%10 == 7 {
			return nil
		}
		return picture
	})
	first := int64(-1) // the first position whose record is bad
	var bad []int64
	d := mustOpen(t, Options{Sources: []string{path}, Seed: 2})
	for position := range int64(40) {
		row, err := d.Order(position)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(row.Key, "7") {
			bad = append(bad, position)
		}
	}
	first = bad[0]
	for _, workers := range []int{1, 4} {
		d := mustOpen(t, Options{Sources: []string{path}, Seed: 2, Workers: workers, Prefetch: 4})
		l := d.Loader(0, 3)
		for batch := int64(0); ; batch++ {
			_, err := l.Next(t.Context())
			if batch < first/3 {
				if err != nil {
					t.Fatalf("batch %d: %v", batch, err)
				}
				continue
			}
			var fault *Fault
			if !errors.As(err, &fault) || !strings.HasPrefix(err.Error(), fmt.Sprintf("position %d: s.tar: record", first)) {
				t.Fatalf("workers %d: batch %d gives %v, want the error of position %d", workers, batch, err, first)
			}
			if _, again := l.Next(t.Context()); again != err {
				t.Errorf("the next call gives %v", again)
			}
			break
		}
		l.Close()

		// The limit counts distinct records: the third bad one is one too many.
		d = mustOpen(t, Options{Sources: []string{path}, Seed: 2, Workers: workers, BadRecords: BadRecordsSkip, BadLimit: 2})
		l = d.Loader(0, 1)
		for position := int64(0); position <= bad[2]; position++ {
			_, err := l.Next(t.Context())
			if (err != nil) != (position == bad[2]) || err != nil && !strings.Contains(err.Error(), "3 bad records, more than bad_limit 2") {
				t.Fatalf("position %d: error %v; bad ones are %v", position, err, bad)
			}
		}
		l.Close()

		// Four distinct bad records pass a limit of four for ever.
		d = mustOpen(t, Options{Sources: []string{path}, Seed: 2, Workers: workers, BadRecords: BadRecordsSkip, BadLimit: 4})
		l = d.Loader(0, 40)
		for range 3 {
			if b, err := l.Next(t.Context()); err != nil || len(b.Skipped) != 4 {
				t.Fatal(err)
			}
		}
		l.Close()
	}
	for _, l := range []*Loader{d.Loader(-1, 4), d.Loader(0, 0)} {
		if _, err := l.Next(t.Context()); err == nil {
			t.Error("an impossible loader gives a batch")
		}
		l.Close()
	}
}

// TestLoaderCancel: a cancelled wait loses nothing; a closed loader says so.
func TestLoaderCancel(t *testing.T) {
	d := mustOpen(t, Options{})
	l := d.Loader(0, 8)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	want := mustOpen(t, Options{}).Loader(0, 8)
	defer want.Close()
	for range 30 {
		for range 3 { // may give a batch that is ready, or the context's error
			if b, err := l.Next(cancelled); err == nil {
				if w, _ := want.Next(t.Context()); !slices.Equal(b.Keys, w.Keys) {
					t.Fatal("a batch was lost")
				}
			} else if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if w, _ := want.Next(t.Context()); !slices.Equal(b.Keys, w.Keys) {
			t.Fatal("a batch was lost")
		}
	}
	l.Close()
	l.Close()
	if _, err := l.Next(t.Context()); err == nil {
		t.Error("a closed loader gives a batch")
	}
}

// TestLoaderBounds: without a reader, workers make the prefetched batches and
// stop; after Close no goroutine is left. synctest fails the test if one is.
func TestLoaderBounds(t *testing.T) {
	path := shardOf(t, t.TempDir(), "s.tar", 10, nil)
	d := mustOpen(t, Options{Sources: []string{path}, Workers: 3, Prefetch: 2})
	synctest.Test(t, func(t *testing.T) {
		for _, reads := range []int{0, 1, 3} {
			l := d.Loader(0, 4)
			for range reads {
				if _, err := l.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait() // until every goroutine is blocked
			if ready := len(l.queue); ready != 2 {
				t.Errorf("after %d reads %d batches are queued, want 2", reads, ready)
			}
			l.Close()
		}
	})
	before := runtime.NumGoroutine()
	for range 20 {
		d.Loader(0, 4).Close()
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func BenchmarkLoader(b *testing.B) {
	d := mustOpen(b, Options{Pad: 2, Flip: true, NumClasses: 10, Seed: 1})
	l := d.Loader(0, 128)
	defer l.Close()
	for b.Loop() {
		if _, err := l.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*128/b.Elapsed().Seconds(), "images/s")
}
