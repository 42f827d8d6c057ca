//go:build !amd64

package assign

// tiles lists the kernels that this machine can run.
func tiles() map[string]func([]float32, int, []float32, int, []float32, int) {
	return map[string]func([]float32, int, []float32, int, []float32, int){"chosen": tile}
}
