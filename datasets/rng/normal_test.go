package rng

import (
	"math"
	"math/big"
	"slices"
	"testing"
)

func TestFillNormalIsNormalRepeated(t *testing.T) {
	for n := range 20 {
		for _, before := range []int{0, 1, 2, 3} {
			a, b := New(7, "noise", 3), New(7, "noise", 3)
			for range before {
				a.Normal()
				b.Normal()
			}
			a.Uint32() // words that were begun are left behind by both
			b.Uint32()
			want := make([]float32, n)
			for i := range want {
				want[i] = float32(a.Normal())
			}
			got := make([]float32, n)
			b.FillNormal(got)
			if !slices.Equal(got, want) {
				t.Fatalf("n=%d after %d: FillNormal %v, Normal %v", n, before, got, want)
			}
			if n == 0 {
				continue
			}
			if x, y := a.Normal(), b.Normal(); x != y {
				t.Fatalf("n=%d after %d: streams part: %v and %v", n, before, x, y)
			}
			if x, y := a.Uint32(), b.Uint32(); x != y {
				t.Fatalf("n=%d after %d: words part: %x and %x", n, before, x, y)
			}
		}
	}
}

// TestNormalMoments compares mean, variance, skewness, kurtosis and the
// correlation of the two numbers of a pair with N(0, 1)'s, within six standard
// errors: Var(x̄)=1/n, Var(x²)=2/n, Var(x³)=15/n, Var(x⁴)=96/n, Var(xy)=1/n.
func TestNormalMoments(t *testing.T) {
	const n = 1 << 20
	x := make([]float32, n)
	New(1, "noise", 0).FillNormal(x)
	var m [5]float64
	cross := 0.0
	for i, v := range x {
		p := 1.0
		for k := range m {
			m[k] += p / n
			p *= float64(v)
		}
		if i%2 == 1 {
			cross += float64(x[i-1]) * float64(v) / (n / 2)
		}
	}
	for _, row := range []struct {
		name           string
		got, want, vas float64
	}{
		{"mean", m[1], 0, 1}, {"variance", m[2], 1, 2}, {"third moment", m[3], 0, 15},
		{"fourth moment", m[4], 3, 96}, {"pair correlation", cross, 0, 2},
	} {
		if d := math.Abs(row.got - row.want); d > 6*math.Sqrt(row.vas/n) {
			t.Errorf("%s = %.5f, want %.5f ± %.5f", row.name, row.got, row.want, 6*math.Sqrt(row.vas/n))
		}
	}
}

// TestNormalKolmogorovSmirnov compares the empirical distribution with Φ; the
// bound is the asymptotic quantile at probability 10⁻⁶, √(−ln(5·10⁻⁷)/2)/√n.
func TestNormalKolmogorovSmirnov(t *testing.T) {
	const n = 200000
	for position := range uint64(4) {
		s := New(2, "noise", position)
		x := make([]float64, n)
		for i := range x {
			x[i] = s.Normal()
		}
		slices.Sort(x)
		worst := 0.0
		for i, v := range x {
			p := 0.5 * math.Erfc(-v/math.Sqrt2)
			worst = max(worst, math.Abs(p-float64(i)/n), math.Abs(p-float64(i+1)/n))
		}
		if bound := math.Sqrt(-math.Log(5e-7)/2) / math.Sqrt(n); worst > bound {
			t.Errorf("position %d: statistic %.5f, bound %.5f", position, worst, bound)
		}
	}
}

// TestNormalAngle: the octant bits must cover the circle evenly; sixteen sectors,
// chi-square below its mean plus six standard deviations (15 degrees of freedom).
func TestNormalAngle(t *testing.T) {
	const n = 160000
	s := New(4, "noise", 0)
	var count [16]float64
	for range n {
		a, b := s.Normal(), s.Normal()
		turn := math.Atan2(b, a)/(2*math.Pi) + 0.5
		count[min(15, int(turn*16))]++
	}
	chi := 0.0
	for _, c := range count {
		chi += (c - n/16) * (c - n/16) / (n / 16)
	}
	if chi > 15+6*math.Sqrt(30) {
		t.Errorf("chi-square of the angle is %.1f", chi)
	}
}

