package jpeg

import "errors"

// progress is which coefficients a scan brings, and which of their bits (G.1.1.1).
type progress struct {
	from, to int
	high     int  // bit that was brought before; 0: none
	low      uint // lowest bit that is brought now
}

// reader is the procedure for a block of the scan.
func (p progress) reader(d *decoder) func(s scanned, x, y int) error {
	switch {
	case p.from == 0 && p.high == 0:
		return func(s scanned, x, y int) error { return d.firstDC(s, s.c.block(x, y), p.low) }
	case p.from == 0:
		return func(s scanned, x, y int) error {
			if d.take(1) != 0 {
				s.c.block(x, y)[0] |= 1 << p.low
			}
			return nil
		}
	case p.high == 0:
		return func(s scanned, x, y int) error { return d.firstAC(s, s.c.block(x, y), p) }
	}
	return func(s scanned, x, y int) error { return d.refineAC(s, s.c.block(x, y), p) }
}

// block is that of coefficients at column x of row y.
func (c *component) block(x, y int) *block { return &c.coefs[y*c.stride+x] }

func (d *decoder) firstDC(s scanned, b *block, low uint) error {
	e, err := d.symbol(s.dc)
	if err != nil {
		return err
	}
	if e>>16&15 != 0 {
		return errors.New("damaged data: a difference of more than 15 bits")
	}
	s.c.dc += e.behind(d.bits)
	d.skip(int(e & 63))
	b[0] = s.c.dc << low
	return nil
}

// firstAC brings the upper bits of a band (G.1.2.2).
func (d *decoder) firstAC(s scanned, b *block, p progress) error {
	if d.eobRun > 0 {
		d.eobRun--
		return nil
	}
	for k := p.from; k <= p.to; k++ {
		e, err := d.symbol(s.ac)
		if err != nil {
			return err
		}
		value := e.behind(d.bits)
		d.skip(int(e & 63))
		run := int(e >> 16 & 15)
		if e>>24 == 0 {
			if run < 15 {
				d.eobRun = 1<<run - 1 + int(d.take(run))
				return nil
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			return errors.New("damaged data: a run beyond its block")
		}
		b[natural[k]] = value << p.low
	}
	return nil
}

// refineAC brings one more bit of a band, and coefficients that had none yet (G.1.2.3).
func (d *decoder) refineAC(s scanned, b *block, p progress) error {
	one := int32(1) << p.low
	// correct adds the bit to a coefficient that is there.
	correct := func(c *int32) {
		if d.take(1) != 0 && *c&one == 0 {
			if *c > 0 {
				*c += one
			} else {
				*c -= one
			}
		}
	}
	k := p.from
	if d.eobRun == 0 {
		for ; k <= p.to; k++ {
			e, err := d.symbol(s.ac)
			if err != nil {
				return err
			}
			d.skip(int(e >> 8 & 63)) // the value's bit is not one of the usual kind
			run, value := int(e>>16&15), int32(0)
			switch size := e >> 24; {
			case size == 0 && run < 15:
				d.eobRun = 1<<run + int(d.take(run))
			case size == 1:
				if value = -one; d.take(1) != 0 {
					value = one
				}
			case size > 1:
				return errors.New("damaged data: a new coefficient of several bits")
			}
			if d.eobRun > 0 {
				break
			}
			for ; k <= p.to; k++ { // over those that are there, and run that are not
				if c := &b[natural[k]]; *c != 0 {
					correct(c)
				} else if run--; run < 0 {
					*c = value
					break
				}
			}
		}
	}
	if d.eobRun > 0 {
		for ; k <= p.to; k++ {
			if c := &b[natural[k]]; *c != 0 {
				correct(c)
			}
		}
		d.eobRun--
	}
	return nil
}

// reconstruct makes the pixels of a progressive image.
func (d *decoder) reconstruct() {
	for i := range d.components {
		c := &d.components[i]
		quant := &d.quant[c.table]
		for y := c.part.Min.Y; y < min(c.part.Max.Y, c.high); y++ {
			for x := c.part.Min.X; x < min(c.part.Max.X, c.wide); x++ {
				b := c.block(x, y)
				for k, q := range quant[:64] {
					b[natural[k]] *= q
				}
				idct(b, c.place(x, y), 8*c.stride)
			}
		}
	}
}
