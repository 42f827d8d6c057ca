package assign

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"immiscible/assign/assigntest"
)

func TestLinear(t *testing.T) { assigntest.Run(t, Linear) }

// TestLinearSciPy holds totals, and permutations where the optimum is unique, against SciPy's.
func TestLinearSciPy(t *testing.T) {
	text, err := os.ReadFile("testdata/scipy.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name       string
			Rows, Cols int
			Total      float64
			Perm       []int
			Cost       string
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 30 {
		t.Fatalf("%d cases, want at least 30", len(golden.Cases))
	}
	for _, g := range golden.Cases {
		raw, err := base64.StdEncoding.DecodeString(g.Cost)
		if err != nil {
			t.Fatal(err)
		}
		cost := make([]float32, len(raw)/4)
		for k := range cost {
			cost[k] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*k:]))
		}
		perm, err := Linear(cost, g.Rows, g.Cols)
		if err != nil {
			t.Fatalf("%s %d × %d: %v", g.Name, g.Rows, g.Cols, err)
		}
		total, chosen, err := assigntest.Total(cost, g.Rows, g.Cols, perm)
		if err != nil {
			t.Fatalf("%s %d × %d: %v", g.Name, g.Rows, g.Cols, err)
		}
		if math.Abs(total-g.Total) > assigntest.Excess*chosen {
			t.Errorf("%s %d × %d: total %v, SciPy has %v", g.Name, g.Rows, g.Cols, total, g.Total)
		}
		if g.Perm != nil && !slices.Equal(perm, g.Perm) {
			t.Errorf("%s %d × %d: permutation %v, SciPy has %v", g.Name, g.Rows, g.Cols, perm, g.Perm)
		}
	}
}

// certificate bounds the excess of perm over the optimum of cost by weak duality, given any v with v ≤ 0 on a
// rectangular problem: Σ(c − u − v) over the pairs, and −v of the columns that are left free.
func certificate(cost []float32, rows, cols int, perm []int32, v []float64) (excess float64) {
	free := make([]bool, cols)
	for j := range free {
		free[j] = true
	}
	for i, j := range perm {
		u := math.Inf(1)
		for k := range cols {
			u = min(u, float64(cost[i*cols+k])-v[k])
		}
		excess += float64(cost[i*cols+int(j)]) - v[j] - u
		free[j] = false
	}
	for j, x := range v {
		if rows < cols && x > 0 {
			return math.Inf(1)
		}
		if free[j] {
			excess -= x
		}
	}
	return excess
}

// TestLinearCertified proves optimality at sizes beyond brute force by the duals that the solver ends with.
func TestLinearCertified(t *testing.T) {
	for _, f := range append(assigntest.Families(), latentsFamily) {
		for _, size := range [][2]int{{50, 50}, {97, 130}, {256, 256}, {300, 600}, {515, 515}} {
			rows, cols := size[0], size[1]
			cost := f.Make(assigntest.NewSource(uint64(rows)), rows, cols)
			s, err := solve(cost, rows, cols)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Max(cost) > 0x1p96 { // the unit in which the solver keeps its duals there
				cost = scaled(cost, 0x1p-32)
			}
			perm := make([]int, rows)
			for i, j := range s.colOf {
				perm[i] = int(j)
			}
			_, chosen, err := assigntest.Total(cost, rows, cols, perm)
			if err != nil {
				t.Fatalf("%s %d × %d: %v", f.Name, rows, cols, err)
			}
			if excess := certificate(cost, rows, cols, s.colOf, s.duals()); !(excess <= assigntest.Excess*chosen) {
				t.Errorf("%s %d × %d: excess up to %v of %v", f.Name, rows, cols, excess, chosen)
			}
		}
	}
}

