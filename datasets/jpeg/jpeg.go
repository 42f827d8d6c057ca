// Package jpeg decodes JPEGs into the planes that libjpeg, and so Pillow, makes of
// them, to the bit: the standard library's inverse DCT rounds otherwise, which is up to
// three levels in a pixel. It reads baseline and progressive files in grey or in
// Y'CbCr, which is what data sets consist of, in about two thirds of the standard
// library's time; Decode says which files are not for it.
//
// The format is ITU-T T.81 | ISO/IEC 10918-1; sections below are of it.
package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
)

// ErrUnsupported is the error of a file that is well formed as far as it was read, but
// not for this decoder: other colours, other samplings, arithmetic or lossless coding.
var ErrUnsupported = errors.New("a JPEG of an unusual kind")

var errShort = errors.New("the JPEG ends early")

// Markers (table B.1).
const (
	markerSOF0 = 0xc0 // baseline
	markerSOF1 = 0xc1 // extended sequential
	markerSOF2 = 0xc2 // progressive
	markerDHT  = 0xc4
	markerRST0 = 0xd0
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerDQT  = 0xdb
	markerDRI  = 0xdd
	markerAPP0 = 0xe0
	markerAPPE = 0xee
)

// component is one plane.
type component struct {
	id     byte
	h, v   int // sampling factors
	table  byte
	wide   int // blocks in a row of the image, without padding
	high   int
	stride int // blocks in a row of MCUs, with padding
	pix    []uint8
	coefs  []block // progressive: of all blocks, in zigzag's natural order
	dc     int32
	done   bool // baseline: a scan has brought it
}

// block holds the 64 coefficients of 8×8 pixels.
type block [64]int32

type decoder struct {
	data          []byte
	at            int // of the next byte
	width, height int
	progressive   bool
	components    []component
	hmax, vmax    int
	mcusX, mcusY  int
	quant         [4][64]int32 // in natural order
	huffman       [2][4]huffman
	restart       int // MCUs between restart markers; 0: none
	adobe         int // transform of the APP14 segment; −1: none
	jfif          bool
	eobRun        int

	bits    uint64 // next bits of the scan, from the highest
	n       int    // how many
	padding int    // of them, zeros behind the end of the scan
}

// Decode returns the image as an *image.Gray or *image.YCbCr. Errors that wrap
// ErrUnsupported leave the file to another decoder. The caller bounds the size.
func Decode(data []byte) (image.Image, error) {
	d := &decoder{data: data, adobe: -1}
	if len(data) < 4 || data[0] != 0xff || data[1] != markerSOI {
		return nil, errors.New("no JPEG")
	}
	d.at = 2
	for {
		marker, ok := d.marker()
		if !ok {
			return nil, errShort
		}
		if marker == markerEOI {
			break
		}
		if marker == 0x01 || marker >= markerRST0 && marker <= markerSOI {
			continue // they have no segment
		}
		if len(d.data)-d.at < 2 {
			return nil, errShort
		}
		size := int(binary.BigEndian.Uint16(d.data[d.at:]))
		if size < 2 || size > len(d.data)-d.at {
			return nil, errShort
		}
		segment := d.data[d.at+2 : d.at+size]
		d.at += size
		if err := d.segment(marker, segment); err != nil {
			return nil, err
		}
	}
	if len(d.components) == 0 {
		return nil, errors.New("no image in the JPEG")
	}
	if d.progressive {
		d.reconstruct()
	} else if !d.whole() {
		return nil, errShort
	}
	return d.image(), nil
}

// marker finds the next marker, passing over what stands before it.
func (d *decoder) marker() (byte, bool) {
	for ; d.at+1 < len(d.data); d.at++ {
		if d.data[d.at] == 0xff && d.data[d.at+1] != 0 && d.data[d.at+1] != 0xff {
			d.at += 2
			return d.data[d.at-1], true
		}
	}
	return 0, false
}

// whole tells whether all components of a baseline image have come.
func (d *decoder) whole() bool {
	for _, c := range d.components {
		if !c.done {
			return false
		}
	}
	return len(d.components) > 0
}

func (d *decoder) segment(marker byte, s []byte) error {
	switch {
	case marker == markerSOF0 || marker == markerSOF1 || marker == markerSOF2:
		d.progressive = marker == markerSOF2
		return d.frame(s)
	case marker == markerDHT:
		return d.huffmanTables(s)
	case marker >= 0xc3 && marker <= 0xcf:
		return fmt.Errorf("coding process %#x: %w", marker, ErrUnsupported)
	case marker == markerDQT:
		return d.quantTables(s)
	case marker == markerDRI && len(s) >= 2:
		d.restart = int(binary.BigEndian.Uint16(s))
	case marker == markerAPP0 && len(s) >= 5 && string(s[:5]) == "JFIF\x00":
		d.jfif = true
	case marker == markerAPPE && len(s) >= 12 && string(s[:5]) == "Adobe":
		d.adobe = int(s[11])
	case marker == markerSOS:
		return d.scan(s)
	}
	return nil
}

