package npy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"immiscible/pipeline/whole"
)

// maxDims is NumPy's own limit (NPY_MAXDIMS, 2.0).
const maxDims = 64

// Write writes data, in C order with the given shape, to path, whole or not at
// all. Bytes are those of numpy.save.
func Write[T Element](path string, shape []int, data []T) error {
	return whole.Stream(path, func(f io.Writer) error {
		w := bufio.NewWriterSize(f, block)
		if err := Encode(w, shape, data); err != nil {
			return err
		}
		return w.Flush()
	})
}

// Encode writes one array, data in C order with the given shape; a shape that
// does not hold len(data) entries is an error.
func Encode[T Element](w io.Writer, shape []int, data []T) error {
	h := header{Shape: shape}
	if len(shape) > maxDims {
		return fmt.Errorf("%d dimensions, want %d at most", len(shape), maxDims)
	}
	for _, size := range shape {
		if size < 0 {
			return fmt.Errorf("shape %s has a negative size", shapeText(shape))
		}
	}
	if n, err := h.count(); err != nil {
		return err
	} else if n != len(data) {
		return fmt.Errorf("shape %s holds %d entries, got %d", shapeText(shape), n, len(data))
	}
	var put func(buf []byte, x T) []byte
	switch any(data).(type) {
	case []float32:
		h.Descr = "<f4"
		put = func(buf []byte, x T) []byte {
			return binary.LittleEndian.AppendUint32(buf, math.Float32bits(float32(x)))
		}
	case []float64:
		h.Descr = "<f8"
		put = func(buf []byte, x T) []byte {
			return binary.LittleEndian.AppendUint64(buf, math.Float64bits(float64(x)))
		}
	case []int64:
		h.Descr = "<i8"
		put = func(buf []byte, x T) []byte { return binary.LittleEndian.AppendUint64(buf, uint64(x)) }
	}
	// Version 1.0: two bytes of length; the newline ends a multiple of 64.
	text := h.text()
	before := len(magic) + 4
	pad := 63 - (before+len(text))%64
	head := append([]byte(magic), 1, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(text)+pad+1))
	head = fmt.Appendf(head, "%s%*s\n", text, pad, "")
	if _, err := w.Write(head); err != nil {
		return err
	}
	buf := make([]byte, 0, block)
	for i, x := range data {
		buf = put(buf, x)
		if len(buf) == block || i == len(data)-1 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}
