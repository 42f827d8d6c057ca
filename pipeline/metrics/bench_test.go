package metrics

import (
	"math/rand/v2"
	"testing"
)

// The two halves of FID at Inception's 2,048 numbers: a row of statistics (×
// 50,000 a set), and the distance of two sets.
func BenchmarkStatistics2048(b *testing.B) {
	const d, rows = 2048, 256
	r := rand.New(rand.NewPCG(1, 0))
	x := make([]float64, rows*d)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	g := NewGaussian(d)
	for b.Loop() {
		if err := g.Add(x); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkFrechet2048(b *testing.B) {
	const d = 2048
	r := rand.New(rand.NewPCG(2, 0))
	var m [2]Moments
	for i := range m {
		g := NewGaussian(d)
		x := make([]float64, d)
		for range 3000 {
			for k := range x {
				x[k] = r.NormFloat64()
			}
			if err := g.Add(x); err != nil {
				b.Fatal(err)
			}
		}
		var err error
		if m[i], err = g.Moments(); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := Frechet(m[0], m[1]); err != nil {
			b.Fatal(err)
		}
	}
}
