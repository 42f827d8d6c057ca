package assign

import (
	"math"
	"testing"
	"fmt"
	"immiscible/assign/assigntest"
)

func heavyL2(n, dim int) []float32 {
	src := assigntest.NewSource(5)
	x, noise := white(src, n*dim), white(src, n*dim)
	for i := range n {
		f := float32(math.Exp(2 * src.Normal()))
		for k := range dim { x[i*dim+k] *= f }
	}
	c, err := CostMatrix(x, noise, n, n, dim, CostL2Sq, nil)
	if err != nil { panic(err) }
	return c
}

func TestZZ(t *testing.T) {
	n := 1024
	c := heavyL2(n, 4096)
	s, _ := newSolver(c, n, n)
	free := make([]int32, n)
	for i := range free { free[i] = int32(i) }
	for range 2 { free = s.reduceRows(free); fmt.Println("free", len(free)) }
	scans := 0
	for _, i := range free { s.augment(i); scans += len(s.scanned) }
	fmt.Println("scans", scans)
	var excess, chosen float64
	for i, j := range s.colOf {
		c := s.row(int32(i))
		excess += float64(c[j]) - float64(s.v[j]) - minDiff(c, s.v)
		chosen += math.Abs(float64(c[j]))
	}
	fmt.Println("excess", excess/chosen)
	fmt.Println(s.largest, chosen, s.v[:5])
	fmt.Println(s.narrow() != nil)
}

func BenchmarkZZ(b *testing.B) {
	c := heavyL2(1024, 4096)
	for b.Loop() { Linear(c, 1024, 1024) }
}
