package assign

import (
	"fmt"
	"math"
)

// Exact linear assignment after R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and
// sparse linear assignment problems", Computing 38 (1987) 325–340, on float32 costs.
//
// Legend: u[i] = min_j(c[i,j] − v[j]) is the dual of row i and is never stored; v[j] is the dual of column j, a
// price with its sign turned. v only ever falls. A row is tight when it holds a column that attains u[i]; a
// matching of tight rows is optimal among those that cover the same columns, and optimal outright when every
// column without a row has v[j] = 0 and no v is above 0 (square problems have no such column).
//
// Reduced costs are float32, whose rounding may cost a little optimality; certify.go measures how much in
// float64 and repairs it where it is more than tolerance allows.

// solver is one problem while it is solved.
type solver struct {
	c          []float32 // [rows, cols]
	rows, cols int
	v          []float32 // [cols]; −Inf while an augmentation has the column behind it
	rowOf      []int32   // [cols] the row that holds the column, −1 for none
	colOf      []int32   // [rows] the inverse
	largest    float64   // largest |c|

	d       []float32 // [cols] shortest path to the column; +Inf once it is behind us
	pred    []int32   // [cols] the row from which that path comes
	zero    []float32 // [cols]
	v64     []float64 // [cols] v after a repair in float64, else nil
	scanned []scan
}

// scan is a column that an augmentation has passed through.
type scan struct {
	col     int32
	v, dist float32
}

// Linear solves the assignment problem exactly: it gives every row its own column so that the sum of
// cost[i*cols+perm[i]] is smallest. cost is [rows, cols], rows ≤ cols. The total exceeds the optimum by at most
// 1e-6 · Σ|chosen entries|. (It may by more where large negative entries stand unused beside chosen ones that are
// 2^−30 of their size or less: float64 does not resolve these. Large positive ones, penalties up to the largest
// float32, do no harm, except that beside one above 2^96 entries below 2^−94 lose digits.) Among equal optima it
// takes the diagonal where that is cheap: a constant matrix gives the identity. It refuses an empty or misshapen
// matrix and names the first entry that is not finite.
func Linear(cost []float32, rows, cols int) (perm []int, err error) {
	switch {
	case rows < 1 || cols < 1:
		return nil, fmt.Errorf("assign: cost matrix is %d × %d, want at least 1 × 1", rows, cols)
	case rows > cols:
		return nil, fmt.Errorf("assign: cost matrix has %d rows for %d columns, want rows ≤ columns: transpose it", rows, cols)
	case len(cost)/cols != rows || len(cost)%cols != 0:
		return nil, fmt.Errorf("assign: cost matrix has %d entries, want %d × %d", len(cost), rows, cols)
	}
	if rows == cols && rows >= sparseFrom {
		if perm, _, ok, err := sparseLinear(kept(cost, rows), rows, blockRows(rows), promised/2); ok || err != nil {
			return perm, err
		}
	}
	s, err := solve(cost, rows, cols)
	if err != nil {
		return nil, err
	}
	perm = make([]int, rows)
	for i, j := range s.colOf {
		perm[i] = int(j)
	}
	return perm, nil
}

// solve returns the solver with the assignment and the duals that prove it. Where the entries span more digits
// than float64 has, it solves again without those that no optimal assignment can use.
func solve(cost []float32, rows, cols int) (*solver, error) {
	s, err := newSolver(cost, rows, cols)
	if err != nil {
		return nil, err
	}
	if s.largest > 0x1p96 { // so that no difference or path length overflows
		s.c = scaled(cost, 0x1p-32)
		s, _ = newSolver(s.c, rows, cols)
	}
	s.run()
	for c := s.narrow(); c != nil; c = s.narrow() {
		s, _ = newSolver(c, rows, cols)
		s.run()
	}
	return s, nil
}

// newSolver starts v of a square problem at the minima of the columns after each row has had its own minimum taken
// off. (Jonker and Volgenant reduce columns only; then rows of large scale or offset set every v, and the solve is
// up to a hundred times as long.) Where columns differ by offsets, these are taken off a row before its minimum: see
// start.go. In a rectangular problem v starts at 0, where the columns that stay free must end. The same pass finds
// entries that are not finite.
func newSolver(cost []float32, rows, cols int) (*solver, error) {
	// Few allocations: where a solve takes a tenth of a millisecond, their first pages are a tenth of that.
	floats, ints := make([]float32, 3*cols), make([]int32, 2*cols+rows)
	s := &solver{c: cost, rows: rows, cols: cols, scanned: make([]scan, 0, cols),
		v: floats[:cols], d: floats[cols : 2*cols], zero: floats[2*cols:],
		pred: ints[:cols], rowOf: ints[cols : 2*cols], colOf: ints[2*cols:]}
	for j := range s.rowOf {
		s.rowOf[j] = -1
	}
	for i := range s.colOf {
		s.colOf[i] = -1
	}
	offset := s.zero
	if rows == cols {
		offset = s.columnOffsets()
	}
	if err := s.start(offset); err != nil {
		return nil, err
	}
	if rows < cols {
		clear(s.v)
	} else if s.largest < 0x1p-90 { // offsets of such small units may have overflowed
		return s, s.start(s.zero)
	}
	return s, nil
}

