package rng

import (
	"math"
	"math/bits"
	"testing"
)

// TestPhiloxKnownAnswers holds the three philox4x32-10 rows of Random123's own
// tests/kat_vectors (github.com/DEShawResearch/random123, commit 9545ff64).
func TestPhiloxKnownAnswers(t *testing.T) {
	for _, row := range []struct {
		counter, want [4]uint32
		key           [2]uint32
	}{
		{[4]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, [2]uint32{}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, [2]uint32{0xffffffff, 0xffffffff}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}, [2]uint32{0xa4093822, 0x299f31d0}},
	} {
		c := row.counter
		x0, x1, x2, x3 := philox(c[0], c[1], c[2], c[3], row.key[0], row.key[1])
		if got := [4]uint32{x0, x1, x2, x3}; got != row.want {
			t.Errorf("philox(%08x, key %08x) = %08x, want %08x", c, row.key, got, row.want)
		}
	}
}

func TestStreamsArePureAndApart(t *testing.T) {
	type name struct {
		seed     uint64
		stream   string
		position uint64
	}
	seen := map[uint64]name{}
	for _, seed := range []uint64{0, 1, 1 << 32, math.MaxUint64} {
		for _, stream := range []string{"", "flip", "noise", "noisf", "crop"} {
			for _, position := range []uint64{0, 1, 2, 1 << 32, 1 << 63, math.MaxUint64} {
				n := name{seed, stream, position}
				a, b := New(seed, stream, position), New(seed, stream, position)
				for range 100 { // 50 blocks each: no value of 64 bits may repeat anywhere
					x := a.Uint64()
					if y := b.Uint64(); x != y {
						t.Fatalf("%v: two streams of one name give %x and %x", n, x, y)
					}
					if other, ok := seen[x]; ok {
						t.Fatalf("%v repeats a value of %v", n, other)
					}
					seen[x] = n
				}
			}
		}
	}
}

func TestUint64IsTwoWordsAcrossBlocks(t *testing.T) {
	a, b := New(3, "x", 9), New(3, "x", 9)
	a.Uint32()
	b.Uint32()
	for range 20 {
		lo, hi := uint64(a.Uint32()), uint64(a.Uint32())
		if got, want := b.Uint64(), hi<<32|lo; got != want {
			t.Fatalf("Uint64 = %x, want %x", got, want)
		}
	}
}

func TestFloat64Range(t *testing.T) {
	s := New(1, "float", 0)
	sum := 0.0
	const n = 100000
	for range n {
		x := s.Float64()
		if x < 0 || x >= 1 || x*0x1p53 != math.Trunc(x*0x1p53) {
			t.Fatalf("Float64 = %v", x)
		}
		sum += x
	}
	// Standard error of the mean is √(1/12n): six of them.
	if d := math.Abs(sum/n - 0.5); d > 6*math.Sqrt(1.0/12/n) {
		t.Errorf("mean is off by %g", d)
	}
}

// TestIntn counts draws in cells for bounds that do not divide 2⁶⁴ and compares
// chi-square with its mean plus six standard deviations.
func TestIntn(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 10, 1000} {
		s := New(5, "intn", uint64(n))
		const draws = 200000
		count := make([]float64, n)
		for range draws {
			count[s.Intn(n)]++
		}
		chi := 0.0
		for _, c := range count {
			d := c - draws/float64(n)
			chi += d * d / (draws / float64(n))
		}
		free := float64(n - 1)
		if chi > free+6*math.Sqrt(2*free)+1e-9 {
			t.Errorf("Intn(%d): chi-square %.1f with %.0f degrees of freedom", n, chi, free)
		}
	}
	// The largest bound: every draw must stay below it.
	s := New(5, "intn", 0)
	for range 1000 {
		if x := s.Intn(math.MaxInt); x < 0 || x >= math.MaxInt {
			t.Fatalf("Intn(%d) = %d", math.MaxInt, x)
		}
	}
}

// TestBitBalance checks that each of the 64 bits is set half the time.
func TestBitBalance(t *testing.T) {
	const n = 100000
	var ones [64]int
	s := New(11, "bits", 0)
	for range n {
		for x := s.Uint64(); x != 0; x &= x - 1 {
			ones[bits.TrailingZeros64(x)]++
		}
	}
	for i, c := range ones {
		if d := math.Abs(float64(c) - n/2); d > 6*math.Sqrt(n)/2 {
			t.Errorf("bit %d is set %d times in %d", i, c, n)
		}
	}
}

func BenchmarkUint64(b *testing.B) {
	s := New(1, "bench", 0)
	for b.Loop() {
		s.Uint64()
	}
}

func BenchmarkNew(b *testing.B) {
	for i := uint64(0); b.Loop(); i++ {
		New(1, "bench", i).Uint32()
	}
}
