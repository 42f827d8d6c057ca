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
	"sync"
)

// ErrUnsupported is the error of a file that is well formed as far as it was read, but
// not for this decoder: other colours, other samplings, arithmetic or lossless coding.
var ErrUnsupported = errors.New("a JPEG of an unusual kind")

var (
	errShort   = errors.New("the JPEG ends early")
	errNothing = errors.New("no image in the JPEG")
)

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
	part   image.Rectangle // blocks whose pixels are wanted
	coefs  []block         // progressive: of all blocks, in zigzag's natural order
	dc     int32
	done   bool // baseline: a scan has brought it
}

// block holds the 64 coefficients of 8×8 pixels.
type block [64]int32

// reader reads markers and segments.
type reader struct {
	data []byte
	at   int // of the next byte
}

type decoder struct {
	reader
	part          image.Rectangle // pixels that are wanted
	alloc         func(n int) []uint8
	width, height int
	progressive   bool
	components    []component
	hmax, vmax    int
	mcusX, mcusY  int
	quant         [4][128]int32 // in the zigzag's order; 0 beyond 63
	huffman       *[2][4]huffman
	restart       int // MCUs between restart markers; 0: none
	adobe         int // transform of the APP14 segment; −1: none
	jfif          bool
	eobRun        int

	bits    uint64 // next bits of the scan, from the highest
	n       int    // how many there are; what follows them is not to be used
	padding int    // of them, zeros behind the end of the scan
	block   block  // of a baseline scan
}

// decoders keep their tables of codes, which are often the next file's.
var decoders = sync.Pool{New: func() any { return &decoder{huffman: new([2][4]huffman)} }}

// Size returns what the first frame header says, in pixels.
func Size(data []byte) (width, height int, err error) {
	r := reader{data: data}
	for {
		marker, segment, err := r.next()
		switch {
		case err != nil:
			return 0, 0, err
		case marker == markerEOI:
			return 0, 0, errNothing
		case marker < markerSOF0 || marker > 0xcf || marker == markerDHT || marker == 0xc8 || marker == 0xcc:
			continue // no frame
		case len(segment) < 6:
			return 0, 0, errShort
		}
		return int(binary.BigEndian.Uint16(segment[3:])), int(binary.BigEndian.Uint16(segment[1:])), nil
	}
}

// Decode returns the image as an *image.Gray or *image.YCbCr, of which the pixels of part
// are to be used, and chroma as far as libjpeg's interpolation of them reaches: what lies
// outside of them is not made, though read, so that damage is found anywhere. The
// planes are from alloc, whatever is in there. Errors that wrap ErrUnsupported leave the
// file to another decoder. The caller bounds the size.
func Decode(data []byte, part image.Rectangle, alloc func(n int) []uint8) (image.Image, error) {
	d := decoders.Get().(*decoder)
	defer func() {
		tables := d.huffman
		for i := range tables {
			for k := range tables[i] {
				tables[i][k].defined = false
			}
		}
		*d = decoder{huffman: tables}
		decoders.Put(d)
	}()
	d.reader, d.part, d.alloc, d.adobe = reader{data: data}, part, alloc, -1
	for {
		marker, segment, err := d.next()
		if err != nil {
			return nil, err
		}
		if marker == markerEOI {
			break
		}
		if err := d.segment(marker, segment); err != nil {
			return nil, err
		}
	}
	if len(d.components) == 0 {
		return nil, errNothing
	}
	if d.progressive {
		d.reconstruct()
	} else if !d.whole() {
		return nil, errShort
	}
	return d.image(), nil
}

// next reads the next marker that has a segment, and that; or the one that ends the image.
func (r *reader) next() (marker byte, segment []byte, err error) {
	if r.at == 0 {
		if len(r.data) < 4 || r.data[0] != 0xff || r.data[1] != markerSOI {
			return 0, nil, errors.New("no JPEG")
		}
		r.at = 2
	}
	for {
		marker, ok := r.marker()
		switch {
		case !ok || len(r.data)-r.at < 2 && marker != markerEOI:
			return 0, nil, errShort
		case marker == markerEOI:
			return marker, nil, nil
		case marker == 0x01 || marker >= markerRST0 && marker <= markerSOI:
			continue // they have no segment
		}
		size := int(binary.BigEndian.Uint16(r.data[r.at:]))
		if size < 2 || size > len(r.data)-r.at {
			return 0, nil, errShort
		}
		segment = r.data[r.at+2 : r.at+size]
		r.at += size
		return marker, segment, nil
	}
}

// marker finds the next marker, passing over what stands before it.
func (r *reader) marker() (byte, bool) {
	for ; r.at+1 < len(r.data); r.at++ {
		if r.data[r.at] == 0xff && r.data[r.at+1] != 0 && r.data[r.at+1] != 0xff {
			r.at += 2
			return r.data[r.at-1], true
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
				d.quant[id][k] = int32(s[k])
			} else {
				d.quant[id][k] = int32(binary.BigEndian.Uint16(s[2*k:]))
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
		c.pix = d.alloc(64 * c.stride * d.mcusY * c.v)
		c.part = c.blocksOf(d.part, d.hmax, d.vmax)
		if d.progressive {
			c.coefs = make([]block, c.stride*d.mcusY*c.v)
		}
	}
	d.components = all
	return nil
}

// blocksOf is the blocks that hold a part of the image, and the sample beside it, where
// the plane has fewer samples than the image.
func (c *component) blocksOf(part image.Rectangle, hmax, vmax int) image.Rectangle {
	along := func(from, to, times int) (a, b int) {
		a, b = from/times, (to+times-1)/times
		if times > 1 {
			a, b = a-1, b+1
		}
		return max(a, 0) / 8, (b + 7) / 8
	}
	var r image.Rectangle
	r.Min.X, r.Max.X = along(part.Min.X, part.Max.X, hmax/c.h)
	r.Min.Y, r.Max.Y = along(part.Min.Y, part.Max.Y, vmax/c.v)
	return r
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
var natural = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}
