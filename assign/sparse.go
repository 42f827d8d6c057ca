package assign

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
)

// Sparse first: of a large matrix only few entries matter. Candidates are the best of each row and, once its rows
// have their minima taken off, of each column; row lists alone have no full matching where images cluster. The
// optimum among the candidates comes with duals; one pass over all entries either certifies by them that nothing
// better exists, or names entries that the candidates lack, with which the solve goes on. [M] candidates of 32
// reach the optimum after 0 to 4 such repairs, in a quarter of the time of the dense solve at n = 4,096.
//
// The pass may make the entries anew, so that no pool is too large for memory.

const (
	sparseFrom  = 4096    // rows
	nearest     = 32      // candidates at least of a row; of a column about as many
	crowded     = 8       // times as many: what lies below a threshold is no choice
	mostRepairs = 20      // before it is given up
	blockBytes  = 1 << 26 // of the matrix at a time
)

// LargestKept is the number of images up to which [Pair] and [CostMatrix] hold a pool's whole matrix, 1 GiB, so that
// the dense solver can step in where candidates fail. Larger pools are made and certified in blocks: see [Large].
const LargestKept = 16384

// rowsOf returns rows [from, to) of a matrix [n, n]; they are good until the next call.
type rowsOf func(from, to int) ([]float32, error)

// blockRows is the number of rows of n entries that are worked on at a time.
func blockRows(n int) int { return max(1, min(n, blockBytes/4/n)) }

// kept are the rows of a matrix that is there.
func kept(cost []float32, n int) rowsOf {
	return func(from, to int) ([]float32, error) { return cost[from*n : to*n], nil }
}

// remade makes rows of the costs of x and noise, [n, dim], whenever they are asked for.
func (o Options) remade(x, noise []float32, n, dim int, cost Cost) rowsOf {
	var block []float32
	return func(from, to int) ([]float32, error) {
		if len(block) < (to-from)*n {
			block = make([]float32, (to-from)*n)
		}
		out := block[:(to-from)*n]
		return out, costs(vectors(x, from, to, dim), noise, to-from, n, dim, cost, o.Product, out)
	}
}

// Large is [Pair] without classes on pools of any size, and never holds their matrix: x and noise are [n, dim]; beside
// them it needs some 100 candidates an image, 8 bytes each, and blocks of 64 MB. The total of perm exceeds the optimum
// by at most bound · Σ|chosen costs|, which a pass over all costs proves (of −x·n for l2sq); it ends once
// bound ≤ o.Gap. There are two such passes at least, and one more for each repair; each makes all products anew. Half and Penalty, which need the
// matrix, are refused.
func Large(x, noise []float32, n, dim int, o Options) (perm []int, bound float64, err error) {
	if err := o.checkPool(x, noise, n, dim); err != nil {
		return nil, 0, err
	}
	if o.Half || o.Penalty > 0 {
		return nil, 0, fmt.Errorf("assign: half or a penalty for %d images needs their matrix, want neither, or Pair", n)
	}
	if o.Standardise {
		x = Standardised(x, n, dim)
	}
	return o.large(x, noise, n, dim)
}

// large is Large of what was checked.
func (o Options) large(x, noise []float32, n, dim int) (perm []int, bound float64, err error) {
	perm, bound, ok, err := sparseLinear(o.remade(x, noise, n, dim, o.solved()), n, blockRows(n), max(o.Gap, promised))
	if err == nil && !ok {
		err = fmt.Errorf("assign: the optimum for %d images was not reached from candidates without their matrix: want a gap above %v, or smaller pools", n, o.Gap)
	}
	return perm, bound, err
}

// edge is a candidate: a column and its cost.
type edge struct {
	col  int32
	cost float32
}

// sparseLinear is Linear on a square matrix by way of candidates, block rows at a time. The total exceeds the optimum by at most
// bound · Σ|chosen entries|, bound ≤ gap, gap > 0. ok is false where entries are so tied that candidates are no choice,
// or repairs do not get there.
func sparseLinear(rows rowsOf, n, block int, gap float64) (perm []int, bound float64, ok bool, err error) {
	offset, crowds, err := columnOffsets(rows, n, block)
	if err != nil || crowds {
		return nil, 0, false, err
	}
	g, err := candidates(rows, n, block, offset)
	if err != nil || g == nil {
		return nil, 0, false, err
	}
	s := newSparse(g, offset)
	last := math.Inf(1)
	for repairs := 0; ; repairs++ {
		s.run()
		excess, chosen, missing, err := certifySparse(rows, s, block)
		if err != nil {
			return nil, 0, false, err
		}
		lacking := 0
		for _, more := range missing {
			lacking += len(more)
		}
		if excess <= gap*chosen {
			perm = make([]int, n)
			for i, j := range s.colOf {
				perm[i] = int(j)
			}
			if chosen > 0 {
				bound = max(0, excess/chosen)
			}
			return perm, bound, true, nil
		}
		if repairs == mostRepairs || lacking > nearest/2*n || excess > last/2 && lacking > n/64 {
			return nil, 0, false, nil // candidates are no way to this optimum
		}
		last = excess
		s.add(missing)
	}
}

