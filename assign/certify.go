package assign

import "math"

// promised is the part of Σ|chosen entries| by which a total may exceed the optimum; above tolerance, a tenth of it,
// it is repaired.
const (
	promised  = 1e-6
	tolerance = promised / 10
)

// certify bounds the excess over the optimum: by weak duality it is at most the sum over rows of
// c[i, colOf[i]] − v[colOf[i]] − u[i], evaluated in float64. A sum above tolerance is repaired in float64.
func (s *solver) certify() {
	over := make([]float64, s.rows) // added up in order, so that the number of cores does not matter
	parallel(s.rows, len(s.c), 1, func(from, to int) {
		for i := from; i < to; i++ {
			c, j := s.row(int32(i)), s.colOf[i]
			over[i] = float64(c[j]) - float64(s.v[j]) - minDiff(c, s.v)
		}
	})
	var excess, chosen float64
	for i, j := range s.colOf {
		excess += over[i]
		chosen += math.Abs(float64(s.row(int32(i))[j]))
	}
	if excess > tolerance*chosen {
		s.repair()
	}
}

// repair solves again in float64 from the duals at hand: it frees every row that is not tight and augments for
// each. A column that is freed in a rectangular problem may stay free, so its v goes back to 0, which can loosen
// other rows in turn.
func (s *solver) repair() {
	s.v64 = s.duals()
	v := s.v64
	u := make([]float64, s.rows)
	var loose, free []int32
	for i, j := range s.colOf {
		c := s.row(int32(i))
		u[i] = minDiff(c, s.v)
		if float64(c[j])-v[j] > u[i] {
			loose = append(loose, int32(i))
		}
	}
	for len(loose) > 0 {
		i := loose[len(loose)-1]
		loose = loose[:len(loose)-1]
		j := s.colOf[i]
		if j < 0 {
			continue
		}
		s.rowOf[j], s.colOf[i] = -1, -1
		free = append(free, i)
		if s.rows == s.cols {
			continue
		}
		v[j] = 0
		for k := range s.rows {
			if x := float64(s.row(int32(k))[j]); x < u[k] {
				u[k] = x
				loose = append(loose, int32(k))
			}
		}
	}
	d := make([]float64, s.cols)
	done := make([]bool, s.cols)
	for _, i := range free {
		s.augment64(i, d, done)
	}
}

// augment64 is augment in float64. d and done are scratch, [cols].
func (s *solver) augment64(f int32, d []float64, done []bool) {
	v := s.v64
	for j := range d {
		d[j] = math.Inf(1)
	}
	clear(done)
	var passed []int32
	i, h := f, 0.0
	var length float64
	var at int32
	for {
		at, length = -1, math.Inf(1)
		for j, x := range s.row(i) {
			if done[j] {
				continue
			}
			if y := float64(x) - v[j] - h; y < d[j] {
				d[j], s.pred[j] = y, i
			}
			if d[j] < length || d[j] == length && s.rowOf[j] < 0 && s.rowOf[at] >= 0 { // free ones first among equals
				at, length = int32(j), d[j]
			}
		}
		i = s.rowOf[at]
		if i < 0 {
			break
		}
		h = float64(s.row(i)[at]) - v[at] - length
		done[at] = true
		passed = append(passed, at)
	}
	for _, j := range passed {
		v[j] += min(d[j]-length, 0)
	}
	s.shift(f, at)
}

// narrow returns the cost matrix with those entries cut down that are too large for any optimal assignment, or nil
// where float64 resolves the chosen entries beside the largest one as it is, or nothing can be cut. An assignment
// with entry [i, j] costs at least c[i,j] plus the minima of the other rows, so it is not optimal when that is
// above the total at hand. Cut entries stay clearly above this bound: equality would let them in.
func (s *solver) narrow() []float32 {
	var chosen, spread float64
	for i, j := range s.colOf {
		chosen += math.Abs(float64(s.row(int32(i))[j]))
	}
	if float64(s.rows)*s.largest*0x1p-50 <= tolerance*chosen {
		return nil
	}
	least := make([]float64, s.rows)
	for i, j := range s.colOf {
		c := s.row(int32(i))
		least[i] = minDiff(c, s.zero)
		spread += float64(c[j]) - least[i]
	}
	if spread == 0 {
		return nil // every row has its minimum
	}
	narrowed := make([]float32, len(s.c))
	var largest float32
	for k, x := range s.c {
		narrowed[k] = min(x, float32(least[k/s.cols]+2*spread+1e-3*chosen))
		largest = max(largest, narrowed[k], -narrowed[k])
	}
	if float64(largest) > s.largest/2 {
		return nil // as narrow as it gets
	}
	return narrowed
}

// duals returns v in float64.
func (s *solver) duals() []float64 {
	if s.v64 != nil {
		return s.v64
	}
	v := make([]float64, s.cols)
	for j, x := range s.v {
		v[j] = float64(x)
	}
	return v
}

// scaled returns factor · cost; a power of two keeps every digit.
func scaled(cost []float32, factor float32) []float32 {
	out := make([]float32, len(cost))
	for k, x := range cost {
		out[k] = x * factor
	}
	return out
}
