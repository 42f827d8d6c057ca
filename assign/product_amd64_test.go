package assign

// tiles lists the kernels that this machine can run.
func tiles() map[string]func([]float32, int, []float32, int, []float32, int) {
	kernels := map[string]func([]float32, int, []float32, int, []float32, int){"generic": tileGeneric, "chosen": tile}
	if hasAVX2 {
		kernels["AVX2"] = tileAVX2
	}
	if hasAVX512 {
		kernels["AVX-512"] = func(x []float32, xs int, noise []float32, width int, out []float32, stride int) {
			tileAVX512(&x[0], xs, &noise[0], width, &out[0], stride)
		}
	}
	return kernels
}
