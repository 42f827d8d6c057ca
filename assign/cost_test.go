package assign

import (
	"errors"
	"math"
	"strings"
	"testing"

	"immiscible/assign/assigntest"
)

// TestCostMatrix compares each cost with its definition in float64. The bound is float32 rounding of sums of dim
// products of size |x||n|.
func TestCostMatrix(t *testing.T) {
	src := assigntest.NewSource(3)
	for _, size := range [][3]int{{1, 1, 1}, {2, 4, 3}, {3, 7, 5}, {5, 37, 600}, {9, 33, 1025}} {
		rows, cols, dim := size[0], size[1], size[2]
		x, noise := white(src, rows*dim), white(src, cols*dim)
		for _, cost := range []Cost{CostL2Sq, CostDot, CostL2, CostL1} {
			got, err := CostMatrix(x, noise, rows, cols, dim, cost, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				for j := range cols {
					var sq, product, abs, size float64
					for k := range dim {
						a, b := float64(x[i*dim+k]), float64(noise[j*dim+k])
						sq += (a - b) * (a - b)
						product += a * b
						abs += math.Abs(a - b)
						size += a*a + b*b
					}
					want := map[Cost]float64{CostL2Sq: sq, CostDot: -product, CostL2: math.Sqrt(sq), CostL1: abs}[cost]
					if math.Abs(float64(got[i*cols+j])-want) > 1e-5*size {
						t.Fatalf("%s %v [%d, %d]: %v, want %v", cost, size, i, j, got[i*cols+j], want)
					}
				}
			}
		}
	}
}

func TestCostErrors(t *testing.T) {
	nan := float32(math.NaN())
	good := []float32{1, 2, 3, 4}
	broken := func(_, _ []float32, _, _, _ int, _ []float32) error { return errors.New("device lost") }
	spoiling := func(_, _ []float32, _, _, _ int, out []float32) error { out[3] = nan; return nil }
	for _, c := range []struct {
		call func() error
		want string
	}{
		{func() error { _, err := CostMatrix(good, good, 2, 2, 3, CostDot, nil); return err }, "x has 4 entries"},
		{func() error { _, err := CostMatrix(good, good[:2], 2, 2, 2, CostDot, nil); return err }, "noise has 2 entries"},
		{func() error { _, err := CostMatrix(good, []float32{1, 2, nan, 4}, 2, 2, 2, CostDot, nil); return err }, "noise[1, 0] is NaN"},
		{func() error { _, err := CostMatrix(good, good, 2, 2, 2, "cosine", nil); return err }, `cost "cosine"`},
		{func() error { _, err := CostMatrix(good, good, 2, 2, 2, CostL2, broken); return err }, "device lost"},
		{func() error { return MatrixProduct(good, good, 2, 2, 2, make([]float32, 3)) }, "out has 3 entries"},
		{func() error { _, err := Pair(good, good, 2, 2, []int64{1}, Options{Cost: CostDot}); return err }, "1 labels for 2 images"},
		{func() error { _, err := Pair(good, good, 2, 2, []int64{0, 1}, Options{Cost: ""}); return err }, `cost ""`},
		{func() error { _, err := Pair(nil, nil, 0, 2, nil, Options{Cost: CostDot}); return err }, "x has 0 entries"},
		{func() error {
			_, err := Pair(good, good, 2, 2, []int64{7, 7}, Options{Cost: CostDot, Product: spoiling})
			return err
		}, "entry [1, 1] is NaN"},
	} {
		if err := c.call(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}
