package metrics

import (
	"fmt"
	"math"
)

// Features are N rows of D numbers, a row an image, kept as they came: float32
// rows take half of the memory, and every computation reads them as float64.
type Features struct {
	N, D int

	f32 []float32
	f64 []float64
}

// NewFeatures takes rows [n, d]; the slice is kept, not copied. Every number
// must be finite.
func NewFeatures[T float32 | float64](n, d int, rows []T) (*Features, error) {
	if n < 1 || d < 1 || len(rows) != n*d {
		return nil, fmt.Errorf("features: %d numbers for %d rows of %d, want rows × columns of them, one at least", len(rows), n, d)
	}
	if err := checkFinite(rows, d, 0); err != nil {
		return nil, err
	}
	f := &Features{N: n, D: d}
	switch rows := any(rows).(type) {
	case []float32:
		f.f32 = rows
	case []float64:
		f.f64 = rows
	}
	return f, nil
}

// checkFinite names the first number that is not finite, by row and column;
// from is the number of rows before these.
func checkFinite[T float32 | float64](rows []T, d int, from int64) error {
	for i, x := range rows {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("features: entry [%d, %d] is %v, want a finite number", from+int64(i/d), i%d, x)
		}
	}
	return nil
}

// Row copies row i into dst [D].
func (f *Features) Row(i int, dst []float64) {
	if f.f64 != nil {
		copy(dst, f.f64[i*f.D:(i+1)*f.D])
		return
	}
	for k, x := range f.f32[i*f.D : (i+1)*f.D] {
		dst[k] = float64(x)
	}
}

// Select copies the rows of the given numbers, in their order.
func (f *Features) Select(rows []int) *Features {
	s := &Features{N: len(rows), D: f.D}
	for _, i := range rows {
		if f.f64 != nil {
			s.f64 = append(s.f64, f.f64[i*f.D:(i+1)*f.D]...)
		} else {
			s.f32 = append(s.f32, f.f32[i*f.D:(i+1)*f.D]...)
		}
	}
	return s
}

// samePair refuses two sets that cannot be compared, or that are smaller than
// a metric needs.
func samePair(metric string, x, y *Features, least int) error {
	switch {
	case x.D != y.D:
		return fmt.Errorf("%s: rows of %d and of %d numbers: want features of one network", metric, x.D, y.D)
	case min(x.N, y.N) < least:
		return fmt.Errorf("%s: %d and %d rows: want at least %d of each", metric, x.N, y.N, least)
	}
	return nil
}
