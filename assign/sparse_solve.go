package assign

import (
	"cmp"
	"math"
	"slices"
)

// sparse is the assignment problem among candidates while it is solved: the method of linear.go on lists, in
// float64. Its square matrix has a full matching on the diagonal.
type sparse struct {
	lists [][]edge  // [rows] by rising column
	v     []float64 // [cols]
	rowOf []int32   // [cols] the row that holds the column, −1 for none
	colOf []int32   // [rows] the inverse
	paid  []float32 // [rows] the cost of the row's column
	free  []int32   // rows without a column

	d     []float64 // [cols] shortest path to the column, of the augmentation that stamp counts
	pred  []int32   // [cols] the row from which that path comes
	stamp []int32   // [cols] the augmentation that reached the column; negative: that passed through it
	round int32
	heap  []reached
	past  []int32 // columns passed
}

// reached is a column that a path of a length leads to.
type reached struct {
	length float64
	col    int32
}

// newSparse starts v as start does: at the minima of the columns after each row has had its minimum above
// the columns' offsets taken off.
func newSparse(lists [][]edge, offset []float32) *sparse {
	n := len(lists)
	s := &sparse{lists: lists, v: make([]float64, n), rowOf: make([]int32, n), colOf: make([]int32, n), paid: make([]float32, n),
		d: make([]float64, n), pred: make([]int32, n), stamp: make([]int32, n)}
	for j := range s.v {
		s.v[j] = math.Inf(1)
		s.rowOf[j], s.colOf[j] = -1, -1
	}
	for i, list := range lists {
		least := inf
		for _, e := range list {
			least = min(least, e.cost-offset[e.col])
		}
		for _, e := range list {
			s.v[e.col] = min(s.v[e.col], float64(e.cost)-float64(least))
		}
		s.free = append(s.free, int32(i))
	}
	return s
}

// run gives every free row a column, and keeps all rows tight.
func (s *sparse) run() {
	for range 2 {
		s.reduce()
	}
	for _, i := range s.free {
		s.augment(i)
	}
	s.free = s.free[:0]
}

// give lets row i hold the column of e, and returns the row that held it, −1 for none.
func (s *sparse) give(i int32, e edge) (displaced int32) {
	displaced = s.rowOf[e.col]
	if displaced >= 0 {
		s.colOf[displaced] = -1
	}
	s.rowOf[e.col], s.colOf[i], s.paid[i] = i, e.col, e.cost
	return displaced
}

// reduce is a pass of augmenting row reduction over the free rows: see reduceRows.
func (s *sparse) reduce() {
	left := s.free[:0]
	budget := 8 * len(s.free)
	for _, i := range s.free {
		for i >= 0 {
			if budget == 0 {
				left = append(left, i)
				break
			}
			budget--
			var e1, e2 edge
			u1, u2 := math.Inf(1), math.Inf(1)
			for _, e := range s.lists[i] {
				switch r := float64(e.cost) - s.v[e.col]; {
				case r < u1:
					u1, u2, e1, e2 = r, u1, e, e1
				case r < u2:
					u2, e2 = r, e
				}
			}
			if math.IsInf(u2, 1) { // the diagonal is its only candidate
				left = append(left, i)
				break
			}
			if lowered := s.v[e1.col] - (u2 - u1); lowered < s.v[e1.col] {
				s.v[e1.col] = lowered
				i = s.give(i, e1)
				continue
			}
			if s.rowOf[e1.col] >= 0 {
				e1 = e2
			}
			if i = s.give(i, e1); i >= 0 {
				left = append(left, i)
			}
			break
		}
	}
	s.free = left
}

// augment finds the shortest path of reduced costs from free row f to a free column by Dijkstra's algorithm, hands
// each row on it the next column, and lowers v on the columns passed.
func (s *sparse) augment(f int32) {
	s.round++
	s.heap, s.past = s.heap[:0], s.past[:0]
	h := math.Inf(1)
	for _, e := range s.lists[f] {
		h = min(h, float64(e.cost)-s.v[e.col])
	}
	i, length := f, 0.0
	bound := math.Inf(1) // the shortest path to a free column so far; what is longer leads nowhere
	var end int32
	for {
		for _, e := range s.lists[i] {
			j := e.col
			if s.stamp[j] == -s.round {
				continue
			}
			d := float64(e.cost) - s.v[j] - h
			if d >= bound || s.stamp[j] == s.round && d >= s.d[j] {
				continue
			}
			s.stamp[j], s.d[j], s.pred[j] = s.round, d, i
			s.push(reached{d, j})
			if s.rowOf[j] < 0 {
				bound = d
			}
		}
		var r reached
		for {
			r = s.pop()
			if s.stamp[r.col] == s.round && r.length == s.d[r.col] {
				break // not one that a shorter path has overtaken
			}
		}
		length, end = r.length, r.col
		if s.rowOf[end] < 0 {
			break
		}
		s.stamp[end] = -s.round
		s.past = append(s.past, end)
		i = s.rowOf[end]
		h = float64(s.paid[i]) - s.v[end] - length
	}
	for _, j := range s.past {
		s.v[j] += min(s.d[j]-length, 0)
	}
	for j := end; ; {
		i := s.pred[j]
		next := s.colOf[i]
		s.rowOf[j], s.colOf[i], s.paid[i] = i, j, s.cost(i, j)
		if i == f {
			return
		}
		j = next
	}
}

// cost is the cost of a candidate.
func (s *sparse) cost(i, j int32) float32 {
	at, _ := slices.BinarySearchFunc(s.lists[i], j, func(e edge, col int32) int { return cmp.Compare(e.col, col) })
	return s.lists[i][at].cost
}

// less orders columns reached by length, then by index.
func (a reached) less(b reached) bool {
	return a.length < b.length || a.length == b.length && a.col < b.col
}

// push adds to the binary heap.
func (s *sparse) push(r reached) {
	s.heap = append(s.heap, r)
	i := len(s.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !r.less(s.heap[up]) {
			break
		}
		s.heap[i] = s.heap[up]
		i = up
	}
	s.heap[i] = r
}

// pop takes the least off the heap, which is never empty: the diagonal leads on from every row.
func (s *sparse) pop() reached {
	top, r := s.heap[0], s.heap[len(s.heap)-1]
	s.heap = s.heap[:len(s.heap)-1]
	n := len(s.heap)
	if n == 0 {
		return top
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= n {
			break
		}
		if down+1 < n && s.heap[down+1].less(s.heap[down]) {
			down++
		}
		if !s.heap[down].less(r) {
			break
		}
		s.heap[i] = s.heap[down]
		i = down
	}
	s.heap[i] = r
	return top
}

// add gives rows more candidates. A row whose column is no longer its cheapest becomes free.
func (s *sparse) add(missing [][]edge) {
	for i, more := range missing {
		if len(more) == 0 {
			continue
		}
		s.lists[i] = append(s.lists[i], more...)
		slices.SortFunc(s.lists[i], func(a, b edge) int { return cmp.Compare(a.col, b.col) })
		j := s.colOf[i]
		tight := float64(s.paid[i]) - s.v[j]
		for _, e := range more {
			if float64(e.cost)-s.v[e.col] < tight {
				s.rowOf[j], s.colOf[i] = -1, -1
				s.free = append(s.free, int32(i))
				break
			}
		}
	}
}
