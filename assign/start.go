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
	if !differ(offset, expected) {
		return
	}
	offset, weight, _ := s.offsets(1)
	if !divide(offset, weight) {
		return
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

// differ reports whether sums of rows vary over columns by more than independent entries would.
func differ(sum []float32, expected float64) bool {
	var mean, square float64
	for _, a := range sum {
		mean += float64(a) / float64(len(sum))
	}
	for _, a := range sum {
		square += float64((float64(a) - mean) * (float64(a) - mean))
	}
	return square > significant*expected*float64(len(sum))
}

// divide makes offsets of sums. It reports false where an entry that no sample met is out of all proportion.
func divide(sum []float32, weight float64) bool {
	for j, a := range sum {
		sum[j] = float32(float64(a) / weight)
	}
	return notFinite(sum) < 0
}

// offsets adds up every step-th row by column: see weigh. It returns the sums, what to divide them by, and the
// variance over columns that a sum of independent entries would have.
func (s *solver) offsets(step int) (sum []float32, weight, expected float64) {
	sum = make([]float32, s.cols)
	for i := 0; i < s.rows; i += step {
		w, variance := weigh(sum, s.row(int32(i)))
		weight += w
		expected += variance
	}
	return sum, weight, expected
}

// weigh adds a row, less its mean, to sum in units of its deviation, which a sample of its columns tells. It returns
// one over the unit, a power of two, and the variance of the row in that unit; 0 where the row does not vary.
func weigh(sum, row []float32) (w, variance float64) {
	var mean, square, k float64
	step := max(1, len(row)/sampled)
	for j := 0; j < len(row); j += step {
		mean += float64(row[j])
		k++
	}
	mean /= k
	for j := 0; j < len(row); j += step {
		square += float64((float64(row[j]) - mean) * (float64(row[j]) - mean))
	}
	if !(square > 0x1p-200) || math.IsInf(square, 0) { // nor where the unit would overflow
		return 0, 0
	}
	_, exponent := math.Frexp(math.Sqrt(square / k))
	w = math.Ldexp(1, -exponent)
	accumulate(sum, row, float32(mean), float32(w))
	return w, float64(w * w * square / k)
}
