package assign

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"immiscible/assign/assigntest"
)

// hash24 is h of tools/golden/assign_totals.py: the SplitMix64 finaliser, cut to
// 24 bits.
func hash24(i int) int {
	z := (uint64(i) + 1) * 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return int((z ^ z>>31) >> 40)
}

// wholeVectors are n vectors of whole numbers in [−span, span].
func wholeVectors(n, dim, stream, span int) []float32 {
	x := make([]float32, n*dim)
	for i := range x {
		x[i] = float32(hash24(stream<<32+i)%(2*span+1) - span)
	}
	return x
}

// products are x·yᵀ; whole numbers below 2²⁴, so that no order of sums matters.
func products(t *testing.T, x, y []float32, rows, cols, dim int) []float32 {
	out := make([]float32, rows*cols)
	if err := MatrixProduct(x, y, rows, cols, dim, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// totalsFamilies make the matrices of tools/golden/assign_totals.py: every number
// in them, and on the way to them, is a float32 without rounding.
var totalsFamilies = map[string]func(t *testing.T, rows, cols int) []float32{
	"uniform":      entries(func(h, _, _ int) float32 { return float32(h) / (1 << 24) }),
	"tied":         entries(func(h, _, _ int) float32 { return float32(h % 5) }),
	"integer":      entries(func(h, _, _ int) float32 { return float32(h%2001 - 1000) }),
	"constant":     entries(func(_, _, _ int) float32 { return 3 }),
	"machol_wien":  entries(func(_, i, j int) float32 { return float32((i + 1) * (j + 1)) }),
	"badly_scaled": entries(func(h, _, _ int) float32 { return 1<<20 + float32(h%1024)/8 }),
	"heavy": entries(func(h, i, _ int) float32 {
		return (float32(h)/(1<<24) - 0.5) * float32(int(1)<<(hash24(5<<32+i)%13))
	}),
	"low_rank": func(t *testing.T, rows, cols int) []float32 {
		return products(t, wholeVectors(rows, 2, 1, 1000), wholeVectors(cols, 2, 2, 1000), rows, cols, 2)
	},
	"geometric": func(t *testing.T, rows, cols int) []float32 {
		x, y := wholeVectors(rows, 2, 3, 1<<20), wholeVectors(cols, 2, 4, 1<<20)
		return entries(func(_, i, j int) float32 {
			dx, dy := x[2*i]-y[2*j], x[2*i+1]-y[2*j+1]
			return max(dx, -dx) + max(dy, -dy)
		})(t, rows, cols)
	},
	"clustered": func(t *testing.T, rows, cols int) []float32 {
		centres, x, y := wholeVectors(8, 32, 6, 3), wholeVectors(rows, 32, 8, 1), wholeVectors(cols, 32, 9, 20)
		for i := range rows {
			for k := range 32 {
				x[32*i+k] += 20 * centres[32*(hash24(7<<32+i)%8)+k]
			}
		}
		xx, yy, xy := squares(x, 32), squares(y, 32), products(t, x, y, rows, cols, 32)
		return entries(func(_, i, j int) float32 { return xx[i] + yy[j] - 2*xy[i*cols+j] })(t, rows, cols)
	},
	"latents": func(t *testing.T, rows, cols int) []float32 {
		x, y := make([]float32, rows*256), wholeVectors(cols, 256, 11, 8)
		for i, v := range wholeVectors(rows, 256, 10, 8) { // less the sum of eight neighbours, in a ring
			for k := range 8 {
				x[i/256*256+(i+k)%256] -= v
			}
		}
		return products(t, x, y, rows, cols, 256)
	},
}

// entries makes a matrix entry by entry, from the entry's hash and its place.
func entries(entry func(h, i, j int) float32) func(t *testing.T, rows, cols int) []float32 {
	return func(_ *testing.T, rows, cols int) []float32 {
		cost := make([]float32, rows*cols)
		for k := range cost {
			cost[k] = entry(hash24(k), k/cols, k%cols)
		}
		return cost
	}
}

func squares(x []float32, dim int) []float32 {
	sums := make([]float32, len(x)/dim)
	for i, v := range x {
		sums[i/dim] += v * v
	}
	return sums
}

// Totals equal SciPy's optimum on every family, up to 2048 × 2048.
func TestLinearTotals(t *testing.T) {
	text, err := os.ReadFile("testdata/totals.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Family     string
			Rows, Cols int
			Total      float64
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if want := 21 * len(totalsFamilies); len(golden.Cases) != want {
		t.Fatalf("%d cases, want %d: run tools/golden/assign_totals.py", len(golden.Cases), want)
	}
	for _, g := range golden.Cases {
		cost := totalsFamilies[g.Family](t, g.Rows, g.Cols)
		perm, err := Linear(cost, g.Rows, g.Cols)
		if err != nil {
			t.Fatalf("%s %d × %d: %v", g.Family, g.Rows, g.Cols, err)
		}
		total, chosen, err := assigntest.Total(cost, g.Rows, g.Cols, perm)
		if err != nil {
			t.Fatalf("%s %d × %d: %v", g.Family, g.Rows, g.Cols, err)
		}
		if math.Abs(total-g.Total) > assigntest.Excess*chosen {
			t.Errorf("%s %d × %d: total %v, SciPy has %v", g.Family, g.Rows, g.Cols, total, g.Total)
		}
	}
}
