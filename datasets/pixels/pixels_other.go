//go:build !amd64

package pixels

func rowsRGB(dst, src []uint8, stride int, all []Taps) { rowsGeneric(dst, src, stride, 3, all) }

// columnsFast makes none of the bytes: columnsGeneric makes all.
func columnsFast(dst, src []uint8, stride int, weights []int32) int { return 0 }

// toRGBFast makes none of the pixels: toRGBGeneric makes all.
func toRGBFast(dst, y, cb, cr []uint8) int { return 0 }