// start sets v to the minima of the columns after each row has had its minimum above the offsets taken off, and finds
// the largest entry.
func (s *solver) start(offset []float32) error {
	for j := range s.v {
		s.v[j] = inf
	}
	var largest uint32
	for i := range s.rows {
		c := s.row(int32(i))
		bits := lowerRow(s.v, c, offset)
		if bits >= infBits {
			j := notFinite(c)
			return fmt.Errorf("assign: cost entry [%d, %d] is %v, want a finite number", i, j, c[j])
		}
		largest = max(largest, bits)
	}
	s.largest = float64(math.Float32frombits(largest))
	return nil
}

// row is row i of the cost matrix.
func (s *solver) row(i int32) []float32 {
	at := int(i) * s.cols
	return s.c[at : at+s.cols : at+s.cols]
}

// run fills colOf and v.
func (s *solver) run() {
	if s.cols == 1 {
		s.give(0, 0)
		return
	}
	free := make([]int32, s.rows)
	for i := range free {
		free[i] = int32(i)
	}
	// Two passes, the second for rows that met a tie. The first is also the assignment of column reduction and the reduction transfer: a row that attains a
	// column's minimum has u = 0, takes the column and lowers its v to the row's second smallest value.
	for range 2 {
		free = s.reduceRows(free)
	}
	for _, i := range free {
		s.augment(i)
	}
	s.certify()
}

// give lets row i hold column j, and returns the row that held it, −1 for none.
func (s *solver) give(i, j int32) (displaced int32) {
	displaced = s.rowOf[j]
	if displaced >= 0 {
		s.colOf[displaced] = -1
	}
	s.rowOf[j], s.colOf[i] = i, j
	return displaced
}

// reduceRows is a pass of augmenting row reduction. Each free row takes its cheapest column and lowers that
// column's v until its second choice is as good, which keeps the row tight; whoever held the column bids at once
// for another. A row between equals takes a free one of them or waits for the next pass. Rounding can make the
// lowering nothing at all, which counts as equality; and a war of small bids is cut off, as a whole and for each row
// that begins one, since the augmentation ends it at a known cost.
func (s *solver) reduceRows(free []int32) (left []int32) {
	const war = 32 // [M] halves the bids of heavy-tailed rows and leaves other data no more augmentations
	left = free[:0]
	budget := 8 * len(free)
	for _, i := range free {
		for bids := 0; i >= 0; bids++ {
			if budget == 0 || bids == war {
				left = append(left, i)
				break
			}
			budget--
			j1, j2, u1, u2 := argmin2(s.row(i), s.v)
			if lowered := s.v[j1] - (u2 - u1); lowered < s.v[j1] {
				s.v[j1] = lowered
				i = s.give(i, int32(j1))
				continue
			}
			j := int32(j1)
			if s.rowOf[i] < 0 && s.row(i)[i]-s.v[i] <= u1 {
				j = i
			} else if s.rowOf[j1] >= 0 {
				j = int32(j2)
			}
			if i = s.give(i, j); i >= 0 {
				left = append(left, i)
			}
			break
		}
	}
	return left
}

// augment finds the shortest path of reduced costs from free row f to a free column (Dijkstra over columns),
// hands each row on the path the next column, and lowers v on the columns passed so that all rows stay tight.
func (s *solver) augment(f int32) {
	for j := range s.d {
		s.d[j] = inf
	}
	s.scanned = s.scanned[:0]
	i := f
	h, _ := min2(s.row(f), s.v) // paths are measured from u[f]: small numbers keep their digits
	var j int
	var length float32
	for {
		length = relax(s.d, s.pred, s.row(i), s.v, h, i)
		j = first(s.d, s.zero, length, 0)
		for k := j; k < s.cols; k = first(s.d, s.zero, length, k+1) {
			if s.rowOf[k] < 0 {
				j = k
				break
			}
		}
		i = s.rowOf[j]
		if i < 0 {
			break
		}
		h = s.row(i)[j] - s.v[j] - length
		s.scanned = append(s.scanned, scan{int32(j), s.v[j], length})
		s.v[j], s.d[j] = -inf, inf
	}
	for _, t := range s.scanned {
		s.v[t.col] = t.v + min(t.dist-length, 0)
	}
	s.shift(f, int32(j))
}

// shift moves every row on the path from row f to the free column end, as pred tells it, to its next column.
func (s *solver) shift(f, end int32) {
	for j := end; ; {
		i := s.pred[j]
		next := s.colOf[i]
		s.rowOf[j], s.colOf[i] = i, j
		if i == f {
			return
		}
		j = next
	}
}
