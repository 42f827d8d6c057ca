//go:build !amd64

package assign

func largest(x []float32) uint32                          { return largestGeneric(x) }
func accumulate(a, c []float32, r, w float32)             { accumulateGeneric(a, c, r, w) }
func lowerRow(v, c, offset []float32) uint32              { return lowerRowGeneric(v, c, offset) }
func min2(c, v []float32) (u1, u2 float32)                { return min2Generic(c, v) }
func first(c, v []float32, t float32, from int) int       { return firstGeneric(c, v, t, from) }
func argmin2(c, v []float32) (j1, j2 int, u1, u2 float32) { return argmin2Generic(c, v) }
func minDiff(c, v []float32) float64                      { return minDiffGeneric(c, v) }
func relax(d []float32, pred []int32, c, v []float32, h float32, row int32) float32 {
	return relaxGeneric(d, pred, c, v, h, row)
}
