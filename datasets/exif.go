package datasets

import (
	"bytes"
	"encoding/binary"
)

// orientation returns the EXIF orientation of a JPEG, PNG or WebP, 1 to 8, where 1 is
// upright; 1 too where there is none or it cannot be read, as Pillow has it
// (tag 274 of the TIFF structure inside: CIPA DC-008, Exif 2.32, section 4.6.4).
func orientation(data []byte) int {
	tiff := exif(data)
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
	}
	const tag, short = 0x0112, 3
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 1
		}
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// exif finds the TIFF structure: a JPEG's APP1 segment before the first scan, a
// PNG's eXIf chunk or a WebP's EXIF chunk. nil where there is none.
func exif(data []byte) []byte {
	if bytes.HasPrefix(data, []byte{0xff, 0xd8}) {
		for rest := data[2:]; len(rest) >= 4 && rest[0] == 0xff; {
			kind, size := rest[1], int(binary.BigEndian.Uint16(rest[2:]))
			if kind == 0xff { // padding before a marker
				rest = rest[1:]
				continue
			}
			if kind == 0xda || size < 2 || 2+size > len(rest) {
				return nil
			}
			if body, ok := bytes.CutPrefix(rest[4:2+size], []byte("Exif\x00\x00")); ok && kind == 0xe1 {
				return body
			}
			rest = rest[2+size:]
		}
		return nil
	}
	if isWebP(data) {
		return webpExif(data)
	}
	for rest := data[min(8, len(data)):]; len(rest) >= 12; {
		size := uint64(binary.BigEndian.Uint32(rest))
		if 12+size > uint64(len(rest)) {
			return nil
		}
		if string(rest[4:8]) == "eXIf" {
			return rest[8 : 8+size]
		}
		rest = rest[12+size:]
	}
	return nil
}

// upright undoes an orientation, as Pillow's ImageOps.exif_transpose does: 2 to 4
// mirror, 5 to 8 also exchange rows and columns.
func upright(p *picture, orientation int) *picture {
	if orientation == 1 {
		return p
	}
	out := p.like(p.w, p.h, p.c)
	if orientation >= 5 {
		out = p.like(p.h, p.w, p.c)
	}
	for y := range out.h {
		for x := range out.w {
			u, v := x, y // where the pixel is in p
			if orientation >= 5 {
				u, v = y, x
			}
			switch orientation {
			case 2, 3, 7, 8:
				u = p.w - 1 - u
			}
			switch orientation {
			case 3, 4, 6, 7:
				v = p.h - 1 - v
			}
			copy(out.pix[(y*out.w+x)*p.c:][:p.c], p.pix[(v*p.w+u)*p.c:])
		}
	}
	return out
}
