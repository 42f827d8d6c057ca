//go:build !amd64

package assign

func tile(x []float32, xs int, noise []float32, width int, out []float32, stride int) {
	tileGeneric(x, xs, noise, width, out, stride)
}
