package jpeg

import (
	"encoding/binary"
	"errors"
)

// fastBits is how many bits the tables that decode at one look are indexed by.
const fastBits = 10

// huffman is a table of codes (annex C).
type huffman struct {
	fast    [1 << fastBits]uint16 // symbol, and the code's length × 256; 0: it is longer
	whole   [1 << fastBits]int32  // value × 2¹⁶ + run × 2⁸ + bits in all, where the value's bits fit too; 0: they do not
	limit   [17]uint32            // first code beyond those of a length, at the top of 16 bits
	offset  [17]int32             // what added to a code of a length is its symbol's place
	symbols [256]uint8
}

var errHuffman = errors.New("damaged Huffman table")

// huffmanTables reads tables of codes (B.2.4.2).
func (d *decoder) huffmanTables(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 || s[0]>>4 > 1 || s[0]&15 > 3 {
			return errHuffman
		}
		h := &d.huffman[s[0]>>4][s[0]&15]
		*h = huffman{}
		n := 0
		for _, count := range s[1:17] {
			n += int(count)
		}
		if n > 256 || len(s) < 17+n {
			return errHuffman
		}
		copy(h.symbols[:], s[17:17+n])
		code, place := uint32(0), int32(0)
		for length := 1; length <= 16; length++ {
			count := uint32(s[length])
			if code+count > 1<<length {
				return errHuffman
			}
			h.offset[length] = place - int32(code)
			for i := range count {
				if length <= fastBits {
					first := (code + i) << (fastBits - length)
					for k := range uint32(1) << (fastBits - length) {
						h.fast[first+k] = uint16(length)<<8 | uint16(h.symbols[place+int32(i)])
					}
				}
			}
			code += count
			place += int32(count)
			h.limit[length] = code << (16 - length)
			code <<= 1
		}
		h.values()
		s = s[17+n:]
	}
	return nil
}

// values fills whole: a code, the bits behind it and what they mean (F.2.2.1).
func (h *huffman) values() {
	for i, e := range h.fast {
		length, run, size := int(e>>8), int32(e>>4&15), int(e&15)
		if length == 0 || size == 0 || length+size > fastBits {
			continue
		}
		v := int32(i) >> (fastBits - length - size) & (1<<size - 1)
		if v < 1<<(size-1) {
			v -= 1<<size - 1
		}
		h.whole[i] = v<<16 | run<<8 | int32(length+size)
	}
}

// refill makes at least 48 bits ready. Behind the end of the scan there are zeros.
func (d *decoder) refill() {
	if d.at+8 <= len(d.data) {
		word := binary.BigEndian.Uint64(d.data[d.at:])
		if !hasFF(word) {
			take := (64 - d.n) >> 3
			d.bits |= word >> d.n
			d.n += take * 8
			d.at += take
			d.bits &= ^uint64(0) << (64 - d.n) // what was not taken comes again
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

// extend reads a number of n bits: the lower half of them stands for negative ones.
func (d *decoder) extend(n int) int32 {
	v := d.take(n)
	if n > 0 && v < 1<<(n-1) {
		v -= 1<<n - 1
	}
	return v
}

// symbol reads a code. There are at least 16 bits.
func (d *decoder) symbol(h *huffman) (uint8, error) {
	if e := h.fast[d.bits>>(64-fastBits)]; e != 0 {
		d.skip(int(e >> 8))
		return uint8(e), nil
	}
	top := uint32(d.bits >> 48)
	for length := fastBits + 1; length <= 16; length++ {
		if top < h.limit[length] {
			d.skip(length)
			return h.symbols[uint8(int32(top>>(16-length))+h.offset[length])], nil
		}
	}
	return 0, errors.New("damaged data: no such Huffman code")
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
	return d.blocks(in, read)
}

// scanned is a component in a scan.
type scanned struct {
	c      *component
	dc, ac *huffman
}

// blocks reads the blocks of a scan, interleaved where it has several components
// (A.2).
func (d *decoder) blocks(in []scanned, read func(s scanned, at int) error) error {
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
					if err := read(s, my*s.c.stride+mx); err != nil {
						return err
					}
					continue
				}
				for v := range s.c.v {
					for h := range s.c.h {
						if err := read(s, (my*s.c.v+v)*s.c.stride+mx*s.c.h+h); err != nil {
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
func (c *component) place(at int) []uint8 {
	return c.pix[at/c.stride*64*c.stride+at%c.stride*8:]
}

// sequential reads a block of a baseline scan and makes its pixels (F.2.2).
func (d *decoder) sequential(s scanned, at int) error {
	c, quant := s.c, &d.quant[s.c.table]
	if d.n < 32 {
		d.refill()
	}
	size, err := d.symbol(s.dc)
	if err != nil {
		return err
	}
	if size > 15 {
		return errors.New("damaged data: a difference of more than 15 bits")
	}
	c.dc += d.extend(int(size))
	var b block
	b[0] = c.dc * quant[0]
	last := 0
	for k := 1; k < 64; {
		if d.n < 32 {
			d.refill()
		}
		if e := s.ac.whole[d.bits>>(64-fastBits)]; e != 0 {
			d.skip(int(e & 0xff))
			k += int(e >> 8 & 15)
			at := natural[k]
			b[at&63] = (e >> 16) * quant[at&63]
			last = k
			k++
			continue
		}
		rs, err := d.symbol(s.ac)
		if err != nil {
			return err
		}
		run, size := int(rs>>4), int(rs&15)
		if size == 0 {
			if run < 15 {
				break
			}
			k += 16
			continue
		}
		k += run
		last = k
		at := natural[k]
		b[at&63] = d.extend(size) * quant[at&63]
		k++
	}
	if last > 63 {
		return errors.New("damaged data: a run beyond its block")
	}
	if last == 0 {
		flat(b[0], c.place(at), 8*c.stride)
	} else {
		idct(&b, c.place(at), 8*c.stride)
	}
	return nil
}
