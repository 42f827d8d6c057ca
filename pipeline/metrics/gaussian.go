package metrics

import (
	"fmt"
	"math"
	"slices"
)

// Gaussian gathers the mean and covariance of rows that come one after another.
// Sets can be gathered apart and merged. Within a set, how the rows are cut into
// calls of Add changes no bit.
type Gaussian struct {
	d       int
	n       int64     // rows in mean and scatter
	mean    []float64 // [D]
	scatter []float64 // [D, D], Σ (x − mean)(x − mean)ᵀ, upper triangle

	pending []float64 // rows that wait for a chunk to be full
	packed  []float64
}

// chunk is the number of rows that are added at once; one block of depth.
const chunk = depth

// NewGaussian gathers rows of d numbers.
func NewGaussian(d int) *Gaussian {
	return &Gaussian{d: d, mean: make([]float64, d), scatter: make([]float64, d*d)}
}

// N is the number of rows so far.
func (g *Gaussian) N() int64 { return g.n + int64(len(g.pending)/g.d) }

// Add takes rows [·, D]; every number must be finite.
func (g *Gaussian) Add(rows []float64) error {
	if len(rows)%g.d != 0 {
		return fmt.Errorf("statistics: %d numbers, want whole rows of %d", len(rows), g.d)
	}
	if err := checkFinite(rows, g.d, g.N()); err != nil {
		return err
	}
	for len(rows) > 0 {
		take := min(len(rows), chunk*g.d-len(g.pending))
		g.pending = append(g.pending, rows[:take]...)
		rows = rows[take:]
		if len(g.pending) == chunk*g.d {
			g.flush()
		}
	}
	return nil
}

// AddFeatures takes all rows of a set.
func (g *Gaussian) AddFeatures(f *Features) error {
	if f.D != g.d {
		return fmt.Errorf("statistics: rows of %d numbers, want %d", f.D, g.d)
	}
	row := make([]float64, f.D)
	for i := range f.N {
		f.Row(i, row)
		if err := g.Add(row); err != nil {
			return err
		}
	}
	return nil
}

// flush merges the waiting rows: the scatter about their own mean, and what
// lies between their mean and the one so far.
func (g *Gaussian) flush() {
	k := len(g.pending) / g.d
	if k == 0 {
		return
	}
	mean := make([]float64, g.d)
	for i := range k {
		for j, x := range g.pending[i*g.d : (i+1)*g.d] {
			mean[j] += x
		}
	}
	for j := range mean {
		mean[j] /= float64(k)
	}
	for i := range k {
		row := g.pending[i*g.d : (i+1)*g.d]
		for j := range row {
			row[j] -= mean[j]
		}
	}
	g.addScatter(g.pending, k)
	g.pending = g.pending[:0]
	g.shift(int64(k), mean)
}

// addScatter adds xᵀx for rows x [k, D] to the upper triangle.
func (g *Gaussian) addScatter(x []float64, k int) {
	need := (panels(g.d, tileRows)*tileRows + panels(g.d, tileCols)*tileCols) * chunk
	if g.packed == nil {
		g.packed = make([]float64, need)
	}
	a, b := g.packed[:panels(g.d, tileRows)*tileRows*k], g.packed[panels(g.d, tileRows)*tileRows*chunk:]
	packColumns(a, x, k, g.d, tileRows)
	packColumns(b, x, k, g.d, tileCols)
	// A unit of work is a band of rows against a band of columns, on or above
	// the diagonal.
	type unit struct{ i, j int }
	var units []unit
	for j := 0; j < g.d; j += band {
		for i := 0; i <= j; i += band {
			units = append(units, unit{i, j})
		}
	}
	parallel(len(units), func() struct{} { return struct{}{} }, func(n int, _ struct{}) {
		i, j := units[n].i, units[n].j
		multiply(a[i*k:], b[j*k:], k, min(band, g.d-i), min(band, g.d-j), g.scatter[i*g.d+j:], g.d, true, i, j)
	})
}

// shift adds n rows of another mean, whose scatter about it is there already
// (T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm
// for computing sample variances", COMPSTAT 1982, Eq. 2.1):
//
//	S += n_a·n_b/(n_a + n_b)·δδᵀ,  mean += n_b/(n_a + n_b)·δ,  δ = mean_b − mean_a
func (g *Gaussian) shift(n int64, mean []float64) {
	total := g.n + n
	factor := float64(g.n) * float64(n) / float64(total)
	delta := make([]float64, g.d)
	for j := range delta {
		delta[j] = mean[j] - g.mean[j]
	}
	if factor > 0 {
		for i, x := range delta {
			for j := i; j < g.d; j++ {
				g.scatter[i*g.d+j] += factor * x * delta[j]
			}
		}
	}
	for j := range delta {
		g.mean[j] += delta[j] * float64(n) / float64(total)
	}
	g.n = total
}

// Merge adds the rows of another set; o is not to be used afterwards.
func (g *Gaussian) Merge(o *Gaussian) error {
	if o.d != g.d {
		return fmt.Errorf("statistics: rows of %d and of %d numbers cannot be merged", g.d, o.d)
	}
	g.flush()
	o.flush()
	for i := range g.d {
		for j := i; j < g.d; j++ {
			g.scatter[i*g.d+j] += o.scatter[i*g.d+j]
		}
	}
	if o.n > 0 {
		g.shift(o.n, o.mean)
	}
	return nil
}

// Moments are the mean and covariance of a set. N is 0 where nobody says how
// many rows they come from, as in a .npz file.
type Moments struct {
	N    int64
	Mean []float64 // [D]
	Cov  []float64 // [D, D], divided by N − 1
}

// Moments ends the gathering so far; more rows may follow. Two rows at least
// make a covariance.
func (g *Gaussian) Moments() (Moments, error) {
	g.flush()
	if g.n < 2 {
		return Moments{}, fmt.Errorf("statistics: %d rows, want at least 2 for a covariance", g.n)
	}
	m := Moments{N: g.n, Mean: slices.Clone(g.mean), Cov: make([]float64, g.d*g.d)}
	for i := range g.d {
		for j := i; j < g.d; j++ {
			c := g.scatter[i*g.d+j] / float64(g.n-1)
			m.Cov[i*g.d+j], m.Cov[j*g.d+i] = c, c
		}
	}
	return m, nil
}

// Check refuses moments that are no Gaussian's: sizes that do not fit, numbers
// that are not finite, a covariance that is not symmetric.
func (m Moments) Check() error {
	d := len(m.Mean)
	if d == 0 || len(m.Cov) != d*d {
		return fmt.Errorf("statistics: a mean of %d numbers and a covariance of %d, want D and D × D", d, len(m.Cov))
	}
	for j, x := range m.Mean {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("statistics: entry [%d] of the mean is %v, want a finite number", j, x)
		}
	}
	largest := 0.0
	for i := range d {
		largest = max(largest, math.Abs(m.Cov[i*d+i]))
	}
	for i := range d {
		for j, x := range m.Cov[i*d : (i+1)*d] {
			switch {
			case math.IsNaN(x) || math.IsInf(x, 0):
				return fmt.Errorf("statistics: entry [%d, %d] of the covariance is %v, want a finite number", i, j, x)
			// Covariances computed in float32 elsewhere are symmetric to 7 digits.
			case math.Abs(x-m.Cov[j*d+i]) > 1e-5*largest:
				return fmt.Errorf("statistics: entries [%d, %d] and [%d, %d] of the covariance are %g and %g, want a symmetric matrix", i, j, j, i, x, m.Cov[j*d+i])
			}
		}
	}
	return nil
}
