package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// lookBits is how many bits the tables that decode at one look are indexed by: codes
// are seldom longer.
const lookBits = 11

// huffman is a table of codes (annex C).
type huffman struct {
	source  []byte                // the segment's part that it was made from
	defined bool                  // by this image
	look    [1 << lookBits]symbol // by the next bits; 0: the code is longer
	limit   [17]uint32            // first code beyond those of a length, at the top of 16 bits
	offset  [17]int32             // what added to a code of a length is its symbol's place
	symbols [256]uint8
}

// symbol is what a code stands for and how long it is: 8 bits each, from the lowest, for
// the length with that of the value behind it, the length, the run of zeros before the
// value, and the value's size. 0: no symbol.
type symbol uint32

func newSymbol(length int, rs uint8) symbol {
	return symbol(length+int(rs&15)) | symbol(length)<<8 | symbol(rs>>4)<<16 | symbol(rs&15)<<24
}

// behind reads the value behind the code that bits begin with; the lower half of the
// numbers of a size stands for negative ones (F.2.2.1).
func (s symbol) behind(bits uint64) int32 {
	bits <<= s >> 8 & 31
	size := s >> 24 & 31
	below := int32(^(int64(bits) >> 63)) // all ones, where the highest bit is 0
	return int32(bits>>1>>((63-size)&63)) + below&(-1<<size+1)
}

var (
	errHuffman = errors.New("damaged Huffman table")
	errCode    = errors.New("damaged data: no such Huffman code")
)

// huffmanTables reads tables of codes (B.2.4.2).
func (d *decoder) huffmanTables(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 || s[0]>>4 > 1 || s[0]&15 > 3 {
			return errHuffman
		}
		h := &d.huffman[s[0]>>4][s[0]&15]
		n := 0
		for _, count := range s[1:17] {
			n += int(count)
		}
		if n > 256 || len(s) < 17+n {
			return errHuffman
		}
		if !bytes.Equal(h.source, s[1:17+n]) { // most files have the tables of annex K
			if err := h.build(s[1:17], s[17:17+n]); err != nil {
				return err
			}
			h.source = append(h.source[:0], s[1:17+n]...)
		}
		h.defined = true
		s = s[17+n:]
	}
	return nil
}

// build makes the table of some symbols, of which counts says how many codes of each
// length from 1 to 16 there are.
func (h *huffman) build(counts, symbols []byte) error {
	*h = huffman{source: h.source[:0]}
	copy(h.symbols[:], symbols)
	code, place := uint32(0), int32(0)
	for length := 1; length <= 16; length++ {
		count := uint32(counts[length-1])
		if code+count > 1<<length {
			return errHuffman
		}
		h.offset[length] = place - int32(code)
		for i := range count {
			if length > lookBits {
				break
			}
			first := (code + i) << (lookBits - length)
			for k := range uint32(1) << (lookBits - length) {
				h.look[first+k] = newSymbol(length, h.symbols[place+int32(i)])
			}
		}
		code += count
		place += int32(count)
		h.limit[length] = code << (16 - length)
		code <<= 1
	}
	return nil
}

// long is the symbol of a code of more than lookBits, with which bits begin.
func (h *huffman) long(bits uint64) symbol {
	top := uint32(bits >> 48)
	for length := lookBits + 1; length <= 16; length++ {
		if top < h.limit[length] {
			return newSymbol(length, h.symbols[uint8(int32(top>>(16-length))+h.offset[length])])
		}
	}
	return 0
}

// refill makes at least 48 bits ready. Behind the end of the scan there are zeros.
func (d *decoder) refill() {
	if d.at+8 <= len(d.data) {
		if word := binary.BigEndian.Uint64(d.data[d.at:]); !hasFF(word) { // as in sequential
			d.bits |= word >> (uint(d.n) & 63)
			d.at += (63 - d.n) >> 3
			d.n |= 56
			return
		}
	}
	for d.n <= 56 {
		b := byte(0)
		switch {
		case d.at >= len(d.data), d.data[d.at] == 0xff && (d.at+1 >= len(d.data) || d.data[d.at+1] != 0):
			d.padding += 8
		case d.data[d.at] == 0xff:
			b, d.at = 0xff, d.at+2
		default:
			b, d.at = d.data[d.at], d.at+1
		}
		d.bits |= uint64(b) << (56 - d.n)
		d.n += 8
	}
}

// hasFF tells whether a byte of the word is 0xff.
func hasFF(word uint64) bool {
	word = ^word // a byte of 0 now
	return (word-0x0101010101010101)&^word&0x8080808080808080 != 0
}

func (d *decoder) skip(n int) {
	d.bits <<= uint(n) & 63
	d.n -= n
}

// take reads a number of n bits, at most 16.
func (d *decoder) take(n int) int32 {
	if d.n < n {
		d.refill()
	}
	v := int32(d.bits >> 32 >> (32 - uint(n)&31))
	d.skip(n)
	return v
}

// symbol reads a code, and leaves the value behind it.
func (d *decoder) symbol(h *huffman) (symbol, error) {
	if d.n < 32 {
		d.refill()
	}
	e := h.look[d.bits>>(64-lookBits)]
	if e == 0 {
		if e = h.long(d.bits); e == 0 {
			return 0, errCode
		}
	}
	return e, nil
}

