//go:build !amd64

package pixels

// What the functions below leave undone, the plain loops do: all of it.

func rowsFast(dst, src []uint8, stride, rows int, t Taps) int { return 0 }

func columnsFast(dst, src []uint8, stride int, t Taps) int { return 0 }

func toRGBFast(dst, y, cb, cr []uint8) int { return 0 }

func unitFast(dst []float32, plane int, row []uint8, flip bool) int { return 0 }

func blendFast(sums []uint16, near, far []uint8) int { return 0 }

func widenFast(out []uint8, sums []uint16, roundLeft, roundRight uint16, shift uint) int { return 0 }
