package assign

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

//go:noescape
func largestAVX2(x *float32, n int) uint32

//go:noescape
func lowerAVX2(v, c *float32, u float32, n int) uint32

//go:noescape
func accumulateAVX2(a, c *float32, r, w float32, n int)

//go:noescape
func min2AVX2(c, v *float32, n int) (u1, u2 float32)

//go:noescape
func firstAVX2(c, v *float32, t float32, n int) int

//go:noescape
func relaxAVX2(d *float32, pred *int32, c, v *float32, h float32, row int32, n int) float32

//go:noescape
func minDiffAVX2(c, v *float32, n int) float64

//go:noescape
func argmin2AVX512(c, v *float32, n int) (j1, j2 int, u1, u2 float32)

//go:noescape
func relaxAVX512(d *float32, pred *int32, c, v *float32, h float32, row int32, n int) float32

//go:noescape
func lowerRowAVX512(v, c, offset *float32, n int) uint32

//go:noescape
func accumulateAVX512(a, c *float32, r, w float32, n int)

func largest(x []float32) uint32 {
	n := len(x) &^ 15
	if !hasAVX2 || n == 0 {
		return largestGeneric(x)
	}
	return max(largestAVX2(&x[0], n), largestGeneric(x[n:]))
}

func lowerRow(v, c, offset []float32) uint32 {
	if hasAVX512 {
		return lowerRowAVX512(&v[0], &c[0], &offset[0], len(c))
	}
	return lowerRowVector(v, c, offset)
}

// lowerRowVector is lowerRowGeneric by AVX2.
func lowerRowVector(v, c, offset []float32) uint32 {
	u, _ := min2(c, offset)
	n := len(c) &^ 7
	if !hasAVX2 || n == 0 {
		return lower(v, c, u)
	}
	return max(lowerAVX2(&v[0], &c[0], u, n), lower(v[n:], c[n:], u))
}

func accumulate(a, c []float32, r, w float32) {
	if hasAVX512 {
		accumulateAVX512(&a[0], &c[0], r, w, len(c))
		return
	}
	accumulateVector(a, c, r, w)
}

// accumulateVector is accumulateGeneric by AVX2.
func accumulateVector(a, c []float32, r, w float32) {
	n := len(c) &^ 7
	if !hasAVX2 || n == 0 {
		accumulateGeneric(a, c, r, w)
		return
	}
	accumulateAVX2(&a[0], &c[0], r, w, n)
	accumulateGeneric(a[n:], c[n:], r, w)
}

func min2(c, v []float32) (u1, u2 float32) {
	n := len(c) &^ 7
	if !hasAVX2 || n == 0 {
		return min2Generic(c, v)
	}
	u1, u2 = min2AVX2(&c[0], &v[0], n)
	if n == len(c) {
		return u1, u2
	}
	r1, r2 := min2Generic(c[n:], v[n:])
	return min(u1, r1), min(max(u1, r1), u2, r2)
}

func argmin2(c, v []float32) (j1, j2 int, u1, u2 float32) {
	if hasAVX512 {
		return argmin2AVX512(&c[0], &v[0], len(c))
	}
	return argmin2Vector(c, v)
}

// argmin2Vector is argmin2Generic by way of min2 and first.
func argmin2Vector(c, v []float32) (j1, j2 int, u1, u2 float32) {
	u1, u2 = min2(c, v)
	j1, j2 = -1, -1
	for j := first(c, v, u2, 0); j < len(c) && (j1 < 0 || j2 < 0); j = first(c, v, u2, j+1) {
		if j1 < 0 && c[j]-v[j] <= u1 {
			j1 = j
		} else if j2 < 0 {
			j2 = j
		}
	}
	return j1, j2, u1, u2
}

func first(c, v []float32, t float32, from int) int {
	n := (len(c) - from) &^ 7
	if !hasAVX2 || n <= 0 {
		return firstGeneric(c, v, t, from)
	}
	if j := firstAVX2(&c[from], &v[from], t, n); j < n {
		return from + j
	}
	return firstGeneric(c, v, t, from+n)
}

func relax(d []float32, pred []int32, c, v []float32, h float32, row int32) float32 {
	if hasAVX512 {
		return relaxAVX512(&d[0], &pred[0], &c[0], &v[0], h, row, len(c))
	}
	return relaxVector(d, pred, c, v, h, row)
}

// relaxVector is relaxGeneric by AVX2.
func relaxVector(d []float32, pred []int32, c, v []float32, h float32, row int32) float32 {
	n := len(c) &^ 7
	if !hasAVX2 || n == 0 {
		return relaxGeneric(d, pred, c, v, h, row)
	}
	return min(relaxAVX2(&d[0], &pred[0], &c[0], &v[0], h, row, n), relaxGeneric(d[n:], pred[n:], c[n:], v[n:], h, row))
}

func minDiff(c, v []float32) float64 {
	n := len(c) &^ 7
	if !hasAVX2 || n == 0 {
		return minDiffGeneric(c, v)
	}
	return min(minDiffAVX2(&c[0], &v[0], n), minDiffGeneric(c[n:], v[n:]))
}
