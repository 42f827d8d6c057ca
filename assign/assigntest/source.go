package assigntest

import "math"

// Source is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) with
// what assign.Source asks for. For tests only: training draws come from datasets/rng.
type Source struct{ state uint64 }

// NewSource returns the source of a seed.
func NewSource(seed uint64) *Source { return &Source{seed} }

// Uint64 returns 64 random bits.
func (s *Source) Uint64() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Float64 returns a uniform number in [0, 1).
func (s *Source) Float64() float64 { return float64(s.Uint64()>>11) * 0x1p-53 }

// Normal returns a standard normal number (Marsaglia's polar method, one of each pair).
func (s *Source) Normal() float64 {
	for {
		a, b := 2*s.Float64()-1, 2*s.Float64()-1
		if r := a*a + b*b; r > 0 && r < 1 {
			return a * math.Sqrt(-2*math.Log(r)/r)
		}
	}
}

// FillNormal fills dst with standard normal numbers.
func (s *Source) FillNormal(dst []float32) {
	for i := range dst {
		dst[i] = float32(s.Normal())
	}
}