// quantTables reads quantisation tables (B.2.4.1).
func (d *decoder) quantTables(s []byte) error {
	for len(s) > 0 {
		size, id := 1+int(s[0]>>4), s[0]&15
		if s = s[1:]; size > 2 || id > 3 || len(s) < 64*size {
			return errors.New("damaged quantisation table")
		}
		for k := range 64 {
			if size == 1 {
				d.quant[id][natural[k]] = int32(s[k])
			} else {
				d.quant[id][natural[k]] = int32(binary.BigEndian.Uint16(s[2*k:]))
			}
		}
		s = s[64*size:]
	}
	return nil
}

// frame reads a frame header (B.2.2) and makes room for its planes.
func (d *decoder) frame(s []byte) error {
	if len(d.components) > 0 {
		return errors.New("two images in one JPEG")
	}
	if len(s) < 6 || len(s) < 6+3*int(s[5]) {
		return errShort
	}
	d.height, d.width = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	if s[0] != 8 || d.height == 0 || d.width == 0 || s[5] != 1 && s[5] != 3 {
		return fmt.Errorf("%d bits, %d×%d, %d components: %w", s[0], d.width, d.height, s[5], ErrUnsupported)
	}
	all := make([]component, s[5])
	for i := range all {
		c := s[6+3*i:]
		all[i] = component{id: c[0], h: int(c[1] >> 4), v: int(c[1] & 15), table: c[2]}
		if all[i].table > 3 {
			return errors.New("damaged frame header")
		}
	}
	if len(all) == 1 {
		all[0].h, all[0].v = 1, 1 // there is nothing to be sampled against
	} else if y, cb, cr := all[0], all[1], all[2]; cb.h != 1 || cb.v != 1 || cr.h != 1 || cr.v != 1 || ratio(y) < 0 {
		return fmt.Errorf("sampling %d×%d, %d×%d, %d×%d: %w", y.h, y.v, cb.h, cb.v, cr.h, cr.v, ErrUnsupported)
	} else if !d.jfif && (d.adobe == 0 || d.adobe < 0 && y.id == 'R' && cb.id == 'G' && cr.id == 'B') {
		return fmt.Errorf("RGB: %w", ErrUnsupported)
	}
	d.hmax, d.vmax = all[0].h, all[0].v
	d.mcusX, d.mcusY = (d.width+8*d.hmax-1)/(8*d.hmax), (d.height+8*d.vmax-1)/(8*d.vmax)
	for i := range all {
		c := &all[i]
		c.wide = (d.width*c.h + 8*d.hmax - 1) / (8 * d.hmax)
		c.high = (d.height*c.v + 8*d.vmax - 1) / (8 * d.vmax)
		c.stride = d.mcusX * c.h
		c.pix = make([]uint8, 64*c.stride*d.mcusY*c.v)
		if d.progressive {
			c.coefs = make([]block, c.stride*d.mcusY*c.v)
		}
	}
	d.components = all
	return nil
}

// ratio is how the planes of Cb and Cr lie under that of Y; −1: in no usual way.
func ratio(y component) image.YCbCrSubsampleRatio {
	switch [2]int{y.h, y.v} {
	case [2]int{1, 1}:
		return image.YCbCrSubsampleRatio444
	case [2]int{2, 1}:
		return image.YCbCrSubsampleRatio422
	case [2]int{2, 2}:
		return image.YCbCrSubsampleRatio420
	case [2]int{1, 2}:
		return image.YCbCrSubsampleRatio440
	case [2]int{4, 1}:
		return image.YCbCrSubsampleRatio411
	case [2]int{4, 2}:
		return image.YCbCrSubsampleRatio410
	}
	return -1
}

func (d *decoder) image() image.Image {
	bounds := image.Rect(0, 0, d.width, d.height)
	y := d.components[0]
	if len(d.components) == 1 {
		return &image.Gray{Pix: y.pix, Stride: 8 * y.stride, Rect: bounds}
	}
	cb, cr := d.components[1], d.components[2]
	return &image.YCbCr{Y: y.pix, Cb: cb.pix, Cr: cr.pix, YStride: 8 * y.stride, CStride: 8 * cb.stride, SubsampleRatio: ratio(y), Rect: bounds}
}

// natural is the place, row by row, of the k-th coefficient of the zigzag (figure A.6).
// It goes on beyond 63, so that a damaged run needs no check before it is used.
var natural = [64 + 16]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}
