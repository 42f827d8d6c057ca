package assign

import "math"

// The eight inner loops of the solver in plain Go. They define the result to the bit; kernels_amd64.s repeats
// them eight columns at a time, kernels512_amd64.s four of them sixteen. None multiplies but by a power of two, so that fusing would change nothing.

const (
	signBit = 1 << 31
	infBits = 0x7f800000 // of +Inf; NaNs are above
)

// inf is the distance of a column that is not there.
var inf = float32(math.Inf(1))

// notFinite returns the position of the first infinite or NaN entry, or −1.
func notFinite(x []float32) int {
	const block = 4096
	for from := 0; from < len(x); from += block {
		part := x[from:min(len(x), from+block)]
		if largest(part) < infBits {
			continue
		}
		for i, a := range part {
			if math.Float32bits(a)&^signBit >= infBits {
				return from + i
			}
		}
	}
	return -1
}

// largestGeneric returns the largest |x[i]| as IEEE bits, which reaches infBits exactly when an entry is infinite
// or NaN.
func largestGeneric(x []float32) uint32 {
	var largest uint32
	for _, a := range x {
		largest = max(largest, math.Float32bits(a)&^signBit)
	}
	return largest
}

// lowerRowGeneric sets v[j] = min(v[j], c[j] − u), with u the smallest c[j] − offset[j], and returns the largest |c[j]|
// as IEEE bits, which reaches infBits exactly when an entry is infinite or NaN; then v is spoilt.
func lowerRowGeneric(v, c, offset []float32) uint32 {
	u, _ := min2Generic(c, offset)
	return lower(v, c, u)
}

// lower is the second half of lowerRowGeneric.
func lower(v, c []float32, u float32) uint32 {
	var largest uint32
	v = v[:len(c)]
	for j, x := range c {
		largest = max(largest, math.Float32bits(x)&^signBit)
		if x -= u; x < v[j] {
			v[j] = x
		}
	}
	return largest
}

// accumulateGeneric adds w·(c[j] − r) to a[j]; w is a power of two.
func accumulateGeneric(a, c []float32, r, w float32) {
	a = a[:len(c)]
	for j, x := range c {
		a[j] += w * (x - r)
	}
}

// min2Generic returns the two smallest values of c[j] − v[j], counted with multiplicity; +Inf for one that is missing.
func min2Generic(c, v []float32) (u1, u2 float32) {
	u1, u2 = inf, inf
	v = v[:len(c)]
	for j, x := range c {
		x -= v[j]
		if x < u2 {
			if x < u1 {
				u1, u2 = x, u1
			} else {
				u2 = x
			}
		}
	}
	return u1, u2
}

// argmin2Generic is min2Generic with the columns: the lowest that attains the first value, and the lowest other one that
// attains the second; −1 for one that is missing.
func argmin2Generic(c, v []float32) (j1, j2 int, u1, u2 float32) {
	j1, j2, u1, u2 = -1, -1, inf, inf
	v = v[:len(c)]
	for j, x := range c {
		x -= v[j]
		if x < u2 {
			if x < u1 {
				j1, j2, u1, u2 = j, j1, x, u1
			} else {
				j2, u2 = j, x
			}
		}
	}
	return j1, j2, u1, u2
}

// firstGeneric returns the smallest j ≥ from with c[j] − v[j] ≤ t, or len(c).
func firstGeneric(c, v []float32, t float32, from int) int {
	v = v[:len(c)]
	for j := from; j < len(c); j++ {
		if c[j]-v[j] <= t {
			return j
		}
	}
	return len(c)
}

// relaxGeneric offers every column the path through row, whose reduced costs are c[j] − v[j] − h: where that is
// below d[j] it becomes d[j] and pred[j] = row. It returns the smallest d[j].
func relaxGeneric(d []float32, pred []int32, c, v []float32, h float32, row int32) float32 {
	least := inf
	pred, v, d = pred[:len(c)], v[:len(c)], d[:len(c)]
	for j, x := range c {
		x = x - v[j] - h
		if x < d[j] {
			d[j] = x
			pred[j] = row
		}
		if d[j] < least {
			least = d[j]
		}
	}
	return least
}

// minDiffGeneric returns the smallest c[j] − v[j], subtracted in float64, where the difference of two float32
// of comparable size is exact.
func minDiffGeneric(c, v []float32) float64 {
	least := math.Inf(1)
	v = v[:len(c)]
	for j, x := range c {
		if y := float64(x) - float64(v[j]); y < least {
			least = y
		}
	}
	return least
}