// TestLinearMagnitudes compares with brute force where float64 duals alone fail in one case of 5,000: entries over
// 180 octaves, the largest of which must not drown the ones that are chosen.
func TestLinearMagnitudes(t *testing.T) {
	src := assigntest.NewSource(99)
	for range 50000 {
		rows := 2 + int(src.Uint64()%4)
		cols := rows + int(src.Uint64()%2)
		cost := make([]float32, rows*cols)
		for k := range cost {
			cost[k] = float32(math.Exp2(180*src.Float64() - 90))
		}
		perm, err := Linear(cost, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		total, chosen, err := assigntest.Total(cost, rows, cols, perm)
		if err != nil {
			t.Fatal(err)
		}
		if best := assigntest.BruteForce(cost, rows, cols); total-best > assigntest.Excess*chosen {
			t.Fatalf("%d × %d %v: %v costs %v, the optimum is %v", rows, cols, cost, perm, total, best)
		}
	}
}

// latentsFamily is −x·n of smooth vectors against white noise, as in training.
var latentsFamily = assigntest.Family{Name: "latents", Make: func(src *assigntest.Source, rows, cols int) []float32 {
	const dim = 64
	cost, err := CostMatrix(smooth(src, rows, dim), white(src, cols*dim), rows, cols, dim, CostDot, nil)
	if err != nil {
		panic(err)
	}
	return cost
}}

// smooth draws rows whose neighbouring coordinates are correlated by 0.9, of unit variance.
func smooth(src *assigntest.Source, rows, dim int) []float32 {
	x := white(src, rows*dim)
	for k := range x {
		if k%dim > 0 {
			x[k] = 0.9*x[k-1] + 0.436*x[k]
		}
	}
	return x
}

// white draws n standard normals.
func white(src *assigntest.Source, n int) []float32 {
	x := make([]float32, n)
	src.FillNormal(x)
	return x
}

// TestLinearEquivariant shuffles rows and columns: the unique optimum follows.
func TestLinearEquivariant(t *testing.T) {
	src := assigntest.NewSource(5)
	for _, n := range []int{2, 9, 64, 200} {
		cost := latentsFamily.Make(src, n, n)
		perm, err := Linear(cost, n, n)
		if err != nil {
			t.Fatal(err)
		}
		p, q := shuffled(src, n), shuffled(src, n) // row i of the shuffled problem is row p[i], column j is q[j]
		moved := make([]float32, n*n)
		for i := range n {
			for j := range n {
				moved[i*n+j] = cost[p[i]*n+q[j]]
			}
		}
		got, err := Linear(moved, n, n)
		if err != nil {
			t.Fatal(err)
		}
		for i, j := range got {
			if perm[p[i]] != q[j] {
				t.Fatalf("n = %d: row %d moved to %d and got column %d, not %d", n, p[i], i, q[j], perm[p[i]])
			}
		}
	}
}

// shuffled draws a permutation of n.
func shuffled(src *assigntest.Source, n int) []int {
	p := make([]int, n)
	for i := range p {
		k := int(src.Uint64() % uint64(i+1))
		p[i] = p[k]
		p[k] = i
	}
	return p
}

// TestLinearNames checks that bad entries are named by row and column, the first of them.
func TestLinearNames(t *testing.T) {
	cost := make([]float32, 20*30)
	cost[7*30+11], cost[7*30+12] = float32(math.Inf(-1)), float32(math.NaN())
	_, err := Linear(cost, 20, 30)
	if err == nil || !strings.Contains(err.Error(), "[7, 11] is -Inf") {
		t.Fatalf("error %v does not name entry [7, 11]", err)
	}
}

// FuzzLinear compares with brute force on matrices made of the fuzzer's bytes: ties and mixed signs abound. Every
// other entry is scaled, by up to 2^±20, which float64 resolves.
func FuzzLinear(f *testing.F) {
	f.Add([]byte{3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, int8(0))
	f.Add([]byte{5, 5, 0, 0, 1, 255, 0, 0, 1}, int8(30))
	f.Fuzz(func(t *testing.T, data []byte, scale int8) {
		if len(data) < 2 {
			return
		}
		cols := int(data[0]%7) + 1
		rows := int(data[1])%cols + 1
		cost := make([]float32, rows*cols)
		for k := range cost {
			if k+2 < len(data) {
				cost[k] = float32(math.Ldexp(float64(int8(data[k+2])), int(scale%21)*(k%2)))
			}
		}
		perm, err := Linear(cost, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		total, chosen, err := assigntest.Total(cost, rows, cols, perm)
		if err != nil {
			t.Fatal(err)
		}
		if best := assigntest.BruteForce(cost, rows, cols); total-best > assigntest.Excess*chosen {
			t.Fatalf("%d × %d %v: %v costs %v, the optimum is %v", rows, cols, cost, perm, total, best)
		}
	})
}

// BenchmarkLinear times the solver alone on training-like costs.
func BenchmarkLinear(b *testing.B) {
	for _, n := range []int{256, 512, 1024, 2048} {
		cost := latentsFamily.Make(assigntest.NewSource(1), n, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Linear(cost, n, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestLinearOffsets: offsets of columns, which columnOffsets finds, do not move the optimum. Entries are whole
// numbers below 2^24, so that the offset matrix is exact.
func TestLinearOffsets(t *testing.T) {
	src := assigntest.NewSource(6)
	for _, n := range []int{64, 65, 200, 333} {
		plain, offset := make([]float32, n*n), make([]float32, n*n)
		for j := range n {
			a := float32(math.Round(1e5 * src.Normal()))
			for i := range n {
				plain[i*n+j] = float32(math.Round(1e3 * src.Normal() * float64(1+i%7*i%5)))
				offset[i*n+j] = plain[i*n+j] + a
			}
		}
		var totals [2]float64
		for k, cost := range [][]float32{plain, offset} {
			perm, err := Linear(cost, n, n)
			if err != nil {
				t.Fatal(err)
			}
			if totals[k], _, err = assigntest.Total(plain, n, n, perm); err != nil {
				t.Fatal(err)
			}
		}
		// 1e-6 · Σ|chosen entries| of the offset matrix, some n · 1e5.
		if math.Abs(totals[0]-totals[1]) > assigntest.Excess*float64(n)*1e5 {
			t.Errorf("n = %d: total %v, with offsets %v", n, totals[0], totals[1])
		}
	}
}
