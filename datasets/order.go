package datasets

import (
	"math/bits"

	"immiscible/datasets/rng"
)

// rounds of the Feistel network. Four make a pseudorandom permutation of a large
// domain (M. Luby and C. Rackoff, 1988); small domains need more, and TestOrderIsFair
// counts every permutation of up to five records.
const rounds = 12

// permute returns where a keyed permutation of 0 … n−1 sends k. The permutation
// is a pure function of (seed, epoch, n), needs no memory and no setup: the
// epoch of a billion records costs as much as that of ten.
func permute(seed uint64, epoch int64, n, k uint64) uint64 {
	return feistel(rng.New(seed, "order", uint64(epoch)), n, k)
}

// feistel sends k to its place in a permutation of 0 … n−1 whose keys are the
// stream's next draws.
//
// It is a Feistel network on ⌈log₂ n⌉ bits, the halves differing by a bit where
// that is odd, with cycle walking: a value that lands outside 0 … n−1 is sent
// through again, at most twice on average (J. Black and P. Rogaway, "Ciphers with
// arbitrary finite domains", CT-RSA 2002, https://doi.org/10.1007/3-540-45760-7_9).
func feistel(stream *rng.Stream, n, k uint64) uint64 {
	width := bits.Len64(n - 1)
	low := width / 2
	maskLow, maskHigh := uint64(1)<<low-1, uint64(1)<<(width-low)-1

	var keys [rounds]uint64
	for i := range keys {
		keys[i] = stream.Uint64()
	}
	for {
		l, h := k&maskLow, k>>low
		for i := 0; i < rounds; i += 2 {
			h ^= mix(l^keys[i]) & maskHigh
			l ^= mix(h^keys[i+1]) & maskLow
		}
		k = h<<low | l
		if k < n {
			return k
		}
	}
}

// mix is the finalizer of MurmurHash3 (A. Appleby), a bijection of 64 bits whose
// every output bit depends on every input bit.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
