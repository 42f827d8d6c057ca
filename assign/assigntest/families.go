package assigntest

import "math"

// Family makes cost matrices of one kind.
type Family struct {
	Name string
	Make func(src *Source, rows, cols int) []float32 // [rows, cols]
}

// Families lists the kinds on which solvers differ: continuous, tied, structured, badly scaled.
func Families() []Family {
	return []Family{
		{"uniform", entries(func(src *Source) float64 { return src.Float64() })},
		{"gaussian", entries(func(src *Source) float64 { return src.Normal() })},
		{"ties", entries(func(src *Source) float64 { return float64(src.Uint64() % 4) })},
		{"integer", entries(func(src *Source) float64 { return float64(src.Uint64()%2001) - 1000 })},
		{"large offset", entries(func(src *Source) float64 { return 1e6 + src.Float64() })},
		{"sparse zeros", entries(func(src *Source) float64 { return max(0, src.Float64()-0.4) })},
		{"denormal", entries(func(src *Source) float64 { return 1e-40 * src.Normal() })},
		{"full range", entries(func(src *Source) float64 { return 3.4e38 * (2*src.Float64() - 1) })},
		{"one value forbidden", entries(func(src *Source) float64 {
			if src.Float64() < 0.4 {
				return math.MaxFloat32
			}
			return src.Float64()
		})},
		{"all magnitudes", entries(func(src *Source) float64 { return math.Exp2(180*src.Float64() - 90) })},
		{"few allowed", fewAllowed},
		{"heavy rows", heavyRows},
		{"row and column offsets", offsets},
		{"Machol–Wien", func(_ *Source, rows, cols int) []float32 {
			return fill(rows, cols, func(i, j int) float64 { return float64((i + 1) * (j + 1)) })
		}},
		{"low rank", lowRank},
		{"geometric", geometric},
		{"near copies", nearCopies},
		{"classes", classes},
	}
}

// fill makes a matrix from a formula.
func fill(rows, cols int, entry func(i, j int) float64) []float32 {
	cost := make([]float32, rows*cols)
	for k := range cost {
		cost[k] = float32(entry(k/cols, k%cols))
	}
	return cost
}

// entries makes matrices of independent entries.
func entries(draw func(src *Source) float64) func(*Source, int, int) []float32 {
	return func(src *Source, rows, cols int) []float32 {
		return fill(rows, cols, func(_, _ int) float64 { return draw(src) })
	}
}

// normals draws n standard normals.
func normals(src *Source, n int) []float64 {
	z := make([]float64, n)
	for k := range z {
		z[k] = src.Normal()
	}
	return z
}

// fewAllowed leaves each row its anti-diagonal entry and some three others, and forbids the rest by the largest
// float32: rows with one choice push duals to where float64 cannot resolve the other entries.
func fewAllowed(src *Source, rows, cols int) []float32 {
	return fill(rows, cols, func(i, j int) float64 {
		if i+j != cols-1 && src.Float64()*float64(cols) > 3 {
			return math.MaxFloat32
		}
		return src.Float64()
	})
}

// heavyRows scales each row by a log-normal of σ = 3.
func heavyRows(src *Source, rows, cols int) []float32 {
	scale := normals(src, rows)
	return fill(rows, cols, func(i, _ int) float64 { return math.Exp(3*scale[i]) * src.Normal() })
}

// offsets adds large constants to rows and columns, which do not move the optimum.
func offsets(src *Source, rows, cols int) []float32 {
	a, b := normals(src, rows), normals(src, cols)
	return fill(rows, cols, func(i, j int) float64 { return 1000*a[i] + 1000*b[j] + src.Normal() })
}

// lowRank is an inner product of vectors of two dimensions.
func lowRank(src *Source, rows, cols int) []float32 {
	a, b := normals(src, 2*rows), normals(src, 2*cols)
	return fill(rows, cols, func(i, j int) float64 { return -a[2*i]*b[2*j] - a[2*i+1]*b[2*j+1] })
}

// geometric is the distance between points of the unit square.
func geometric(src *Source, rows, cols int) []float32 {
	a, b := make([]float64, 2*rows), make([]float64, 2*cols)
	for _, p := range [][]float64{a, b} {
		for k := range p {
			p[k] = src.Float64()
		}
	}
	return fill(rows, cols, func(i, j int) float64 { return math.Hypot(a[2*i]-b[2*j], a[2*i+1]-b[2*j+1]) })
}

// nearCopies matches points with hardly moved copies of themselves: the optimum is smaller than the entries by
// ten orders of magnitude, below the resolution of float32 duals.
func nearCopies(src *Source, rows, cols int) []float32 {
	a := normals(src, 3*max(rows, cols))
	return fill(rows, cols, func(i, j int) float64 {
		j = cols - 1 - j
		var sum float64
		for k := range 3 {
			d := 100 * (a[3*i+k] - a[3*j+k]) * (1 + 1e-3*float64(k))
			sum += d * d
		}
		return sum + 1e-6*src.Float64()
	})
}

// classes forbids most pairs by a large penalty, as class-aware pairing in one matrix would.
func classes(src *Source, rows, cols int) []float32 {
	return fill(rows, cols, func(i, j int) float64 {
		if i%3 != j%3 {
			return 1e8
		}
		return src.Normal()
	})
}
