package npy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Rows reads an array of floats [N, …] row by row, so that a file larger than
// memory can be passed over: a row is everything behind the first dimension.
type Rows struct {
	Shape []int
	DType string // "float32" or "float64"
	Width int    // entries of a row

	path   string
	closer io.Closer
	r      *bufio.Reader
	buf    []byte
	left   int       // rows still to come
	whole  []float64 // an array in Fortran order is turned in memory
}

// OpenRows opens a .npy file for reading row by row. Errors begin with the path.
func OpenRows(path string) (*Rows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	r, err := newRows(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

func newRows(path string, from io.ReadCloser) (*Rows, error) {
	rows := &Rows{path: path, closer: from, r: bufio.NewReaderSize(from, block)}
	h, err := readHeader(rows.r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	n, err := h.count()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	width := map[string]int{"<f4": 4, "<f8": 8}[h.Descr]
	switch {
	case width == 0:
		return nil, fmt.Errorf("%s: descr '%s', want '<f4' (float32) or '<f8' (float64)", path, h.Descr)
	case len(h.Shape) == 0:
		return nil, fmt.Errorf("%s: shape (), want an array of rows", path)
	}
	rows.Shape, rows.DType = h.Shape, map[int]string{4: "float32", 8: "float64"}[width]
	if rows.left = h.Shape[0]; rows.left > 0 {
		rows.Width = n / rows.left
	} else {
		rows.Width = 1
		for _, size := range h.Shape[1:] {
			rows.Width *= size
		}
	}
	if h.Fortran && n > 0 {
		rows.whole, err = readEntries(rows.r, h, n, width, func(b []byte) float64 { return entry(b) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	rows.buf = make([]byte, min(block, max(8, n*width))/width*width)
	return rows, nil
}

// entry decodes a float of 4 or 8 bytes.
func entry(b []byte) float64 {
	if len(b) == 4 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

// Close closes the file.
func (r *Rows) Close() error { return r.closer.Close() }

// Next fills dst, which holds whole rows, with the rows that come next and
// returns how many those are; 0 after the last one.
func (r *Rows) Next(dst []float64) (int, error) {
	if r.Width == 0 {
		return 0, nil
	}
	n := min(len(dst)/r.Width, r.left)
	want := dst[:n*r.Width]
	if r.whole != nil {
		copy(want, r.whole)
		r.whole = r.whole[len(want):]
	} else if err := r.fill(want); err != nil {
		return 0, err
	}
	if r.left -= n; r.left == 0 && n > 0 {
		if extra, err := io.Copy(io.Discard, r.r); err != nil {
			return 0, fmt.Errorf("%s: %w", r.path, err)
		} else if extra > 0 {
			return 0, fmt.Errorf("%s: %d bytes after the last entry", r.path, extra)
		}
	}
	return n, nil
}

func (r *Rows) fill(dst []float64) error {
	width := 4
	if r.DType == "float64" {
		width = 8
	}
	asked := len(dst)
	for len(dst) > 0 {
		part := r.buf[:min(len(r.buf), len(dst)*width)]
		if got, err := io.ReadFull(r.r, part); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: is truncated: it ends in row %d of shape %s", r.path, r.Shape[0]-r.left+(asked-len(dst)+got/width)/r.Width, shapeText(r.Shape))
		} else if err != nil {
			return fmt.Errorf("%s: %w", r.path, err)
		}
		for at := 0; at < len(part); at += width {
			dst[at/width] = entry(part[at : at+width])
		}
		dst = dst[len(part)/width:]
	}
	return nil
}
