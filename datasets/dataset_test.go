package datasets

import (
	"context"
	"testing"
)

func TestEmbeddedShard(t *testing.T) {
	d, err := Open(t.Context(), Options{Pad: 2, Flip: true, NumClasses: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Len() != 10000 || d.Channels() != 1 || d.Resolution() != 32 || len(d.ClassNames()) != 10 {
		t.Fatalf("%d records, %d channels, resolution %d, classes %v", d.Len(), d.Channels(), d.Resolution(), d.ClassNames())
	}
	l := d.Loader(9990, 32)
	defer l.Close()
	b, err := l.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(b.Keys, b.Labels)
}

func BenchmarkLoader(b *testing.B) {
	d, err := Open(b.Context(), Options{Pad: 2, Flip: true, NumClasses: 10, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	l := d.Loader(0, 128)
	defer l.Close()
	for b.Loop() {
		if _, err := l.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*128/b.Elapsed().Seconds(), "images/s")
}