// scan reads a scan header (B.2.3) and the scan.
func (d *decoder) scan(s []byte) error {
	if len(d.components) == 0 || len(s) < 1 || len(s) < 4+2*int(s[0]) || s[0] < 1 || int(s[0]) > len(d.components) {
		return errors.New("damaged scan header")
	}
	n := int(s[0])
	var in []scanned
	for i := range n {
		id, tables := s[1+2*i], s[2+2*i]
		k := 0
		for k < len(d.components) && d.components[k].id != id {
			k++
		}
		if k == len(d.components) || tables>>4 > 3 || tables&15 > 3 {
			return errors.New("damaged scan header")
		}
		for _, other := range in {
			if other.c == &d.components[k] {
				return errors.New("damaged scan header")
			}
		}
		in = append(in, scanned{&d.components[k], &d.huffman[0][tables>>4], &d.huffman[1][tables&15]})
	}
	p := progress{int(s[1+2*n]), int(s[2+2*n]), int(s[3+2*n] >> 4), uint(s[3+2*n] & 15)}
	read := d.sequential
	if d.progressive {
		if p.from > p.to || p.to > 63 || p.from == 0 && p.to != 0 || p.from > 0 && n != 1 || p.low > 13 || p.high > 0 && p.high != int(p.low)+1 {
			return errors.New("damaged scan header")
		}
		read = p.reader(d)
	}
	for _, t := range in {
		if needsDC, needsAC := p.from == 0 && p.high == 0, !d.progressive || p.from > 0; needsDC && !t.dc.defined || needsAC && !t.ac.defined {
			return errors.New("damaged data: no Huffman table")
		}
	}
	return d.blocks(in, read)
}

// scanned is a component in a scan.
type scanned struct {
	c      *component
	dc, ac *huffman
}

// blocks reads the blocks of a scan, interleaved where it has several components
// (A.2).
func (d *decoder) blocks(in []scanned, read func(s scanned, x, y int) error) error {
	d.begin(in)
	mcusX, mcusY := d.mcusX, d.mcusY
	if len(in) == 1 {
		mcusX, mcusY = in[0].c.wide, in[0].c.high
	}
	left, next := d.restart, byte(0)
	for my := range mcusY {
		for mx := range mcusX {
			if d.restart > 0 && left == 0 {
				if marker, ok := d.marker(); !ok || marker != markerRST0+next {
					return errors.New("damaged data: no restart marker")
				}
				d.begin(in)
				left, next = d.restart, (next+1)&7
			}
			left--
			for _, s := range in {
				if len(in) == 1 {
					if err := read(s, mx, my); err != nil {
						return err
					}
					continue
				}
				for v := range s.c.v {
					for h := range s.c.h {
						if err := read(s, mx*s.c.h+h, my*s.c.v+v); err != nil {
							return err
						}
					}
				}
			}
			if d.n < d.padding {
				return errShort
			}
		}
	}
	for _, s := range in {
		s.c.done = !d.progressive
	}
	d.bits, d.n, d.padding = 0, 0, 0
	return nil
}

// begin starts a scan, or goes on behind a restart marker (F.2.1.3.1).
func (d *decoder) begin(in []scanned) {
	d.bits, d.n, d.padding, d.eobRun = 0, 0, 0, 0
	for _, s := range in {
		s.c.dc = 0
	}
}

// place is where the pixels of a block lie.
func (c *component) place(x, y int) []uint8 {
	return c.pix[(y*64*c.stride)+x*8:]
}

// wanted tells whether the pixels of a block are.
func (c *component) wanted(x, y int) bool {
	return c.part.Min.X <= x && x < c.part.Max.X && c.part.Min.Y <= y && y < c.part.Max.Y
}

// sequential reads a block of a baseline scan and makes its pixels, if they are wanted
// (F.2.2). It is where the time goes: what it reads bits with, it has in registers.
func (d *decoder) sequential(s scanned, x, y int) error {
	first, err := d.symbol(s.dc)
	if err != nil {
		return err
	}
	if first>>16&15 != 0 {
		return errors.New("damaged data: a difference of more than 15 bits")
	}
	c, b, quant := s.c, &d.block, &d.quant[s.c.table]
	c.dc += first.behind(d.bits)
	d.skip(int(first & 63))
	*b = block{c.dc * quant[0]}
	bits, n, at, data, look := d.bits, d.n, d.at, d.data, &s.ac.look
	last := 0
	for k := 1; k < 64; {
		if n < 32 {
			word := uint64(1<<64 - 1)
			if at+8 <= len(data) {
				word = binary.BigEndian.Uint64(data[at:])
			}
			if hasFF(word) {
				d.bits, d.n, d.at = bits, n, at
				d.refill()
				bits, n, at = d.bits, d.n, d.at
			} else { // whole bytes count; the bits of another come again
				bits |= word >> (uint(n) & 63)
				at += (63 - n) >> 3
				n |= 56
			}
		}
		e := look[bits>>(64-lookBits)]
		if e == 0 {
			if e = s.ac.long(bits); e == 0 {
				return errCode
			}
		}
		value := e.behind(bits)
		bits <<= e & 63
		n -= int(e & 63)
		run := int(e >> 16 & 15)
		if e>>24 == 0 { // no value
			if run < 15 {
				break
			}
			k += 16
			continue
		}
		k += run
		last = k
		b[natural[k&127]&63] = value * quant[k&127]
		k++
	}
	d.bits, d.n, d.at = bits, n, at
	switch {
	case last > 63:
		return errors.New("damaged data: a run beyond its block")
	case !c.wanted(x, y):
	case last == 0:
		flat(b[0], c.place(x, y), 8*c.stride)
	default:
		idct(b, c.place(x, y), 8*c.stride)
	}
	return nil
}
