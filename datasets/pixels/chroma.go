package pixels

// Blend writes 3·near + far.
func Blend(sums []uint16, near, far []uint8) {
	near, far = near[:len(sums)], far[:len(sums)]
	done := blendFast(sums, near, far)
	for i := done; i < len(sums); i++ {
		sums[i] = 3*uint16(near[i]) + uint16(far[i])
	}
}

// Widen doubles a row of len(sums)−2 numbers, the first and the last being room for what
// lies beyond the ends, for which the numbers there stand: each output is 3·nearer +
// farther, with its rounding, less its last shift bits. The sums are below 2¹⁶.
func Widen(out []uint8, sums []uint16, roundLeft, roundRight uint16, shift uint) {
	n := len(sums) - 2
	sums[0], sums[n+1] = sums[1], sums[n]
	shift &= 15 // so that no loop asks whether it is larger
	out = out[:2*n]
	for i := widenFast(out, sums, roundLeft, roundRight, shift); i < n; i++ {
		out[2*i] = uint8((3*sums[i+1] + sums[i] + roundLeft) >> shift)
		out[2*i+1] = uint8((3*sums[i+1] + sums[i+2] + roundRight) >> shift)
	}
}
