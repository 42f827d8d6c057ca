//go:build !amd64

package assign

func tile(images, noise []float32, n int, out []float32, stride int, next *float32) {
	tileGeneric(images, noise, n, out, stride)
}

func packNoises(dst, noise []float32, dim, cols, n int) { packGeneric(dst, noise, dim, cols, n) }
