//go:build !amd64

package jpeg

// idct writes the 8×8 pixels of a block of dequantised coefficients into dst.
func idct(b *block, dst []uint8, stride int) { idctGeneric(b, dst, stride) }
