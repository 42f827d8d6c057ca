package pixels

// ToRGB converts a row of JFIF's colours, full range and at one resolution, to
// interleaved RGB, in 16-bit fixed point, rounded as in jdcolor.c of
// libjpeg-turbo/libjpeg-turbo:
//
//	R = Y + 1.402·Cr   G = Y − 0.34414·Cb − 0.71414·Cr   B = Y + 1.772·Cb
func ToRGB(dst, y, cb, cr []uint8) {
	cb, cr, dst = cb[:len(y)], cr[:len(y)], dst[:3*len(y)]
	done := toRGBFast(dst, y, cb, cr)
	toRGBGeneric(dst[3*done:], y[done:], cb[done:], cr[done:])
}

func toRGBGeneric(dst, y, cb, cr []uint8) {
	const half = 1 << 15
	for x, luma := range y {
		l, blue, red := int32(luma), int32(cb[x])-128, int32(cr[x])-128
		rgb := dst[3*x : 3*x+3 : 3*x+3]
		rgb[0] = clip(l + (91881*red+half)>>16)
		rgb[1] = clip(l + (-22554*blue-46802*red+half)>>16)
		rgb[2] = clip(l + (116130*blue+half)>>16)
	}
}
