package jpeg

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// constants are the multipliers of idct8, each eight times, and what its two passes add
// before they shift: the second also adds 128, the middle of a byte.
var constants = func() (all [14][8]int32) {
	for i, v := range [14]int32{
		fix0541, fix1847, fix0765, fix1175, fix0899, fix2562, fix1961, fix0390, fix0298, fix2053, fix3072, fix1501,
		1 << (constBits - passBits - 1), 1<<(constBits+passBits+2) + 128<<(constBits+passBits+3),
	} {
		for k := range all[i] {
			all[i][k] = v
		}
	}
	return all
}()

// idct8 is idctGeneric, eight columns and eight rows at a time.
//
//go:noescape
func idct8(b *block, dst *uint8, stride int, constants *[14][8]int32)

// idct writes the 8×8 pixels of a block of dequantised coefficients into dst.
func idct(b *block, dst []uint8, stride int) {
	if !hasAVX2 {
		idctGeneric(b, dst, stride)
		return
	}
	_ = dst[7*stride+7]
	idct8(b, &dst[0], stride, &constants)
}
