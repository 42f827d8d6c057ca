package assign

// tiles lists the kernels that this machine can run.
func tiles() map[string]func(images, noise []float32, n int, out []float32, stride int) {
	kernels := map[string]func(images, noise []float32, n int, out []float32, stride int){
		"chosen": func(images, noise []float32, n int, out []float32, stride int) {
			tile(images, noise, n, out, stride, &images[0])
		},
	}
	if hasFMA {
		kernels["AVX2"] = tileAVX2
	}
	if hasAVX512 {
		kernels["AVX-512"] = func(images, noise []float32, n int, out []float32, stride int) {
			tileAVX512(&images[0], &noise[0], n, &out[0], stride, &images[0])
		}
	}
	return kernels
}