// TestElementaryFunctions holds logUnit, sin and cos to a slow evaluation of
// their series in 200-bit arithmetic.
func TestElementaryFunctions(t *testing.T) {
	s := New(9, "points", 0)
	points := []float64{0x1p-53, 0x1p-30, 0.5, math.Sqrt2 / 2, math.Nextafter(math.Sqrt2/2, 0), 1 - 0x1p-53, 1}
	for range 300 {
		points = append(points, s.Float64()*0.999+0x1p-53)
	}
	for _, x := range points {
		if e := ulps(logUnit(x), bigLog(x)); e > 1 {
			t.Errorf("ln %v is off by %.2f ulp", x, e)
		}
		sin, cos := sinCosQuarter(x / 2)
		wantSin, wantCos := bigSinCos(x / 2)
		if e := ulps(sin, wantSin); e > 2 {
			t.Errorf("sin of %v quarter turns is off by %.2f ulp", x/2, e)
		}
		if e := ulps(cos, wantCos); e > 2 {
			t.Errorf("cos of %v quarter turns is off by %.2f ulp", x/2, e)
		}
	}
}

// TestNormalBits freezes the bits: a different compiler, architecture or
// GOAMD64 level that gives others breaks the order law. The values are those of
// the same definition's, evaluated by NumPy in tools/golden/datasets/rng.py
// (NumPy 2.4.6), which rounds every operation on its own.
func TestNormalBits(t *testing.T) {
	want := []uint64{
		0x3fd8f11c3190d860, 0x3fe85c98cfa0e8f0, 0x3fee836ce96b18cd, 0xbfdd8968086c811f,
		0xbfe73efc9cf7380c, 0x3fd4d3a4f4618951, 0xbf93bd4df271699e, 0x3fe91cfd79e02904,
	}
	s := New(1234, "noise", 42)
	for i, w := range want {
		if got := math.Float64bits(s.Normal()); got != w {
			t.Errorf("draw %d = %#016x, want %#016x", i, got, w)
		}
	}
	// FNV-1a over a million draws, since a fused product shows once in thousands.
	x := make([]float32, 1<<20)
	New(1234, "noise", 43).FillNormal(x)
	hash := uint64(0xcbf29ce484222325)
	for _, v := range x {
		hash = (hash ^ uint64(math.Float32bits(v))) * 0x100000001b3
	}
	for range 1 << 20 {
		hash = (hash ^ math.Float64bits(s.Normal())) * 0x100000001b3
	}
	if want := uint64(0xcdf2e4a198cdc476); hash != want {
		t.Errorf("hash of 2²¹ draws = %#016x, want %#016x", hash, want)
	}
}

const prec = 200

func float(x float64) *big.Float { return new(big.Float).SetPrec(prec).SetFloat64(x) }

// ulps is |got − want| in units of got's last place.
func ulps(got float64, want *big.Float) float64 {
	diff, _ := new(big.Float).Sub(float(got), want).Float64()
	unit := math.Nextafter(math.Abs(got), math.Inf(1)) - math.Abs(got)
	return math.Abs(diff) / unit
}

// bigLog sums ln x = −2·atanh((1−x)/(1+x)) after halving x into [1/2, 1].
func bigLog(x float64) *big.Float {
	frac, exp := math.Frexp(x)
	result := bigAtanhLog(frac)
	ln2 := new(big.Float).Neg(bigAtanhLog(0.5))
	return result.Add(result, ln2.Mul(ln2, float(float64(exp))))
}

func bigAtanhLog(x float64) *big.Float {
	one := float(1)
	s := new(big.Float).Quo(new(big.Float).Sub(float(x), one), new(big.Float).Add(float(x), one))
	square := new(big.Float).Mul(s, s)
	sum, power := float(0), new(big.Float).Set(s)
	for k := 1; k < 400; k += 2 {
		sum.Add(sum, new(big.Float).Quo(power, float(float64(k))))
		power.Mul(power, square)
	}
	return sum.Mul(sum, float(2))
}

// bigSinCos sums the Taylor series at x·π/2.
func bigSinCos(x float64) (sin, cos *big.Float) {
	pi, _, _ := big.ParseFloat("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899", 10, prec, big.ToNearestEven)
	t := new(big.Float).Mul(pi, float(x/2))
	sin, cos = float(0), float(0)
	term := float(1)
	for k := range 60 {
		into := cos
		if k%2 == 1 {
			into = sin
		}
		if k%4 < 2 {
			into.Add(into, term)
		} else {
			into.Sub(into, term)
		}
		term = new(big.Float).Quo(new(big.Float).Mul(term, t), float(float64(k+1)))
	}
	return sin, cos
}

func BenchmarkFillNormal(b *testing.B) {
	x := make([]float32, 1<<14)
	s := New(1, "bench", 0)
	for b.Loop() {
		s.FillNormal(x)
	}
	b.ReportMetric(float64(b.N)*float64(len(x))/b.Elapsed().Seconds()/1e6, "M-normals/s")
}