// candidates lists the candidates of each row, [n], by rising column: the best of the row once columns have their
// offsets taken off, the entries that are among the best of their column, and the diagonal, so that there is a full
// matching. It is nil where one row in 64 is crowded.
func candidates(rows rowsOf, n, block int, offset []float32) ([][]edge, error) {
	columns, err := columnThresholds(rows, n, block, offset)
	if err != nil {
		return nil, err
	}
	g := make([][]edge, n)
	for from := 0; from < n; from += block {
		to := min(n, from+block)
		c, err := rows(from, to)
		if err != nil {
			return nil, err
		}
		bad := make([]int, to-from)
		var crowds atomic.Int64
		parallel(to-from, (to-from)*n, 1, func(a, b int) {
			var hits, merged []edge
			for i := a; i < b; i++ {
				row := c[i*n : (i+1)*n]
				if bad[i] = notFinite(row); bad[i] >= 0 {
					continue
				}
				if hits = bestOf(hits[:0], row, offset); len(hits) > crowded*nearest {
					crowds.Add(1)
					hits = fewest(hits)
				}
				least, _ := min2(row, offset)
				merged = merged[:0]
				rest := hits
				take := func(j int) { // every candidate up to column j, and that one
					for len(rest) > 0 && rest[0].col < int32(j) {
						merged, rest = append(merged, rest[0]), rest[1:]
					}
					if len(rest) > 0 && rest[0].col == int32(j) {
						rest = rest[1:]
					}
					merged = append(merged, edge{int32(j), row[j]})
				}
				diagonal := from + i
				for j := first(row, columns, least, 0); j < n; j = first(row, columns, least, j+1) {
					if diagonal >= 0 && diagonal < j {
						take(diagonal)
					}
					if diagonal <= j {
						diagonal = -1
					}
					take(j)
				}
				if diagonal >= 0 {
					take(diagonal)
				}
				g[from+i] = slices.Concat(merged, rest)
			}
		})
		if crowds.Load() > int64(to-from)/64 {
			return nil, nil
		}
		for i, j := range bad {
			if j >= 0 {
				return nil, fmt.Errorf("assign: cost entry [%d, %d] is %v, want a finite number", from+i, j, c[i*n+j])
			}
		}
	}
	return g, nil
}

// columnOffsets estimates by how much columns differ on average, from the first rows: see start.go. It also tells
// whether one in 64 of these rows is crowded, before more is spent on them.
func columnOffsets(rows rowsOf, n, block int) (offset []float32, crowds bool, err error) {
	offset = make([]float32, n)
	zero := make([]float32, n)
	var weight, expected float64
	var hits []edge
	size, full := max(64, n/16), 0
	for from := 0; from < min(n, size); from += block {
		to := min(size, from+block)
		c, err := rows(from, to)
		if err != nil {
			return nil, false, err
		}
		for i := range to - from {
			row := c[i*n : (i+1)*n]
			w, variance := weigh(offset, row)
			weight, expected = weight+w, expected+variance
			if from+i < 64 {
				if hits = bestOf(hits[:0], row, zero); len(hits) > crowded*nearest {
					full++
				}
			}
		}
	}
	if !differ(offset, expected) || !divide(offset, weight) {
		offset = zero
	}
	return offset, full > 1, nil
}

// sampleSize is the part of a row or a column that thresholds are taken from, and the rank in it that stands for
// nearest in the whole, with some to spare.
func sampleSize(n int) (size, rank int) {
	size = min(n, max(512, n/8))
	return size, min(size, (nearest*size+n-1)/n+2)
}

