package assign

import "math"

// RoundHalf rounds costs, in place, to the digits of float16: the "quantized assignment" of the papers' code, whose
// costs are computed in float16. The ties that it makes shorten the solve, and the pairing loses some 0.003
// percentage points of its distance reduction. Costs are taken in a unit, a power of two, in which the largest lies
// in [2^14, 2^15), so that none overflows; what is below 2^−24 of that unit becomes 0, as in float16. Entries that
// are not finite stay as they are.
func RoundHalf(costs []float32) {
	bits := largest(costs)
	if bits == 0 || bits >= infBits {
		return
	}
	_, exponent := math.Frexp(float64(math.Float32frombits(bits)))
	into, back := math.Ldexp(1, 15-exponent), math.Ldexp(1, exponent-15)
	parallel(len(costs), len(costs), 1, func(from, to int) {
		for k, c := range costs[from:to] {
			costs[from+k] = float32(halfDigits(float64(c)*into) * back)
		}
	})
}

// halfDigits rounds to the nearest float16, to the even one between two, for |x| < 65,520.
func halfDigits(x float64) float64 {
	// Adding and taking away 1.5·2^52 units in the last place rounds to a whole number of them.
	const subnormal = 0x1p-24 // the last place of all numbers below 2^−14
	place := subnormal
	if a := math.Abs(x); a >= 0x1p-14 {
		_, exponent := math.Frexp(a)
		place = math.Ldexp(1, exponent-11)
	}
	big := 0x1.8p52 * place
	return x + big - big
}
