package half

import "golang.org/x/sys/cpu"

// Every processor with AVX2 has the conversion (F16C), which is older.
var hasAVX2 = cpu.X86.HasAVX2

// floats32 reads n float16s, a multiple of 32 above 0.
//
//go:noescape
func floats32(dst *float32, data *byte, n int)

// wide does as many as it can at once, and says how many.
func wide(dst []float32, data []byte) int {
	n := len(dst) &^ 31
	if !hasAVX2 || n == 0 {
		return 0
	}
	floats32(&dst[0], &data[0], n)
	return n
}