// columnThresholds returns for each column a value that some nearest of its entries, less the minimum of their rows,
// are not above, judged from the first rows.
func columnThresholds(rows rowsOf, n, block int, offset []float32) ([]float32, error) {
	size, rank := sampleSize(n)
	best := make([]float32, n*rank) // of column j at j·rank, rising
	for k := range best {
		best[k] = inf
	}
	limit := make([]float32, n)
	for j := range limit {
		limit[j] = inf
	}
	for from := 0; from < size; from += block {
		to := min(size, from+block)
		c, err := rows(from, to)
		if err != nil {
			return nil, err
		}
		for i := range to - from {
			row := c[i*n : (i+1)*n]
			least, _ := min2(row, offset)
			for j := first(row, limit, least, 0); j < n; j = first(row, limit, least, j+1) {
				limit[j] = insert(best[j*rank:(j+1)*rank], row[j]-least)
			}
		}
	}
	return limit, nil
}

// insert puts x into a rising list, whose last falls out, and returns the new last.
func insert(list []float32, x float32) float32 {
	at := len(list) - 1
	for ; at > 0 && list[at-1] > x; at-- {
		list[at] = list[at-1]
	}
	list[at] = x
	return list[len(list)-1]
}

// bestOf appends the best entries of a row above the offsets to hits, by rising column: at least nearest, and about as
// many unless they are tied.
func bestOf(hits []edge, row, offset []float32) []edge {
	size, rank := sampleSize(len(row))
	for {
		limit := rankOf(row[:size], offset, rank)
		for j := first(row, offset, limit, 0); j < len(row); j = first(row, offset, limit, j+1) {
			hits = append(hits, edge{int32(j), row[j]})
		}
		if len(hits) >= min(nearest, len(row)) {
			return hits
		}
		hits, rank = hits[:0], min(size, 2*rank)
		if rank == size {
			size, rank = len(row), min(nearest, len(row))
		}
	}
}

// fewest keeps the 2·nearest best of hits, by rising column.
func fewest(hits []edge) []edge {
	slices.SortFunc(hits, func(a, b edge) int { return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.col, b.col)) })
	hits = hits[:2*nearest]
	slices.SortFunc(hits, func(a, b edge) int { return cmp.Compare(a.col, b.col) })
	return hits
}

// rankOf returns the rank-th smallest entry above the offsets, counted from 1.
func rankOf(row, offset []float32, rank int) float32 {
	list := make([]float32, rank)
	for k := range list {
		list[k] = row[k] - offset[k]
	}
	slices.Sort(list)
	limit := list[rank-1]
	for j := first(row, offset, limit, rank); j < len(row); j = first(row, offset, limit, j+1) {
		limit = insert(list, row[j]-offset[j])
	}
	return limit
}

// certifySparse bounds the excess of a solution over the optimum of the whole matrix by weak duality, as certify
// does, and lists for each row entries that lie below its dual: the candidates that it lacks.
func certifySparse(rows rowsOf, s *sparse, block int) (excess, chosen float64, missing [][]edge, err error) {
	n := len(s.v)
	v := make([]float32, n)
	for j, x := range s.v {
		v[j] = float32(x)
	}
	missing = make([][]edge, n)
	over, size := make([]float64, n), make([]float64, n)
	for from := 0; from < n; from += block {
		to := min(n, from+block)
		c, err := rows(from, to)
		if err != nil {
			return 0, 0, nil, err
		}
		parallel(to-from, (to-from)*n, 1, func(a, b int) {
			for i := a; i < b; i++ {
				row, at := c[i*n:(i+1)*n], int32(from+i)
				j := s.colOf[at]
				tight := float64(row[j]) - float64(v[j])
				least := minDiff(row, v)
				size[at] = math.Abs(float64(row[j]))
				if over[at] = tight - least; over[at] <= 1e-7*size[at] {
					continue
				}
				missing[at] = below(row, v, float32(tight), s.lists[at])
			}
		})
	}
	for i := range over {
		excess += over[i]
		chosen += size[i]
	}
	// Where duals are so large that float64 does not resolve the entries beside them, the bound is this much less sure.
	excess += float64(n) * float64(math.Float32frombits(largest(v))) * 0x1p-51
	return excess, chosen, missing, nil
}

// below lists the entries of a row whose reduced cost is at most limit and that are no candidates yet, the first few.
func below(row, v []float32, limit float32, have []edge) (missing []edge) {
	for j := first(row, v, limit, 0); j < len(row) && len(missing) < nearest; j = first(row, v, limit, j+1) {
		_, found := slices.BinarySearchFunc(have, int32(j), func(e edge, col int32) int { return cmp.Compare(e.col, col) })
		if !found {
			missing = append(missing, edge{int32(j), row[j]})
		}
	}
	return missing
}
