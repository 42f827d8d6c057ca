package assign

import "math"

// Offsets of columns do not move the optimum, but they spoil the start: rows that vary less than the offsets all
// want the same few columns, and bid for them in small steps. Squared distances are of that kind, with |n_j|² as the
// offset of column j. Minima do not show an offset, since a few rows of large scale make them; the mean over all
// rows does, each row counted in units of its own deviation. [M] n = 1,024, squared L2: latents 2 × as fast, images
// of log-normal scale 30 ×.

const (
	sampled     = 64 // rows, and columns, that decide whether there are offsets
	significant = 4  // times the variance over columns that independent entries would have
)

// allowForOffsets lets v start at the minima of the columns after each row has had its minimum above the offsets
// taken off, if columns have offsets.
func (s *solver) allowForOffsets() {
	if s.cols < sampled || s.largest < 0x1p-90 { // small problems are quick, and small units overflow
		return
	}
	offset, _, expected := s.offsets(s.rows / sampled)
	var mean, square float64
	for _, a := range offset {
		mean += float64(a) / float64(s.cols)
	}
	for _, a := range offset {
		square += float64((float64(a) - mean) * (float64(a) - mean))
	}
	if !(square > significant*expected*float64(s.cols)) {
		return
	}
	offset, weight, _ := s.offsets(1)
	for j, a := range offset {
		offset[j] = float32(float64(a) / weight)
	}
	if notFinite(offset) >= 0 {
		return // an entry that no sample met is out of all proportion
	}
	for j := range s.v {
		s.v[j] = inf
	}
	for i := range s.rows {
		c := s.row(int32(i))
		u, _ := min2(c, offset)
		lower(s.v, c, u)
	}
}

// offsets adds up every step-th row by column, in units of the row's deviation, which a sample of its columns tells.
// The unit is rounded to a power of two. It returns the sums, what to divide them by, and the variance over columns
// that a sum of independent entries would have.
func (s *solver) offsets(step int) (sum []float32, weight, expected float64) {
	sum = make([]float32, s.cols)
	for i := 0; i < s.rows; i += step {
		c := s.row(int32(i))
		var mean, square, k float64
		for j := 0; j < s.cols; j += s.cols / sampled {
			mean += float64(c[j])
			k++
		}
		mean /= k
		for j := 0; j < s.cols; j += s.cols / sampled {
			square += float64((float64(c[j]) - mean) * (float64(c[j]) - mean))
		}
		if square == 0 {
			continue
		}
		_, exponent := math.Frexp(math.Sqrt(square / k))
		w := math.Ldexp(1, max(-100, -exponent))
		accumulate(sum, c, float32(mean), float32(w))
		weight += w
		expected += float64(w * w * square / k)
	}
	return sum, weight, expected
}
