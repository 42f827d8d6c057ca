package rng

import "math"

// Normal returns one draw from N(0, 1), the same bits on every architecture.
//
// It is the Box–Muller transform (G. E. P. Box and M. E. Muller, "A note on the
// generation of random normal deviates", 1958): one Philox block makes two
// numbers, of which the second is kept for the next call. A block is never
// shared with the integer draws: words of a block that was begun by those are
// left behind. The largest magnitude that can come out is √(2·53·ln 2) = 8.57.
func (s *Stream) Normal() float64 {
	if s.hasSpare {
		s.hasSpare = false
		return s.spare
	}
	a, b := boxMuller(s.next())
	s.used = 4
	s.spare, s.hasSpare = b, true
	return a
}

// FillNormal fills dst with draws from N(0, 1). It is the same sequence as
// len(dst) calls of Normal, each rounded to float32.
func (s *Stream) FillNormal(dst []float32) {
	if len(dst) == 0 {
		return
	}
	if s.hasSpare {
		dst[0] = float32(s.Normal())
		dst = dst[1:]
	}
	for len(dst) >= 2 {
		a, b := boxMuller(s.next())
		dst[0], dst[1] = float32(a), float32(b)
		dst = dst[2:]
	}
	s.used = 4
	if len(dst) == 1 {
		dst[0] = float32(s.Normal())
	}
}

// boxMuller turns 128 uniform bits into two independent normal numbers
// r·cos θ and r·sin θ, with r = √(−2 ln u) and θ uniform on the circle.
//
// The angle is drawn as one of the circle's eight octants (three bits: swap the
// coordinates, sign of each) and an angle within it, so that no range reduction
// and no branch is needed.
func boxMuller(x0, x1, x2, x3 uint32) (a, b float64) {
	radial := uint64(x1)<<32 | uint64(x0)
	angle := uint64(x3)<<32 | uint64(x2)

	// 52 bits and a half, so that neither 0 nor 1 can come out.
	u := float64(radial>>12<<1|1) * 0x1p-53
	r := math.Sqrt(-2 * logUnit(u))

	// The angle in units of a quarter turn, inside (0, 1/2).
	sin, cos := sinCosQuarter(float64(angle>>12<<1|1) * 0x1p-54)

	// Bit 0 swaps, bits 1 and 2 are the signs: the low twelve bits are unused above.
	x, y := math.Float64bits(cos), math.Float64bits(sin)
	swap := (x ^ y) & -(angle & 1)
	x ^= swap | angle>>1&1<<63
	y ^= swap | angle>>2&1<<63
	return float64(r * math.Float64frombits(x)), float64(r * math.Float64frombits(y))
}

// logUnit returns ln x for x in (0, 1], within 1 ulp.
//
// x = 2ᵏ·(1+f) with 1+f in [√½, √2), s = f/(2+f), and ln(1+f) = 2·atanh(s) =
// f − s·(f − R), or with h = f²/2: f − (h − s·(h+R)), where R ≈ 2s² / 3 + 2s⁴/5 + … is
// a polynomial in s² whose seven minimax coefficients are those of fdlibm's
// e_log.c (Sun Microsystems, 1993; https://www.netlib.org/fdlibm/e_log.c).
func logUnit(x float64) float64 {
	const (
		ln2Hi = 6.93147180369123816490e-01
		ln2Lo = 1.90821492927058770002e-10
		c1    = 6.666666666666735130e-01
		c2    = 3.999999999940941908e-01
		c3    = 2.857142874366239149e-01
		c4    = 2.222219843214978396e-01
		c5    = 1.818357216161805012e-01
		c6    = 1.531383769920937332e-01
		c7    = 1.479819860511658591e-01

		sqrtHalf = 0x3fe6a09e667f3bcd // bits of √½
		mantissa = 1<<52 - 1
	)
	// Subtracting √½'s bits makes the exponent field count from √½, not from 1.
	b := math.Float64bits(x) - sqrtHalf
	k := float64(int64(b) >> 52)
	f := math.Float64frombits(b&mantissa+sqrtHalf) - 1

	s := f / (2 + f)
	z := float64(s * s)
	w := float64(z * z)
	odd := float64(z * (c1 + float64(w*(c3+float64(w*(c5+float64(w*c7)))))))
	even := float64(w * (c2 + float64(w*(c4+float64(w*c6)))))
	h := float64(0.5 * float64(f*f))
	return float64(k*ln2Hi) - ((h - (float64(s*(h+(odd+even))) + float64(k*ln2Lo))) - f)
}

// sinCosQuarter returns sin and cos of x quarter turns, 0 ≤ x ≤ 1/2, within
// 2 ulp: Taylor series in y = (π/2·x)², whose first neglected terms are below
// 2⁻⁵⁷ at the end of the range (y ≤ 0.617).
func sinCosQuarter(x float64) (sin, cos float64) {
	t := float64(x * (math.Pi / 2))
	y := float64(t * t)
	p := -1.0 / 1307674368000 // 15!
	p = 1.0/6227020800 + float64(y*p)
	p = -1.0/39916800 + float64(y*p)
	p = 1.0/362880 + float64(y*p)
	p = -1.0/5040 + float64(y*p)
	p = 1.0/120 + float64(y*p)
	p = -1.0/6 + float64(y*p)
	sin = t + float64(float64(t*y)*p)

	q := 1.0 / 20922789888000 // 16!
	q = -1.0/87178291200 + float64(y*q)
	q = 1.0/479001600 + float64(y*q)
	q = -1.0/3628800 + float64(y*q)
	q = 1.0/40320 + float64(y*q)
	q = -1.0/720 + float64(y*q)
	q = 1.0/24 + float64(y*q)
	q = -1.0/2 + float64(y*q)
	cos = 1 + float64(y*q)
	return sin, cos
}
