package npy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// header is what a file says about its entries.
type header struct {
	Descr   string // "<f4"
	Fortran bool
	Shape   []int
}

// parseHeader reads the header's Python dict literal. Keys may come in any
// order, as other writers than NumPy have it; each must be there once.
func parseHeader(text string) (header, error) {
	var h header
	seen := map[string]bool{}
	p := literal{text}
	if !p.take("{") {
		return h, fmt.Errorf("header %.40q is no dict", text)
	}
	for !p.take("}") {
		key, ok := p.quoted()
		if !ok || !p.take(":") {
			return h, fmt.Errorf("header: %.40q where a key belongs", p.rest)
		}
		if seen[key] {
			return h, fmt.Errorf("header: key %q twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			if h.Descr, ok = p.quoted(); !ok {
				return h, fmt.Errorf("descr %.40q is a structured type, want '<f4', '<f8' or '<i8'", p.rest)
			}
		case "fortran_order":
			if h.Fortran = p.take("True"); !h.Fortran && !p.take("False") {
				return h, fmt.Errorf("fortran_order %.40q, want True or False", p.rest)
			}
		case "shape":
			if h.Shape, ok = p.tuple(); !ok {
				return h, fmt.Errorf("shape %.40q, want a tuple of at most %d sizes", p.rest, maxDims)
			}
		default:
			return h, fmt.Errorf("header: key %q, want descr, fortran_order and shape", key)
		}
		if !p.take(",") && !strings.HasPrefix(p.rest, "}") {
			return h, fmt.Errorf("header: %.40q where a comma belongs", p.rest)
		}
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return h, fmt.Errorf("header: no key %q", key)
		}
	}
	if p.rest != "" {
		return h, fmt.Errorf("header: %.40q after the dict", p.rest)
	}
	return h, nil
}

// count returns the number of entries, refusing sizes whose bytes would not
// fit an int.
func (h header) count() (int, error) {
	n := 1
	for _, size := range h.Shape {
		if size > 0 && n > math.MaxInt/8/size {
			return 0, fmt.Errorf("shape %s is too large", shapeText(h.Shape))
		}
		n *= size
	}
	return n, nil
}

// text writes the header as NumPy does: keys sorted, and room for the growing
// dimension (the first in C order) to reach 21 digits in place.
func (h header) text() string {
	order := "False"
	if h.Fortran {
		order = "True"
	}
	s := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", h.Descr, order, shapeText(h.Shape))
	if len(h.Shape) > 0 {
		s += strings.Repeat(" ", 21-len(strconv.Itoa(h.Shape[0])))
	}
	return s
}

// shapeText writes a shape as Python does: (), (3,), (3, 4).
func shapeText(shape []int) string {
	parts := make([]string, len(shape))
	for i, size := range shape {
		parts[i] = strconv.Itoa(size)
	}
	if len(parts) == 1 {
		return "(" + parts[0] + ",)"
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// literal is what is left of a Python literal.
type literal struct{ rest string }

// take drops blanks and then the token, if it stands next, and blanks behind it.
func (p *literal) take(token string) bool {
	after, ok := strings.CutPrefix(strings.TrimLeft(p.rest, " \t\n"), token)
	if ok {
		p.rest = strings.TrimLeft(after, " \t\n")
	}
	return ok
}

// quoted takes a string; neither type names nor keys have escapes.
func (p *literal) quoted() (string, bool) {
	for _, quote := range []string{"'", "\""} {
		if p.take(quote) {
			s, after, ok := strings.Cut(p.rest, quote)
			if !ok {
				return "", false
			}
			p.rest = strings.TrimLeft(after, " \t\n")
			return s, true
		}
	}
	return "", false
}

// tuple takes a tuple of non-negative integers. Python 2 wrote them with an L.
func (p *literal) tuple() ([]int, bool) {
	if !p.take("(") {
		return nil, false
	}
	shape := []int{}
	for !p.take(")") {
		end := 0
		for end < len(p.rest) && '0' <= p.rest[end] && p.rest[end] <= '9' {
			end++
		}
		size, err := strconv.Atoi(p.rest[:end])
		if err != nil {
			return nil, false
		}
		if shape = append(shape, size); len(shape) > maxDims {
			return nil, false
		}
		p.rest = p.rest[end:]
		p.take("L")
		if !p.take(",") && !strings.HasPrefix(p.rest, ")") {
			return nil, false
		}
	}
	return shape, true
}
