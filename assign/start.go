package assign

import "math"

// Offsets of columns do not move the optimum, but they spoil the start: rows that vary less than the offsets all
// want the same few columns, and bid for them in small steps. Squared distances are of that kind, with |n_j|² as the
// offset of column j. Minima do not show an offset, since a few rows of large scale make them; the mean over all
// rows does, each row counted in units of its own deviation. [M] n = 1,024, squared L2: latents 2 × as fast, images
// of log-normal scale 30 ×.

const (
	sampled     = 64 // rows that decide whether there are offsets
	looked      = 32 // columns that tell the deviation of a row
	significant = 4  // times the variance over columns that independent entries would have
)

// columnOffsets estimates by how much columns differ on average, if they do; else it returns zeros. Where entries are
// not finite or too small it may return anything.
func (s *solver) columnOffsets() []float32 {
	if s.cols < sampled { // small problems are quick
		return s.zero
	}
	offset := make([]float32, s.cols)
	step := s.rows / sampled
	weight, expected := s.offsets(offset, func(i int) bool { return i%step == 0 })
	if !differ(offset, expected) {
		return s.zero
	}
	more, _ := s.offsets(offset, func(i int) bool { return i%step != 0 })
	if !divide(offset, weight+more) {
		return s.zero
	}
	return offset
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

// offsets adds up rows by column: see weigh. It returns what to divide the sums by, and the variance over columns that
// a sum of independent entries would have.
func (s *solver) offsets(sum []float32, with func(i int) bool) (weight, expected float64) {
	for i := range s.rows {
		if with(i) {
			w, variance := weigh(sum, s.row(int32(i)))
			weight += w
			expected += variance
		}
	}
	return weight, expected
}

// weigh adds a row, less its mean, to sum in units of its deviation, which a sample of its columns tells. It returns
// one over the unit, a power of two, and the variance of the row in that unit; 0 where the row does not vary.
func weigh(sum, row []float32) (w, variance float64) {
	step := max(1, len(row)/looked)
	// Sums above the first entry; four of each hide the latency of the additions.
	base := float64(row[0])
	var t0, t1, t2, t3, q0, q1, q2, q3, k float64
	j := 0
	for ; j+3*step < len(row); j += 4 * step {
		a, b, c, d := float64(row[j])-base, float64(row[j+step])-base, float64(row[j+2*step])-base, float64(row[j+3*step])-base
		t0, t1, t2, t3 = t0+a, t1+b, t2+c, t3+d
		q0, q1, q2, q3 = q0+float64(a*a), q1+float64(b*b), q2+float64(c*c), q3+float64(d*d)
		k += 4
	}
	for ; j < len(row); j += step {
		a := float64(row[j]) - base
		t0, q0, k = t0+a, q0+float64(a*a), k+1
	}
	mean := (t0 + t1 + (t2 + t3)) / k
	variance = (q0+q1+(q2+q3))/k - float64(mean*mean)
	if !(variance > 0x1p-200) || math.IsInf(variance, 0) { // nor where the unit would overflow
		return 0, 0
	}
	// The power of two above the square root, from the exponent of the variance.
	exponent := (int(math.Float64bits(variance)>>52) - 1022 + 1) >> 1
	w = math.Float64frombits(uint64(1023-exponent) << 52)
	accumulate(sum, row, float32(base+mean), float32(w))
	return w, float64(w * w * variance)
}
