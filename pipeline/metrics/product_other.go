//go:build !amd64

package metrics

// tile is tileGeneric.
func tile(a, b []float64, k int, out []float64, stride int) { tileGeneric(a, b, k, out, stride) }
