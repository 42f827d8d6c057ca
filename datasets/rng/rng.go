package rng

import "math/bits"

// Philox4x32 constants: the two multipliers and the two Weyl increments of the
// key schedule (Salmon et al. 2011, section 4.3 and its reference code).
const (
	mul0  = 0xD2511F53
	mul1  = 0xCD9E8D57
	weyl0 = 0x9E3779B9
	weyl1 = 0xBB67AE85
)

// philox encrypts one 128-bit counter under a 64-bit key with ten rounds.
func philox(c0, c1, c2, c3, k0, k1 uint32) (x0, x1, x2, x3 uint32) {
	for range 10 {
		p0 := uint64(mul0) * uint64(c0)
		p1 := uint64(mul1) * uint64(c2)
		c0, c1, c2, c3 = uint32(p1>>32)^c1^k0, uint32(p1), uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += weyl0
		k1 += weyl1
	}
	return c0, c1, c2, c3
}

// Stream is one sequence of draws. It is not safe for concurrent use; make one
// for each position instead, which costs about as much as one draw.
type Stream struct {
	k0, k1   uint32
	position uint64
	block    uint64 // the next counter value to encrypt

	words [4]uint32 // the current block
	used  int       // words already given out; 4 when none are left

	spare    float64 // second number of the last Box–Muller pair
	hasSpare bool
}

// New returns the stream of (seed, name, position) at its start. Streams of
// different names under one seed share a key with probability 2⁻⁶⁴; streams of
// one name never overlap before 2⁶⁴ blocks of four words.
func New(seed uint64, name string, position uint64) *Stream {
	s := &Stream{position: position, used: 4}
	key := Key(seed, name)
	s.k0, s.k1 = uint32(key), uint32(key>>32)
	return s
}

// Key mixes a seed and a name into a Philox key, its first word in the lower half:
// the name's 64-bit FNV-1a hash is a counter that is encrypted under the seed. It is
// what another implementation needs to draw the streams of (seed, name): block b of
// position p is Philox4x32-10 of the counter (b, p), lower halves first.
func Key(seed uint64, name string) uint64 {
	hash := uint64(0xcbf29ce484222325)
	for i := 0; i < len(name); i++ {
		hash = (hash ^ uint64(name[i])) * 0x100000001b3
	}
	k0, k1, _, _ := philox(uint32(hash), uint32(hash>>32), uint32(len(name)), 0, uint32(seed), uint32(seed>>32))
	return uint64(k1)<<32 | uint64(k0)
}

// next encrypts the next counter.
func (s *Stream) next() (x0, x1, x2, x3 uint32) {
	b, p := s.block, s.position
	s.block++
	return philox(uint32(b), uint32(b>>32), uint32(p), uint32(p>>32), s.k0, s.k1)
}

// Uint32 returns 32 uniform bits.
func (s *Stream) Uint32() uint32 {
	if s.used == 4 {
		s.words[0], s.words[1], s.words[2], s.words[3] = s.next()
		s.used = 0
	}
	x := s.words[s.used]
	s.used++
	return x
}

// Uint64 returns 64 uniform bits: two words, the low one first.
func (s *Stream) Uint64() uint64 {
	lo := s.Uint32()
	return uint64(s.Uint32())<<32 | uint64(lo)
}

// Float64 returns a uniform number in [0, 1), a multiple of 2⁻⁵³.
func (s *Stream) Float64() float64 {
	return float64(s.Uint64()>>11) * 0x1p-53
}

// Intn returns a uniform number in [0, n) without bias (D. Lemire, "Fast random
// integer generation in an interval", 2019, https://doi.org/10.1145/3230636).
// n must be positive.
func (s *Stream) Intn(n int) int {
	bound := uint64(n)
	hi, lo := bits.Mul64(s.Uint64(), bound)
	if lo < bound {
		for threshold := -bound % bound; lo < threshold; {
			hi, lo = bits.Mul64(s.Uint64(), bound)
		}
	}
	return int(hi)
}
