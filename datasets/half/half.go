// Package half stores numbers as float16 (IEEE 754-2019, binary16): 11 bits of
// precision, from 2⁻²⁴ to 65504.
package half

import (
	"encoding/binary"
	"math"
)

// From rounds to the nearest float16, halves to even (IEEE 754-2019, section 4.3.1).
// What is beyond its range becomes infinite.
func From(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	b &= 1<<31 - 1
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 // not a number
	case b >= 0x47800000:
		return sign | 0x7c00 // 2¹⁶ and above
	case b < 0x38800000: // below 2⁻¹⁴: the addition rounds to multiples of 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-math.Float32bits(0.5))
	}
	b += 0xfff + b>>13&1 // 2¹⁶ − 16 and above carry into the infinite
	return sign | uint16(b>>13-(127-15)<<10)
}

// Float is the value of a float16, exactly.
func Float(h uint16) float32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10&31), uint32(h&1023)
	switch exponent {
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)/(1<<24)))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// Floats reads len(dst) little-endian float16s. They may stand in the second half of dst's
// own memory.
func Floats(dst []float32, data []byte) {
	data = data[:2*len(dst)]
	n := wide(dst, data)
	for i := n; i < len(dst); i++ {
		dst[i] = Float(binary.LittleEndian.Uint16(data[2*i:]))
	}
}
