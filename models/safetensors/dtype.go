package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// dtypes lists the element types in the reference implementation's order of ascending alignment, which also decides
// where a tensor lies in a written file. A type's index is its rank.
var dtypes = []struct {
	name string
	bits uint64
}{
	{"BOOL", 8}, {"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8}, {"I8", 8}, {"F8_E5M2", 8}, {"F8_E4M3", 8},
	{"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16}, {"BF16", 16},
	{"I32", 32}, {"U32", 32}, {"F32", 32}, {"C64", 64}, {"F64", 64}, {"I64", 64}, {"U64", 64},
}

// rank is the index of a dtype in dtypes, −1 if it is unknown.
func rank(dtype string) int {
	for i, d := range dtypes {
		if d.name == dtype {
			return i
		}
	}
	return -1
}

// byteSize is the number of bytes of a tensor. It refuses unknown types, negative dimensions, products that overflow
// (in the order of the shape, as the reference does), and elements below a byte that do not fill whole bytes.
func byteSize(dtype string, shape []int64) (int64, error) {
	r := rank(dtype)
	if r < 0 {
		return 0, fmt.Errorf("dtype %q is unknown", dtype)
	}
	n, overflow := uint64(1), uint64(0)
	for i, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v: dimension %d is %d, want at least 0", shape, i, d)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		n, overflow = lo, overflow|hi
	}
	hi, lo := bits.Mul64(n, dtypes[r].bits)
	if overflow|hi != 0 {
		return 0, fmt.Errorf("shape %v of %s: the size overflows 64 bits", shape, dtype)
	}
	if lo%8 != 0 {
		return 0, fmt.Errorf("shape %v of %s: %d bits do not fill whole bytes", shape, dtype, lo)
	}
	return int64(lo / 8), nil
}

// toFloat32 converts as many elements as dst holds from src, which has exactly their bytes. Conversion is exact for F32,
// F16 and BF16; F64 is rounded to nearest even.
func toFloat32(dst []float32, dtype string, src []byte) {
	switch dtype {
	case "F32":
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case "F16":
		for i := range dst {
			dst[i] = float16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case "BF16":
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	case "F64":
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	}
}

// float16 widens an IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 mantissa bits.
func float16(h uint16) float32 {
	sign, exponent, mantissa := uint32(h>>15)<<31, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exponent {
	case 0: // zero or subnormal: mantissa · 2⁻²⁴, exact in float32
		return math.Float32frombits(math.Float32bits(float32(mantissa)*(1.0/(1<<24))) | sign)
	case 0x1f: // infinity or NaN, whose payload is kept
		return math.Float32frombits(sign | 0xff<<23 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | mantissa<<13)
}
