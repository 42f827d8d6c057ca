package npy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

const (
	magic = "\x93NUMPY"
	// maxHeader bounds the header of a file that is none: real ones have 118
	// bytes, and only structured types need more.
	maxHeader = 1 << 16
	// block is how many bytes are converted at a time; a multiple of 8.
	block = 1 << 16
)

// Read reads a .npy file. Errors begin with the path.
func Read(path string) (*Array, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, block)
	a, err := Decode(r)
	if err == nil {
		if extra, _ := io.Copy(io.Discard, r); extra > 0 {
			err = fmt.Errorf("%d bytes after the last entry", extra)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	return a, nil
}

// cause drops what the operating system's errors say of the file: our message
// begins with its path.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Decode reads one array and nothing behind it. Memory grows with the bytes
// that arrive, not with what the header promises.
func Decode(r io.Reader) (*Array, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	n, err := h.count()
	if err != nil {
		return nil, err
	}
	a := &Array{Shape: h.Shape}
	switch h.Descr {
	case "<f4":
		a.Data, err = readEntries(r, h, n, 4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
	case "<f8":
		a.Data, err = readEntries(r, h, n, 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
	case "<i8":
		a.Data, err = readEntries(r, h, n, 8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
	case ">f4", ">f8", ">i8":
		err = fmt.Errorf("descr '%s' is big-endian, want '<%s' (in NumPy: a.astype('<%s'))", h.Descr, h.Descr[1:], h.Descr[1:])
	default:
		err = fmt.Errorf("descr '%s', want '<f4' (float32), '<f8' (float64) or '<i8' (int64)", h.Descr)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func readHeader(r io.Reader) (header, error) {
	var start [len(magic) + 2]byte
	if _, err := io.ReadFull(r, start[:]); err != nil || string(start[:len(magic)]) != magic {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return header{}, err
		}
		return header{}, errors.New("is no .npy file: its first bytes are not \\x93NUMPY")
	}
	size := 4
	switch major, minor := start[len(magic)], start[len(magic)+1]; major {
	case 1:
		size = 2
	case 2, 3:
	default:
		return header{}, fmt.Errorf("format version %d.%d, want 1.0, 2.0 or 3.0", major, minor)
	}
	var length [4]byte
	if _, err := io.ReadFull(r, length[:size]); err != nil {
		return header{}, fmt.Errorf("ends inside its header: %w", err)
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > maxHeader {
		return header{}, fmt.Errorf("header of %d bytes, want %d at most", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, fmt.Errorf("ends inside its header: %w", err)
	}
	return parseHeader(string(text))
}

// readEntries reads n entries of width bytes each and puts them in C order.
func readEntries[T Element](r io.Reader, h header, n, width int, entry func([]byte) T) ([]T, error) {
	buf := make([]byte, min(block, n*width))
	data := make([]T, 0, len(buf)/width)
	for len(data) < n {
		part := buf[:min(len(buf), (n-len(data))*width)]
		if got, err := io.ReadFull(r, part); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("is truncated: %d bytes of entries, want %d for shape %s", len(data)*width+got, n*width, shapeText(h.Shape))
		} else if err != nil {
			return nil, err
		}
		for at := 0; at < len(part); at += width {
			data = append(data, entry(part[at:at+width]))
		}
	}
	if h.Fortran {
		data = rowMajor(data, h.Shape)
	}
	return data, nil
}
