package assign

import (
	"fmt"
	"testing"
	"immiscible/assign/assigntest"
	"math"
)

func TestYY(t *testing.T) {
	for _, kind := range []string{"l2sq", "dot"} {
		n, dim := 1024, 4096
		src := assigntest.NewSource(5)
		x, noise := white(src, n*dim), white(src, n*dim)
		for i := range n {
			f := float32(math.Exp(2 * src.Normal()))
			for k := range dim {
				x[i*dim+k] *= f
			}
		}
		c, _ := CostMatrix(x, noise, n, n, dim, Cost(kind), nil)
		s, _ := newSolver(c, n, n)
		free := make([]int32, n)
		for i := range free {
			free[i] = int32(i)
		}
		// how many rows can be tight at start
		distinct := map[int]int{}
		for i := range n {
			j1, _, u1, u2 := s.argmin2(int32(i))
			distinct[j1]++
			if i < 5 {
				fmt.Println(kind, i, u1, u2)
			}
		}
		fmt.Println(kind, "distinct first choices", len(distinct))
		for range 6 {
			budget := 8 * len(free)
			before := len(free)
			ties := 0
			left := s.reduceRowsDebug(free, &budget, &ties)
			free = left
			fmt.Println(kind, before, "->", len(free), "budget left", budget, "ties", ties)
		}
	}
}

func (s *solver) reduceRowsDebug(free []int32, budget *int, ties *int) (left []int32) {
	left = free[:0]
	for _, i := range free {
		for i >= 0 {
			if *budget == 0 {
				left = append(left, i)
				break
			}
			*budget--
			j1, j2, u1, u2 := s.argmin2(i)
			if lowered := s.v[j1] - (u2 - u1); lowered < s.v[j1] {
				s.v[j1] = lowered
				i = s.give(i, int32(j1))
				continue
			}
			*ties++
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
