package pixels

// unit maps a byte to [−1, 1] as v/127.5 − 1, so that 0 is exactly −1 and 255 exactly 1.
var unit = func() (table [256]float32) {
	for v := range table {
		table[v] = float32(float64(v)/127.5 - 1)
	}
	return table
}()

// Unit puts one row of pixels of some channels into the rows of as many planes, plane
// numbers apart in dst, as v/127.5 − 1; mirrored left to right if flip.
func Unit(dst []float32, plane int, row []uint8, channels int, flip bool) {
	n := len(row) / channels
	done := 0
	if channels == 3 {
		done = unitFast(dst, plane, row, flip)
	}
	for x := done; x < n; x++ {
		at := x
		if flip {
			at = n - 1 - x
		}
		for c := range channels {
			dst[c*plane+x] = unit[row[at*channels+c]]
		}
	}
}
