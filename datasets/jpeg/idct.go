package jpeg

// The inverse DCT is libjpeg's "slow" integer one (jidctint.c of
// libjpeg-turbo/libjpeg-turbo), after C. Loeffler, A. Ligtenberg and G. Moschytz,
// "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989: columns,
// then rows, in 13-bit fixed point, with 2 more bits kept between the two.
const (
	constBits = 13
	passBits  = 2
)

// Cosines and their sums, × 2¹³.
const (
	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

// idctGeneric is idct in plain Go. It overwrites the block.
func idctGeneric(b *block, dst []uint8, stride int) {
	for x := range 8 {
		c := b[x : x+57 : x+57]
		if c[8]|c[16]|c[24]|c[32]|c[40]|c[48]|c[56] == 0 {
			v := c[0] << passBits
			c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v, v
			continue
		}
		const shift, round = constBits - passBits, 1 << (constBits - passBits - 1)
		e0, e1, e2, e3 := even(c[0], c[16], c[32], c[48])
		o0, o1, o2, o3 := odd(c[8], c[24], c[40], c[56])
		c[0], c[56] = (e0+o3+round)>>shift, (e0-o3+round)>>shift
		c[8], c[48] = (e1+o2+round)>>shift, (e1-o2+round)>>shift
		c[16], c[40] = (e2+o1+round)>>shift, (e2-o1+round)>>shift
		c[24], c[32] = (e3+o0+round)>>shift, (e3-o0+round)>>shift
	}
	for y := range 8 {
		r := b[8*y : 8*y+8 : 8*y+8]
		out := dst[y*stride : y*stride+8 : y*stride+8]
		const shift, round = constBits + passBits + 3, 1 << (constBits + passBits + 2)
		e0, e1, e2, e3 := even(r[0], r[2], r[4], r[6])
		o0, o1, o2, o3 := odd(r[1], r[3], r[5], r[7])
		out[0], out[7] = level((e0+o3+round)>>shift), level((e0-o3+round)>>shift)
		out[1], out[6] = level((e1+o2+round)>>shift), level((e1-o2+round)>>shift)
		out[2], out[5] = level((e2+o1+round)>>shift), level((e2-o1+round)>>shift)
		out[3], out[4] = level((e3+o0+round)>>shift), level((e3-o0+round)>>shift)
	}
}

// even is the part of coefficients 0, 2, 4 and 6.
func even(x0, x2, x4, x6 int32) (e0, e1, e2, e3 int32) {
	z := (x2 + x6) * fix0541
	t2, t3 := z-x6*fix1847, z+x2*fix0765
	t0, t1 := (x0+x4)<<constBits, (x0-x4)<<constBits
	return t0 + t3, t1 + t2, t1 - t2, t0 - t3
}

// odd is the part of coefficients 1, 3, 5 and 7.
func odd(x1, x3, x5, x7 int32) (o0, o1, o2, o3 int32) {
	z1, z2 := -(x7+x1)*fix0899, -(x5+x3)*fix2562
	z5 := (x7 + x3 + x5 + x1) * fix1175
	z3, z4 := z5-(x7+x3)*fix1961, z5-(x5+x1)*fix0390
	return x7*fix0298 + z1 + z3, x5*fix2053 + z2 + z4, x3*fix3072 + z2 + z3, x1*fix1501 + z1 + z4
}

// flat writes the pixels of a block that has nothing but its first coefficient.
func flat(dc int32, dst []uint8, stride int) {
	v := level((dc<<passBits + 1<<(passBits+2)) >> (passBits + 3))
	for y := range 8 {
		out := dst[y*stride : y*stride+8 : y*stride+8]
		for x := range out {
			out[x] = v
		}
	}
}

// level makes a byte of a pixel around 0.
func level(v int32) uint8 {
	if v += 128; uint32(v) <= 255 {
		return uint8(v)
	}
	return uint8(^(v >> 31)) // 0 below, 255 above
}
