//go:build !amd64

package assign

// tiles lists the kernels that this machine can run: none but the generic one.
func tiles() map[string]func(images, noise []float32, n int, out []float32, stride int) { return nil }
